"""The verdict as gauges in Prometheus's text format, for a textfile collector. NaN is unknown.

Prometheus: docs/instrumenting/exposition_formats, docs/practices/naming.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from edgeguard.monitor import CODES
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.monitor import Health

_Sample = tuple[dict[str, str], float | None]
_Gauge = tuple[str, str, "Sequence[_Sample]"]


def render(health: Health) -> str:
    """All gauges. A gauge without a sample is left out."""
    gauges = (*_verdict(health), *_edge(health))
    return "".join(_lines(*gauge) for gauge in gauges if gauge[2])


def no_verdict(environment: str) -> str:
    """The one gauge that says that there is no verdict."""
    return _lines(*_state(environment, CODES["unknown"]))


def _state(environment: str, code: int) -> _Gauge:
    meaning = "The verdict, as the exit code: 0 OK, 1 warning, 2 critical, 3 unknown."
    return "state", meaning, [({"environment": environment}, code)]


def _verdict(health: Health) -> Iterator[_Gauge]:
    here = {"environment": health.environment}
    seen, closure, front = health.seen, health.closure, health.seen.front
    up = front.status == HTTPStatus.OK and front.stale is None
    yield _state(health.environment, health.code)
    yield "probe_duration_seconds", "How long the probe took.", [(here, seen.seconds)]
    yield "front_door_up", "Whether the health page answers 200, and with no stale copy.", [(here, up)]
    yield "front_door_status_code", "The HTTP status of the health page; 0: no answer.", [(here, front.status)]
    if front.answer is not None:
        yield "front_door_duration_seconds", "How long that answer took.", [(here, front.answer.seconds)]
    well = [({**here, "url": one.url}, 0 < one.status < HTTPStatus.BAD_REQUEST) for one in seen.origins]
    yield "origin_up", "Whether the origin, asked without the edge, answers with a status below 400.", well
    yield "closed", "Whether a gate says that the cluster is closed on purpose.", [(here, closure is not None)]
    if closure is not None:
        yield "closed_until_timestamp_seconds", "When that closure is to end.", [(here, closure.until)]


def _edge(health: Health) -> Iterator[_Gauge]:
    here = {"environment": health.environment}
    status = health.seen.status
    current = status is not None and status.revision == health.expected_revision
    pages = [({**here, "url": page.asked.url}, page.runway) for page in health.pages]
    claims = [({**here, "slot": claim.slot}, claim) for claim in health.claims]
    granted = [(labels, claim.grace) for labels, claim in claims]
    ends = [(labels, claim.until) for labels, claim in claims]
    yield "runway_seconds", "How long the edge could serve all pages without an origin.", [(here, health.runway)]
    yield "page_runway_seconds", "How long the edge could serve this page without an origin.", pages
    yield "grace_seconds", "How stale a page may be served.", [(here, status.grace if status else None)]
    yield (
        "hold",
        "Whether stale copies are served without asking the origin.",
        [(here, status.hold if status else None)],
    )
    yield "policy_current", "Whether the edge has the policy that the environment's file asks for.", [(here, current)]
    yield "claim_grace_seconds", "The grace that a live claim grants.", granted
    yield "claim_until_timestamp_seconds", "When a live claim ends.", ends


def _lines(name: str, meaning: str, samples: Sequence[_Sample]) -> str:
    lines = [f"# HELP edgeguard_{name} {meaning}", f"# TYPE edgeguard_{name} gauge"]
    for labels, value in samples:
        inner = ",".join(f'{label}="{_escaped(said)}"' for label, said in labels.items())
        number = "NaN" if value is None or math.isnan(value) else f"{float(value):.15g}"
        lines.append(f"edgeguard_{name}{{{inner}}} {number}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return on_one_line(value).replace("\\", "\\\\").replace('"', '\\"')
