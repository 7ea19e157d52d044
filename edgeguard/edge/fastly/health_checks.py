"""How the edge's own health checks would judge a closure: findings from the rows of the active version. Pure.

A check looks at the last `window` answers of its backend. With at least `threshold` good ones among them, the backend
is healthy (Fastly: guides/concepts/healthcheck). A sick backend gets no requests: a page with a copy is served stale,
and every other page is an error, even after the cluster has opened again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.findings import Finding
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.edge.fastly.rows import Rows


def find(version: Rows, *, closure: float, green_path: str | None, patience: float) -> tuple[Finding, ...]:
    """Findings on each backend that has a check.

    A closure is expected to last `closure` seconds. A deploy waits `patience` seconds for a healthy answer through the
    front door. `green_path` is answered while the cluster is closed.
    """
    checks = {str(row["name"]): row for row in version.healthchecks}
    return tuple(
        finding
        for backend in version.backends
        if (check := checks.get(str(backend.get("healthcheck") or ""))) is not None
        for finding in _of(str(backend["name"]), check, closure, green_path, patience)
    )


def sick_after_opening(check: Mapping[str, Any], closure: float) -> float:
    """Seconds for which a backend stays sick after a closure that its check saw; 0 if it did not become sick."""
    window, threshold, interval = _number(check, "window"), _number(check, "threshold"), _interval(check)
    failed = min(window, int(closure / interval) + 1)
    # Old good answers leave the window one by one as new ones come, so only new ones make up what is missing.
    return threshold * interval if window - failed < threshold else 0.0


def _of(
    backend: str, check: Mapping[str, Any], closure: float, green_path: str | None, patience: float
) -> Iterator[Finding]:
    path = str(check.get("path") or "/")
    sick = 0.0 if path == green_path else sick_after_opening(check, closure)
    if sick:
        evidence = (
            f"the health check {check['name']!r} asks {path}, which is closed too: the backend {backend!r} stays sick "
            f"for {duration(sick)} after the opening ({_number(check, 'threshold')} answers, "
            f"{duration(_interval(check))} apart)"
        )
        yield Finding(
            "backend-stays-sick",
            "critical" if sick >= patience else "warning",
            f"{evidence}, and so do pages without a copy"
            + (f"; a deploy waits {duration(patience)}, then rolls back" if sick >= patience else ""),
            f'cluster.edge_check_path = "{path}" lets the gate answer that path while it is closed.',
        )
    initial, threshold = _number(check, "initial"), _number(check, "threshold")
    if initial < threshold:
        yield Finding(
            "starts-sick",
            "note",
            f"the backend {backend!r} is sick at first whenever a version is activated: initial {initial} is below "
            f"threshold {threshold} in the health check {check['name']!r}",
            "Raise initial to the threshold. A deploy activates nothing; `edge install` does.",
        )


def _interval(check: Mapping[str, Any]) -> float:
    """The check's interval in seconds. The API has milliseconds."""
    return max(_number(check, "check_interval"), 1) / 1000


def _number(check: Mapping[str, Any], name: str) -> int:
    value = str(check.get(name) or "0")
    return int(value) if value.isdecimal() else 0
