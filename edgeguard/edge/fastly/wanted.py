"""The state that a version of the service should have, and the differences of a version from it. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeguard.edge.fastly import policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeguard.edge.fastly.policy import Snippet
    from edgeguard.settings import EdgeSettings

SERVE_STALE, SERVE_STALE_TTL = "general.stale_if_error", "general.stale_if_error_ttl"
"""The service's own settings (Fastly: guides/full-site-delivery/performance/serving-stale-content)."""


@dataclass(frozen=True)
class Wanted:
    """The wanted state. It is absolute: snippets of ours that are not in `snippets` are removed.

    The dictionary must be there (True), must not be there (False), or stays as it is (None). `serve_stale`: the
    service's own stale-if-error must be on, with at least so many seconds (None: it is left alone).
    """

    revision: str | None
    snippets: tuple[Snippet, ...] = ()
    dictionary: bool | None = None
    serve_stale: int | None = None


@dataclass(frozen=True)
class Held:
    """The state of a version: our snippets as Fastly gives them, its dictionaries, and its settings if they matter."""

    snippets: Mapping[str, Mapping[str, Any]]
    dictionaries: frozenset[str]
    settings: Mapping[str, Any] = field(default_factory=dict)


def policy_of(settings: EdgeSettings) -> Wanted:
    """The policy of these settings, and its dictionary."""
    return Wanted(policy.revision(settings), policy.render(settings), dictionary=True)


def removed(*, dictionary: bool) -> Wanted:
    """No policy. The dictionary, with the claims and the audit, is only removed if `dictionary` is true."""
    return Wanted(None, dictionary=False if dictionary else None)


def differences(held: Held, wanted: Wanted, dictionary: str) -> tuple[str, ...]:
    """Each difference in a few words; () if there is none."""
    return (*_snippets(held, wanted), *_dictionary(held, wanted, dictionary), *_settings(held, wanted))


def diff(held: Held, wanted: Wanted, dictionary: str) -> str:
    """All differences as one unified diff, from the version's state to the wanted one; "" if there is none."""
    before = {f"snippet {name}": _text_of(row) for name, row in held.snippets.items()}
    after = {f"snippet {one.name}": _text_of(vars(one)) for one in wanted.snippets}
    for document, there in ((before, dictionary in held.dictionaries), (after, _keeps(held, wanted, dictionary))):
        if there:
            document[f"dictionary {dictionary}"] = [f"dictionary {dictionary}"]
    if wanted.serve_stale is not None:
        before["settings"] = [f"{key} = {_shown(held.settings.get(key))}" for key in (SERVE_STALE, SERVE_STALE_TTL)]
        after["settings"] = [
            f"{SERVE_STALE} = true",
            f"{SERVE_STALE_TTL} = {serve_stale_ttl(held, wanted.serve_stale)}",
        ]
    lines: list[str] = []
    for title in (*after, *(title for title in before if title not in after)):
        lines += difflib.unified_diff(
            before.get(title, []), after.get(title, []), f"active/{title}", f"wanted/{title}", lineterm=""
        )
    return "\n".join(lines)


def serve_stale_ttl(held: Held, least: int) -> int:
    """The value for the setting: at least `least`, and never less than it is while it is on."""
    return max(least, int(held.settings.get(SERVE_STALE_TTL) or 0)) if is_on(held.settings) else least


def is_on(settings: Mapping[str, Any]) -> bool:
    """Whether the service's own "serve stale" is on."""
    return str(settings.get(SERVE_STALE)).lower() in ("1", "true")


def text(content: object) -> str:
    """A snippet's content for a comparison: the kind of line ends, and white space around it, don't count."""
    return str(content or "").replace("\r\n", "\n").strip()


def unlike(row: Mapping[str, Any], snippet: Snippet) -> tuple[str, ...]:
    """Which of type, priority and content a snippet has otherwise in the service; () if it is as wanted."""
    same = {
        "type": row["type"] == snippet.type,
        "priority": int(row["priority"]) == snippet.priority,
        "content": text(row["content"]) == text(snippet.content),
    }
    return tuple(what for what, is_same in same.items() if not is_same)


def _snippets(held: Held, wanted: Wanted) -> Iterator[str]:
    named = {snippet.name: snippet for snippet in wanted.snippets}
    for name in sorted(held.snippets.keys() - named.keys()):
        yield f"snippet {name} is superfluous"
    for name, snippet in named.items():
        row = held.snippets.get(name)
        if row is None:
            yield f"snippet {name} is missing"
            continue
        yield from (f"snippet {name} has another {what}" for what in unlike(row, snippet))


def _dictionary(held: Held, wanted: Wanted, dictionary: str) -> Iterator[str]:
    there = dictionary in held.dictionaries
    if wanted.dictionary is not None and there is not wanted.dictionary:
        yield f"dictionary {dictionary} is {'superfluous' if there else 'missing'}"


def _settings(held: Held, wanted: Wanted) -> Iterator[str]:
    if wanted.serve_stale is None:
        return
    if not is_on(held.settings):
        yield f"{SERVE_STALE} is off"
    elif int(held.settings.get(SERVE_STALE_TTL) or 0) < wanted.serve_stale:
        yield f"{SERVE_STALE_TTL} is {held.settings.get(SERVE_STALE_TTL)}, less than {wanted.serve_stale}"


def _keeps(held: Held, wanted: Wanted, dictionary: str) -> bool:
    return dictionary in held.dictionaries if wanted.dictionary is None else wanted.dictionary


def _text_of(snippet: Mapping[str, Any]) -> Sequence[str]:
    return [f"type {snippet['type']}, priority {int(snippet['priority'])}", *text(snippet["content"]).split("\n")]


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
