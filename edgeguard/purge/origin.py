"""The origin during a purge: the edge fetches each purged page again, so the purge waits while the origin is slow."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from edgeguard.errors import OriginsUnhealthy
from edgeguard.site import front_door
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.settings import EdgeSettings

BEFORE = 3
"""Answers before the first purge. Their median is the origin's usual time."""
SLOWER, FLOOR = 2.0, 0.2
"""An answer is slow if it takes more than twice the usual time and 0.2 s. A smaller difference is noise."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0


class Origin:
    """Asks the origin through the front door, at a URL that no cache can answer.

    `patience` is the longest time to wait, in seconds; `told` hears why the purge waits.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        patience: float,
        sleep: Callable[[float], None],
        told: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._patience = patience
        self._sleep = sleep
        self._told = told
        self._usual = 0.0

    def begin(self) -> None:
        """Measure how fast the origin answers before anything is purged. Raises OriginsUnhealthy."""
        self._usual = median(front_door.ask_once(self._settings, None) for _ in range(BEFORE))

    def wait_until_well(self) -> None:
        """Return at once if the origin answers as fast as before; else wait until it does.

        Raises:
            OriginsUnhealthy: it was still slow after `patience` seconds.
        """
        waited, wait = 0.0, FIRST_WAIT
        while (slow := self._slow()) is not None:
            if waited + wait > self._patience:
                raise OriginsUnhealthy(
                    f"the origin can't keep up: {slow}", "Look at its load; purge the rest when it is well again."
                )
            self._told(f"{slow}; the next pages are purged when it is well, asking again in {duration(wait)}")
            self._sleep(wait)
            waited, wait = waited + wait, min(2 * wait, LONGEST_WAIT)

    def _slow(self) -> str | None:
        """Why the origin is slow or sick now; None where it is well."""
        try:
            took = front_door.ask_once(self._settings, None)
        except OriginsUnhealthy as exc:
            return exc.message
        if took <= SLOWER * self._usual + FLOOR:
            return None
        return f"{self._settings.health_url} takes {took:.2f} s, before the purge it took {self._usual:.2f} s"
