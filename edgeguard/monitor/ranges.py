"""Thresholds in the form of monitoring plugins: nagios-plugins.org/doc/guidelines.html, "Threshold and ranges"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgeguard.settings import seconds


@dataclass(frozen=True)
class Range:
    """A range in seconds, both ends included. Values outside of it alert; if it is `inverted`, values inside alert."""

    low: float
    high: float
    inverted: bool = False

    def alerts(self, value: float) -> bool:
        """Whether this value is an alert."""
        return (self.low <= value <= self.high) == self.inverted

    def __str__(self) -> str:
        """The form of performance data: plain seconds."""
        low = "~" if self.low == -math.inf else f"{self.low:.10g}"
        high = "" if self.high == math.inf else f"{self.high:.10g}"
        return f"{'@' if self.inverted else ''}{low}:{high}"


def parse(text: str) -> Range:
    """Parse a range: `10m:`, `10m:2h`, `~:2h`, `@0:10m`. A single duration is the minimum: `10m` is `10m:`.

    By the guidelines it would be the maximum. But here an alert is about too little time, never about too much.

    Raises:
        ValueError: the text is not a range, or the range begins after its end.
    """
    found = re.fullmatch(r"(@?)([^:@]*)(?::([^:@]*))?", text.strip())
    if found is None or not (found[2] or found[3]):
        raise ValueError(f"{text!r} is not a range; write 10m, 10m:, 10m:2h or @0:10m")
    low = -math.inf if found[2] == "~" else seconds(found[2] or 0)
    high = seconds(found[3]) if found[3] else math.inf
    if low > high:
        raise ValueError(f"{text!r} begins after its end")
    return Range(low, high, inverted=bool(found[1]))
