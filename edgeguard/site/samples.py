"""What visitors saw during a deploy: each answer a sample, and the figures of many.

Apart from visitors.py, so that reading a report starts no event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.cluster.host import strict_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LARGEST = 16 * 2**20
"""Bytes of samples that are read: hours of a deploy."""
_NUMBER = (int, float)
_KINDS = (_NUMBER, (str,), (int, type(None)), _NUMBER, (str,), (str,))
_LEAST = 4  # values of a sample
AUDIENCES = ("anonymous", "authenticated", "origin")


@dataclass(frozen=True, slots=True)
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
    """The samples in the first LARGEST bytes of a file; none where there is no file, or none that can be read. A line
    that is torn or damaged is passed over."""
    try:
        with path.open("rb") as file:
            lines = file.read(LARGEST).split(b"\n")
    except OSError:
        return []
    return [sample for line in lines if (sample := _sample(line)) is not None]


def _sample(line: bytes) -> Sample | None:
    try:
        found = strict_json.read(line)
    except strict_json.Fault:
        return None
    if not isinstance(found, list) or not _LEAST <= len(found) <= len(_KINDS):
        return None
    if any(type(value) not in kinds for value, kinds in zip(found, _KINDS, strict=False)) or found[1] not in AUDIENCES:
        return None
    return Sample(*found)


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
