"""What visitors saw during a deploy: each answer a sample, and the figures of many.

Apart from visitors.py, so that reading a report starts no event loop.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

AUDIENCES = ("anonymous", "authenticated", "origin")


@dataclass(frozen=True)
class Sample:
    """One request: `at` is when it was sent (Unix time), `status` is None for no answer at all."""

    at: float
    audience: str
    status: int | None
    seconds: float
    stale: str = ""
    release: str = ""

    @property
    def broken(self) -> bool:
        """Whether a visitor would call this broken: 5xx, refused, reset or timed out."""
        return self.status is None or self.status >= 500  # noqa: PLR2004 (HTTP)


def read(path: Path) -> list[Sample]:
    """The samples in a file; none where there is no file. A torn line is ignored."""
    samples = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            samples.append(Sample(*json.loads(line)))
        except (ValueError, TypeError):
            continue
    return samples


def summarize(samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
    """Each audience's figures: requests, errors, stale, p50, p99 (seconds), and seconds from first to last error."""
    groups: dict[str, list[Sample]] = {audience: [] for audience in AUDIENCES}
    for sample in samples:
        groups[sample.audience].append(sample)
    return {audience: _figures(group) for audience, group in groups.items() if group}


def _figures(samples: list[Sample]) -> dict[str, float]:
    broken = sorted(sample.at for sample in samples if sample.broken)
    times = sorted(sample.seconds for sample in samples)
    return {
        "requests": len(samples),
        "errors": len(broken),
        "stale": sum(1 for sample in samples if sample.stale),
        "p50": times[len(times) // 2],
        "p99": times[min(len(times) - 1, len(times) * 99 // 100)],
        "seconds_down": round(broken[-1] - broken[0], 3) if broken else 0.0,
    }
