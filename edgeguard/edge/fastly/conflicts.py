"""Conflicts with the policy in a service: findings from the rows of its active version. Pure.

The names of the findings are CONFLICTS of edgeguard/edge, and `compute-service`, for which there is no repair.

Fastly generates the VCL in this order: recv, miss, pass, fetch and error snippets are in their macros, by priority and
then by name; cache settings are after the fetch snippets; "serve stale" is before them (Fastly:
reference/api/vcl-services/snippet, guides/full-site-delivery/performance/serving-stale-content).
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
    """The conflicts of the active version with the policy of these settings; () if there are none."""
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
    """The conflicts with the service's own "serve stale". Fastly's code for it is in the macros fetch and error."""
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
    """The conflicts that the policy and the setting share."""
    yield from _cache_settings(version)
    yield from _request_settings(version)
    yield from _grace_in_vcl(version)


def shortened(
    url: str, promised: int | None, settings: EdgeSettings, *, kept: int, remedy: Callable[[int, EdgeSettings], str]
) -> Finding | None:
    """The finding that the origin promises a longer stale-if-error than the page would have without a claim.

    `promised` and `kept` are in seconds. A promise of exactly the ceiling does not count: gates add it for the policy.
    """
    if promised is None or promised <= kept or promised == settings.ceiling:
        return None
    return Finding(
        "shortens",
        "warning",
        f"{url} promises stale-if-error={promised}; after the installation it would be {kept} s without a claim",
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
            "Add them where Fastly's boilerplate has them: without them, snippets of these types never run.",
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
    """The statements of others that set the policy's variables.

    The generated VCL also has our statements, and those of settings that have findings of their own. Only its other
    statements count.
    """
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
            "Take it out: the policy sets this, and the later of two statements wins.",
        )


def _early_returns(version: Rows, settings: EdgeSettings) -> Iterator[Finding]:
    ours = {(snippet.type, snippet.priority): snippet.name for snippet in policy.render(settings)}
    first = {kind: (priority, ours[kind, priority]) for kind, priority in sorted(ours, reverse=True)}
    last_fetch = max((priority, name) for (kind, priority), name in ours.items() if kind == "fetch")
    remedy = "Give it a higher number as priority than the policy's, which is {}."
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
            text = (
                f"the fetch snippet {row['name']!r} delivers before the policy's last snippet: no ceiling for its pages"
            )
            yield Finding("early-return", "warning", text, "Take its return(deliver) out; a TTL can be set without it.")
    for file in version.files:
        for kind, before in _BEFORE_MACRO.findall(str(file.get("content") or "")):
            if kind.lower() in first and (found := _LEAVES.search(_bare(before))):
                text = f"the VCL file {file['name']!r} leaves vcl_{kind} before #FASTLY {kind}: {_line(found[0])}"
                yield Finding("early-return", "critical", text, "Put it after the macro: the policy runs in there.")


def _texts(version: Rows) -> Iterator[tuple[str, str]]:
    """All VCL that others wrote: its place in words, and its text."""
    for row in version.snippets:
        if not _ours(row):
            yield f"the {row['type']} snippet {row['name']!r}", str(row.get("content") or "")
    for file in version.files:
        yield f"the VCL file {file['name']!r}", str(file.get("content") or "")


def _statements(text: object) -> list[str]:
    return _SETS_GRACE.findall(_bare(text))


def _bare(text: object) -> str:
    """VCL without comments, and with empty strings."""
    return _QUOTED_OR_COMMENT.sub(lambda found: '""' if found[0][0] in '"{' else " ", str(text or ""))


def _line(statement: str) -> str:
    return " ".join(statement.split())


def _ours(row: Mapping[str, Any]) -> bool:
    return str(row["name"]).startswith(policy.NAME_PREFIX)


def _seconds(row: Mapping[str, Any], key: str) -> int:
    """A number that Fastly gives as a number, as a string, or not at all. An empty form field gives 0."""
    value = str(row.get(key) or "0")
    return int(value) if value.isdecimal() else 0


def _true(value: object) -> bool:
    return str(value).lower() in ("1", "true")


def raise_ceiling(promised: int, _: EdgeSettings) -> str:
    """The remedy with which the setting keeps a promise."""
    return f"To keep what is promised now: edge.ceiling = {promised}."


def raise_base(promised: int, settings: EdgeSettings) -> str:
    """The remedy with which the policy keeps a promise."""
    also = f" and edge.ceiling = {promised}" if promised > settings.ceiling else ""
    return f"To keep what is promised now: edge.base_grace = {promised}{also}."
