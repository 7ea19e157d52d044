"""Thresholds, as monitoring plugins take them: nagios-plugins.org/doc/guidelines.html, "Threshold and ranges"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgeguard.settings import seconds


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, in seconds, both included. A value alerts outside of it; inside, if `inverted`."""

    low: float
    high: float
    inverted: bool = False

    def alerts(self, value: float) -> bool:
        """Whether this value is one to be told of."""
        return (self.low <= value <= self.high) == self.inverted

    def __str__(self) -> str:
        """As in performance data: numbers of seconds."""
        low = "~" if self.low == -math.inf else f"{self.low:.10g}"
        high = "" if self.high == math.inf else f"{self.high:.10g}"
        return f"{'@' if self.inverted else ''}{low}:{high}"


def parse(text: str) -> Range:
    """A range: `10m:`, `10m:2h`, `~:2h`, `@0:10m`. A single duration is the least that is wanted: `10m` is `10m:`.

    (By the guidelines it would be the most. But little time left is what one has to be told of, never much.)

    Raises:
        ValueError: it is none, or begins after its end.
    """
    found = re.fullmatch(r"(@?)([^:@]*)(:?)([^:@]*)", text.strip())
    if found is None or not (found[2] or found[4]):
        raise ValueError(f"{text!r} is not a range; write 10m, 10m:, 10m:2h or @0:10m")
    low = -math.inf if found[2] == "~" else seconds(found[2] or 0)
    high = seconds(found[4]) if found[4] else math.inf
    if low > high:
        raise ValueError(f"{text!r} begins after its end")
    return Range(low, high, inverted=bool(found[1]))
