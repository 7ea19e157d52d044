"""Conflicts with the policy in a service: findings from the rows of its active version. Pure.

The names of the findings are CONFLICTS of edgeguard/edge, and `compute-service`, for which there is no repair.

Fastly generates the VCL in this order: recv, miss, pass, fetch and error snippets are in their macros, by priority and
then by name; cache settings are after the fetch snippets; "serve stale" is before them (Fastly:
reference/api/vcl-services/snippet, guides/full-site-delivery/performance/serving-stale-content).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from edgeguard.edge.fastly import policy, running
from edgeguard.edge.fastly.rows import seconds, true
from edgeguard.edge.fastly.running import ends_with
from edgeguard.edge.fastly.vcl import MACRO
from edgeguard.findings import Finding
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeguard.edge.fastly.rows import Rows
    from edgeguard.edge.fastly.running import Step
    from edgeguard.settings import EdgeSettings

_GRACE = ("req.max_stale_if_error", "req.grace", "beresp.stale_if_error", "beresp.grace")
_STALE_OFF = ("req.hash_ignore_busy", "req.hash_always_miss")
_LEFT_EARLY = ("recv", "miss", "fetch", "error")
"""The subroutines in which something may leave before the policy has run."""


def with_policy(version: Rows, settings: EdgeSettings) -> tuple[Finding, ...]:
    """The conflicts of the active version with the policy of these settings; () if there are none."""
    if version.kind != "vcl":
        return (_compute(version, settings),)
    wanted = policy.render(settings)
    steps = running.steps(version, wanted)
    return (
        *_macros(version, steps, {snippet.type for snippet in wanted} - {"init"}),
        *_serve_stale(version, settings),
        *_of_both(version, steps),
        *dict.fromkeys(_early_returns(steps)),
    )


def with_setting(version: Rows, settings: EdgeSettings) -> tuple[Finding, ...]:
    """The conflicts with the service's own "serve stale". Fastly's code for it is in the macros fetch and error."""
    if version.kind != "vcl":
        return (_compute(version, settings),)
    steps = running.steps(version, ())
    return (*_macros(version, steps, {"fetch", "error"}), *_of_both(version, steps))


def _compute(version: Rows, settings: EdgeSettings) -> Finding:
    return Finding(
        "compute-service",
        "critical",
        f"the service {settings.service} is of the kind {version.kind!r}: it runs no VCL",
        "Name a VCL (delivery) service in edge.service.",
    )


def _of_both(version: Rows, steps: Sequence[Step]) -> Iterator[Finding]:
    """The conflicts that the policy and the setting share."""
    yield from _cache_settings(version)
    yield from _request_settings(version)
    yield from _in_vcl(version, steps)


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
        f"{url} promises stale-if-error={promised}; after the installation it would be {duration(kept)} without a "
        "claim",
        remedy(promised, settings),
        url,
    )


def _macros(version: Rows, steps: Sequence[Step], needed: set[str]) -> Iterator[Finding]:
    if not any(file.get("main") for file in version.files):
        return
    there = {step.kind for step in steps if step.statement.words == (MACRO, step.kind)}
    if missing := sorted(needed - there):
        yield Finding(
            "no-macros",
            "critical",
            "the service's own main VCL file lacks " + ", ".join(f"#FASTLY {name}" for name in missing),
            "Add them where Fastly's boilerplate has them: without them, snippets of these types never run.",
        )


def _serve_stale(version: Rows, settings: EdgeSettings) -> Iterator[Finding]:
    if true(version.settings.get("general.stale_if_error")):
        promised = int(version.settings.get("general.stale_if_error_ttl") or 0)
        also = f" {raise_base(promised, settings)}" if promised > settings.base_grace else ""
        yield Finding(
            "serve-stale",
            "warning",
            f'the service\'s own "serve stale" is on, with general.stale_if_error_ttl {duration(promised)}',
            f"Switch it off in the service: it restarts requests on errors before the policy can act.{also}",
        )


def _cache_settings(version: Rows) -> Iterator[Finding]:
    for row in version.cache_settings:
        if seconds(row, "stale_ttl"):
            yield Finding(
                "cache-settings",
                "critical",
                f"the cache setting {row['name']!r} sets stale_ttl {row['stale_ttl']}, after the policy's ceiling",
                "Clear its stale TTL: pages under it could be served stale no longer than that.",
            )


def _request_settings(version: Rows) -> Iterator[Finding]:
    for row in version.request_settings:
        if seconds(row, "max_stale_age"):
            yield Finding(
                "request-settings",
                "critical",
                f"the request setting {row['name']!r} sets max_stale_age {row['max_stale_age']}",
                "Clear its max stale age: it limits what the policy allows.",
            )
        for field in ("bypass_busy_wait", "force_miss"):
            if true(row.get(field)):
                yield Finding(
                    "request-settings",
                    "critical",
                    f"the request setting {row['name']!r} sets {field}: its requests are never served stale",
                    "Switch it off: Fastly doesn't use a stale copy for such requests.",
                )


def _in_vcl(version: Rows, steps: Sequence[Step]) -> Iterator[Finding]:
    """What the statements of others do to stale copies, in the service's own VCL and in the generated VCL.

    The generated VCL also has our statements, and those of settings that have findings of their own. Only its other
    statements count.
    """
    theirs = [step for step in steps if not step.ours]
    known = set(_of_settings(version)) | {str(step.statement) for step in theirs}
    rest = [step for step in running.generated(version) if str(step.statement) not in known]
    for step in {(step.where, str(step.statement)): step for step in (*theirs, *rest)}.values():
        if finding := _about(step):
            yield finding


def _about(step: Step) -> Finding | None:
    """The finding about one statement; None where it does no harm."""
    words, text = step.statement.words, f"{step.where} has `{step.statement}`"
    changed = {name for verb, name in itertools.pairwise(words) if verb == "set"}
    if not changed.isdisjoint(_GRACE):
        remedy = "Take it out: the policy sets this, and the later of two statements wins."
        return Finding("grace-in-vcl", "critical", text, remedy)
    if not changed.isdisjoint(_STALE_OFF) and words[-1] != "false":
        remedy = "Take it out: Fastly doesn't use a stale copy for such requests."
        return Finding("stale-off", "critical", text, remedy)
    return None


def _of_settings(version: Rows) -> Iterator[str]:
    """The statements that Fastly generates for the service's settings that have findings of their own."""
    for row in version.request_settings:
        yield from ("set req.hash_ignore_busy = true",) if true(row.get("bypass_busy_wait")) else ()
        yield from ("set req.hash_always_miss = true",) if true(row.get("force_miss")) else ()
    for row in (*version.cache_settings, *version.request_settings):
        for limit in filter(None, (seconds(row, "stale_ttl"), seconds(row, "max_stale_age"))):
            yield from (f"set {name} = {limit}s" for name in _GRACE)


def _early_returns(steps: Sequence[Step]) -> Iterator[Finding]:
    for kind in _LEFT_EARLY:
        here = [step for step in steps if step.kind == kind]
        places = [place for place, step in enumerate(here) if step.ours]
        if not places:  # the macro is missing, which is a finding of its own
            continue
        priority = here[places[0]].priority
        remedy = f"Give it a higher number as priority than the policy's, which is {priority}."
        for step in filter(_leaves, here[: places[0]]):
            if step.priority is None:
                text = f"{step.where} leaves vcl_{kind} before #FASTLY {kind}: {step.statement}"
                yield Finding("early-return", "critical", text, "Put it after the macro: the policy runs in there.")
            else:
                text = f"{step.where} (priority {step.priority}) leaves before the policy: {step.statement}"
                yield Finding("early-return", "critical", text, remedy)
        for step in here[places[0] : places[-1]] if kind == "fetch" else ():
            if ends_with(step.statement.words, "deliver"):
                text = f"{step.where} delivers before the policy's last snippet: no ceiling for its pages"
                remedy = "Take its return(deliver) out; a TTL can be set without it."
                yield Finding("early-return", "warning", text, remedy)


def _leaves(step: Step) -> bool:
    """Whether a statement ends one of Fastly's subroutines. A bare `return` ends only the custom one that it is in."""
    words = step.statement.words
    return ends_with(words, "restart") or words[:1] == ("error",) or (words[:1] == ("return",) and len(words) > 1)


def raise_ceiling(promised: int, _: EdgeSettings) -> str:
    """The remedy with which the setting keeps a promise."""
    return f"To keep what is promised now: edge.ceiling = {promised}."


def raise_base(promised: int, settings: EdgeSettings) -> str:
    """The remedy with which the policy keeps a promise."""
    also = f" and edge.ceiling = {promised}" if promised > settings.ceiling else ""
    return f"To keep what is promised now: edge.base_grace = {promised}{also}."
