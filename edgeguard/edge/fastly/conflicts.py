"""Everything in a service that would fight the policy: rows of its active version in, findings out. Pure.

The names of findings are CONFLICTS of edgeguard/edge, and `compute-service`, which nothing can mend. Fastly orders
the generated VCL so: recv, miss, pass, fetch and error snippets in their macros, by priority and then by name; cache
settings after the fetch snippets; "serve stale" before them (Fastly: reference/api/vcl-services/snippet,
guides/full-site-delivery/performance/serving-stale-content).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgeguard.edge.fastly import policy
from edgeguard.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgeguard.edge.fastly.rows import Rows
    from edgeguard.settings import EdgeSettings

_QUOTED_OR_COMMENT = re.compile(r'\{"[\s\S]*?"\}|"[^"\n]*"|#[^\n]*|//[^\n]*|/\*[\s\S]*?\*/')
_SETS_GRACE = re.compile(r"\bset\s+(?:req\.max_stale_if_error|req\.grace|beresp\.stale_if_error|beresp\.grace)\b[^;]*")
_LEAVES = re.compile(r"\breturn\s*\(?\s*\w+\s*\)?|\berror\b|\brestart\b")
_LEAVES_FETCH_KEPT = re.compile(r"\breturn\s*\(?\s*deliver\b")
_MACRO = re.compile(r"^\s*#\s*FASTLY\s+([a-z]+)", re.MULTILINE | re.IGNORECASE)
_BEFORE_MACRO = re.compile(r"sub\s+vcl_([a-z]+)\s*\{(.*?)#\s*FASTLY\s+\1\b", re.DOTALL | re.IGNORECASE)


def with_policy(version: Rows, settings: EdgeSettings) -> tuple[Finding, ...]:
    """Everything in the active version that fights the policy of these settings; () where it stands alone."""
    if version.kind != "vcl":
        return (_compute(version, settings),)
    needed = {snippet.type for snippet in policy.render(settings)} - {"init"}
    return (
        *_macros(version, needed),
        *_serve_stale(version, settings),
        *_of_both(version),
        *_early_returns(version, settings),
    )


def with_setting(version: Rows, settings: EdgeSettings) -> tuple[Finding, ...]:
    """The same for the service's own "serve stale": Fastly's code for it stands in the macros, and these undo it."""
    if version.kind != "vcl":
        return (_compute(version, settings),)
    return (*_macros(version, {"fetch", "error"}), *_of_both(version))


def _compute(version: Rows, settings: EdgeSettings) -> Finding:
    return Finding(
        "compute-service",
        "critical",
        f"the service {settings.service} is of the kind {version.kind!r}: it runs no VCL",
        "Name a VCL (delivery) service in edge.service.",
    )


def _of_both(version: Rows) -> Iterator[Finding]:
    """Conflicts with the policy and with the setting alike."""
    yield from _cache_settings(version)
    yield from _request_settings(version)
    yield from _grace_in_vcl(version)


def shortened(
    url: str, promised: int | None, settings: EdgeSettings, *, kept: int, remedy: Callable[[int, EdgeSettings], str]
) -> Finding | None:
    """Find that the origin promises more for a page, `promised` seconds, than it would be `kept` without a claim.

    A promise of exactly the ceiling is the one that gates add for the policy's sake.
    """
    if promised is None or promised <= kept or promised == settings.ceiling:
        return None
    return Finding(
        "shortens",
        "warning",
        f"{url} promises stale-if-error={promised}; from then on it would be {kept} s without a claim",
        remedy(promised, settings),
        url,
    )


def _macros(version: Rows, needed: set[str]) -> Iterator[Finding]:
    if not any(file.get("main") for file in version.files):
        return
    there = {found.lower() for file in version.files for found in _MACRO.findall(str(file.get("content") or ""))}
    if missing := sorted(needed - there):
        yield Finding(
            "no-macros",
            "critical",
            "the service's own main VCL file lacks " + ", ".join(f"#FASTLY {name}" for name in missing),
            "Add them where Fastly's boilerplate has them: without them nothing is done there.",
        )


def _serve_stale(version: Rows, settings: EdgeSettings) -> Iterator[Finding]:
    if _true(version.settings.get("general.stale_if_error")):
        promised = int(version.settings.get("general.stale_if_error_ttl") or 0)
        also = f" {raise_base(promised, settings)}" if promised > settings.base_grace else ""
        yield Finding(
            "serve-stale",
            "warning",
            f'the service\'s own "serve stale" is on, with general.stale_if_error_ttl {promised} s',
            f"Switch it off in the service: it restarts requests on errors before the policy can act.{also}",
        )


def _cache_settings(version: Rows) -> Iterator[Finding]:
    for row in version.cache_settings:
        if _seconds(row, "stale_ttl"):
            yield Finding(
                "cache-settings",
                "critical",
                f"the cache setting {row['name']!r} sets stale_ttl {row['stale_ttl']} s, after the policy's ceiling",
                "Clear its stale TTL: pages under it could be served stale no longer than that.",
            )


def _request_settings(version: Rows) -> Iterator[Finding]:
    for row in version.request_settings:
        if _seconds(row, "max_stale_age"):
            yield Finding(
                "request-settings",
                "critical",
                f"the request setting {row['name']!r} sets max_stale_age {row['max_stale_age']} s",
                "Clear its max stale age: it limits what the policy allows.",
            )


def _grace_in_vcl(version: Rows) -> Iterator[Finding]:
    """Statements of others that set what the policy sets. The generated VCL has those of ours, too, and those of
    settings that are told of elsewhere; of it counts what is left."""
    known = {_line(text) for row in version.snippets if _ours(row) for text in _statements(row.get("content"))}
    for row in (*version.cache_settings, *version.request_settings):
        for seconds in filter(None, (_seconds(row, "stale_ttl"), _seconds(row, "max_stale_age"))):
            known |= {f"set {name} = {seconds}s" for name in ("beresp.grace", "beresp.stale_if_error")}
            known |= {f"set {name} = {seconds}s" for name in ("req.grace", "req.max_stale_if_error")}
    if _true(version.settings.get("general.stale_if_error")):
        known.add(f"set beresp.stale_if_error = {version.settings.get('general.stale_if_error_ttl')}s")
    found = [(where, _line(statement)) for where, text in _texts(version) for statement in _statements(text)]
    known |= {statement for _, statement in found}
    generated = {_line(statement) for statement in _statements(version.generated)}
    found += [("the generated VCL", statement) for statement in sorted(generated - known)]
    for where, statement in dict.fromkeys(found):
        yield Finding(
            "grace-in-vcl",
            "critical",
            f"{where} has `{statement}`",
            "Take it out: that is for the policy to set, and the later of two wins.",
        )


def _early_returns(version: Rows, settings: EdgeSettings) -> Iterator[Finding]:
    ours = {(snippet.type, snippet.priority): snippet.name for snippet in policy.render(settings)}
    first = {kind: (priority, ours[kind, priority]) for kind, priority in sorted(ours, reverse=True)}
    last_fetch = max((priority, name) for (kind, priority), name in ours.items() if kind == "fetch")
    remedy = "Give it a priority above the policy's, which is {}."
    for row in version.snippets:
        kind, place = row["type"], (int(row["priority"]), row["name"])
        if _ours(row) or kind not in ("recv", "miss", "fetch", "error"):
            continue
        code = _bare(row.get("content"))
        if place < first[kind] and (found := _LEAVES.search(code)):
            text = (
                f"the {kind} snippet {row['name']!r} (priority {place[0]}) leaves before the policy: {_line(found[0])}"
            )
            yield Finding("early-return", "critical", text, remedy.format(first[kind][0]))
        elif kind == "fetch" and place < last_fetch and _LEAVES_FETCH_KEPT.search(code):
            text = f"the fetch snippet {row['name']!r} delivers before the policy's last word: its pages get no ceiling"
            yield Finding("early-return", "warning", text, "Take its return(deliver) out; a TTL can be set without it.")
    for file in version.files:
        for kind, before in _BEFORE_MACRO.findall(str(file.get("content") or "")):
            if kind.lower() in first and (found := _LEAVES.search(_bare(before))):
                text = f"the VCL file {file['name']!r} leaves vcl_{kind} before #FASTLY {kind}: {_line(found[0])}"
                yield Finding("early-return", "critical", text, "Put it after the macro: the policy runs in there.")


def _texts(version: Rows) -> Iterator[tuple[str, str]]:
    """All VCL that somebody else wrote, with where it stands."""
    for row in version.snippets:
        if not _ours(row):
            yield f"the {row['type']} snippet {row['name']!r}", str(row.get("content") or "")
    for file in version.files:
        yield f"the VCL file {file['name']!r}", str(file.get("content") or "")


def _statements(text: object) -> list[str]:
    return _SETS_GRACE.findall(_bare(text))


def _bare(text: object) -> str:
    """VCL without comments, and with nothing in its strings."""
    return _QUOTED_OR_COMMENT.sub(lambda found: '""' if found[0][0] in '"{' else " ", str(text or ""))


def _line(statement: str) -> str:
    return " ".join(statement.split())


def _ours(row: Mapping[str, Any]) -> bool:
    return str(row["name"]).startswith(policy.NAME_PREFIX)


def _seconds(row: Mapping[str, Any], key: str) -> int:
    """A number that Fastly tells as one, as a string, or not at all; 0 is how a form leaves it empty."""
    value = str(row.get(key) or "0")
    return int(value) if value.isdecimal() else 0


def _true(value: object) -> bool:
    return str(value).lower() in ("1", "true")


def raise_ceiling(promised: int, _: EdgeSettings) -> str:
    """How the setting keeps a promise."""
    return f"To keep what is promised now: edge.ceiling = {promised}."


def raise_base(promised: int, settings: EdgeSettings) -> str:
    """How the policy keeps a promise."""
    also = f" and edge.ceiling = {promised}" if promised > settings.ceiling else ""
    return f"To keep what is promised now: edge.base_grace = {promised}{also}."
