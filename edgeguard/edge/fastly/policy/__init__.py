"""The policy: VCL for a Fastly service. Only this module renders it, from the .vcl files beside it.

`{{name}}` in a file stands for a literal: a whole number, a plain name, or the page for a closed site as a string. So
no setting can become code. The policy also writes the status answer, so that is read here, too. docs/policy.md explains
the policy line by line.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edgeguard import texts
from edgeguard.edge import Status
from edgeguard.edge.claim import DAY, DEPLOY_SLOTS, LONGEST_HOLD, SLOTS, SUPPORT_SLOTS
from edgeguard.errors import UsageError
from edgeguard.user import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.settings import EdgeSettings

NAME_PREFIX = "edgeguard_"
"""The names of our snippets begin with this. Other snippets are never changed."""

GROUPS = tuple(f"eg-{number:02x}" for number in range(256))
"""Every object carries one of these surrogate keys (fetch_group.vcl), so that a site can be purged in slices."""

PAGE_BYTES = 65_536
"""The most bytes of the page for a closed site. It is a part of the service's VCL, and is sent to each visitor whose
page has no copy."""

_HEADER_BYTES = 16_384
"""The most bytes of a Surrogate-Key header; more are ignored (Fastly: reference/http/http-headers/Surrogate-Key)."""
_REFUSALS = "private|no-store"
_FAILURES = (
    r"all backends failed or unhealthy(?: \([a-z]+\))?",
    r"backend(?: is unhealthy|\.max_conn reached| (?:read|write) error)",
    r"no healthy backends",
    r"connection (?:refused|timed out|reset by peer)",
    r"(?:first byte|between bytes|fetch) timeout",
    r"(?:network|host) (?:is )?unreachable",
    r"ssl [a-z ]*error",
)
"""Fastly's words for a backend that fails (guides/vcl/errors, guides/common-503-errors), in any case."""
_FOLDER = Path(__file__).parent
_FIRST, _LAST = 1, 9999
_SNIPPETS = (
    # file, type, priority: a lower one runs first, and 100 is Fastly's default for snippets of others
    ("init", "init", 10),
    ("recv", "recv", _FIRST),
    ("miss", "miss", _FIRST),
    ("miss_asks", "miss", _LAST),
    ("pass", "pass", _FIRST),
    ("fetch", "fetch", _FIRST),
    ("fetch_ceiling", "fetch", _LAST),
    ("fetch_group", "fetch", _LAST),
    ("error", "error", _FIRST),
    ("deliver", "deliver", _LAST),
)
_PURGES = ("recv_purges", "recv", _FIRST)
"""The snippet is left out where edge.authenticate_purges is false. Its name puts it after recv."""
_LITERALS = {
    "dictionary": r'table\.lookup\(([a-z][a-z0-9_]*), "deploy0"',
    "status_name": r'req\.url\.path == "/([A-Za-z0-9_-]{1,64})"',
    "base_grace": r'" base=([0-9]+)',
    "ceiling": r" ceiling=([0-9]+)",
}
_PLACEHOLDER = re.compile(r"\{\{([a-z]+)\}\}")
_REVISION = re.compile(r" revision=([0-9a-f]{12}) ")


@dataclass(frozen=True)
class Snippet:
    """A regular (versioned) VCL snippet, as Fastly's API takes it."""

    name: str
    type: str
    priority: int
    content: str


def render(settings: EdgeSettings) -> tuple[Snippet, ...]:
    """The policy's snippets for these settings. The same settings give the same text.

    Raises:
        UsageError: a setting is not the plain literal that the policy needs, or edge.closed_page can't be used.
    """
    rendered = _render(settings, revision="")
    return _render(settings, revision=_digest(rendered))


def revision(settings: EdgeSettings) -> str:
    """Twelve hexadecimal digits that change with every byte of the policy. The status answer has them, too."""
    return _digest(_render(settings, revision=""))


def revision_in(content: str) -> str | None:
    """The revision that a rendered snippet carries; None if it carries none."""
    found = _REVISION.search(content)
    return found[1] if found else None


def literals_in(snippets: Mapping[str, str]) -> dict[str, str | int]:
    """The settings of [edge] that are literals in an installed policy, read from its snippets (content by name).

    Raises:
        ValueError: there is no policy that this edgeguard can read.
    """
    text = "\n".join(content for name, content in snippets.items() if name.startswith(NAME_PREFIX))
    found: dict[str, str | int] = {}
    for literal, pattern in _LITERALS.items():
        seen = set(re.findall(pattern, text))
        if len(seen) != 1:
            raise ValueError(f"{literal}: found {', '.join(sorted(seen)) or 'nothing'}")
        value = seen.pop()
        found[literal] = int(value) if value.isdecimal() else value
    return found


_STATUS = {
    "node": r"[!-~]{1,100}",
    "revision": r"[!-~]{0,100}",
    "now": r"[0-9]{1,10}",
    "base": r"[0-9]{1,10}",
    "grace": r"[0-9]{1,10}",
    "hold": r"[01]",
}
"""What a status answer has besides the slots."""


def read_status(line: str) -> Status:
    """Read the line of a status answer.

    Raises:
        ValueError: the line is not a status of the policy.
    """
    tokens = dict(token.partition("=")[::2] for token in line.split())
    if missing := {*_STATUS, *SLOTS} - tokens.keys():
        raise ValueError(f"not a status answer of the policy: it has no {min(missing)}")
    if strange := [name for name, pattern in _STATUS.items() if not re.fullmatch(pattern, tokens[name])]:
        raise ValueError(f"not a status answer of the policy: its {strange[0]} is none")
    return Status(
        node=tokens["node"],
        revision=tokens["revision"],
        now=int(tokens["now"]),
        base=int(tokens["base"]),
        grace=int(tokens["grace"]),
        hold=tokens["hold"] == "1",
        slots={slot: unquote(tokens[slot]) for slot in SLOTS},
    )


def _render(settings: EdgeSettings, revision: str) -> tuple[Snippet, ...]:
    values = {
        "base": _number(settings.base_grace),
        "ceiling": _number(settings.ceiling),
        "longest": _number(settings.ceiling + DAY),
        "held": _number(LONGEST_HOLD),
        "dictionary": _plain(settings.dictionary, r"[a-z][a-z0-9_]*"),
        "status": _plain(settings.status_name, r"[A-Za-z0-9_-]{1,64}"),
        "revision": _plain(revision, r"[0-9a-f]*"),
        "refusals": _REFUSALS + ("|must-revalidate|proxy-revalidate" if settings.respect_must_revalidate else ""),
        "failures": "|".join(_FAILURES),
        "keys": _number(_HEADER_BYTES - len(f" {GROUPS[0]}")),
        "page": _long_string(_page(settings.closed_page)),
    }
    claims = [_fill("claim_deploy", values | {"slot": slot}) for slot in DEPLOY_SLOTS]
    claims += [_fill("claim_support", values | {"slot": slot}) for slot in SUPPORT_SLOTS]
    shown = [f'\n    " {slot}=" urlencode(table.lookup({values["dictionary"]}, "{slot}", ""))' for slot in SLOTS]
    values |= {"claims": "".join(claims), "slots": "".join(shown)}
    chosen = (*_SNIPPETS, _PURGES) if settings.authenticate_purges else _SNIPPETS
    return tuple(Snippet(NAME_PREFIX + name, kind, priority, _fill(name, values)) for name, kind, priority in chosen)


def _fill(name: str, values: dict[str, str]) -> str:
    text = (_FOLDER / f"{name}.vcl").read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def _number(value: int) -> str:
    if type(value) is not int or not 0 < value < 10**9:
        raise UsageError(f"{value!r} can't be put into the policy", "It takes whole seconds.")
    return str(value)


def _plain(value: str, pattern: str) -> str:
    if not re.fullmatch(pattern, value):
        raise UsageError(f"{value!r} can't be put into the policy", "It takes letters, digits, - and _ only.")
    return value


def _page(path: Path | None) -> str:
    """The page for a closed site: the one that the settings name, or our own."""
    source = _FOLDER / "closed.html" if path is None else expanded(path, "edge.closed_page")
    remedy = f"edge.closed_page names a page of HTML: UTF-8, at most {PAGE_BYTES // 1024} KiB."
    try:
        content = source.read_bytes()
        text = texts.decoded(content)
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"edge.closed_page: {source} can't be read: {exc}", remedy) from exc
    if len(content) > PAGE_BYTES:
        raise UsageError(f"edge.closed_page: {source} has {len(content)} bytes", remedy)
    if not text.strip() or re.search(r"[^\t\n\r -~\x80-\U0010ffff]", text):
        raise UsageError(f"edge.closed_page: {source} is empty, or no text", remedy)
    return text


def _long_string(text: str) -> str:
    """A text as a VCL long string. That ends at "} and has no escapes, so each "} in the text is a short string."""
    return '{"' + text.replace('"}', '"} "%22}" {"') + '"}'


def _digest(snippets: tuple[Snippet, ...]) -> str:
    return hashlib.sha256(repr(snippets).encode()).hexdigest()[:12]
