"""Renews something, such as a lease, while the process lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from edgeguard.errors import EdgeguardError

if TYPE_CHECKING:
    from collections.abc import Callable


class Renewal:
    """Calls `act` every `interval` seconds on a thread of its own, from `start` until `stop`.

    If a renewal fails, `failed` is called with the name and the error, and the next renewal comes as usual. A failure
    is never fatal by itself.
    """

    def __init__(
        self, name: str, interval: float, act: Callable[[], None], *, failed: Callable[[str, EdgeguardError], None]
    ) -> None:
        self._name = name
        self._interval = interval
        self._act = act
        self._failed = failed
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Begin; the first renewal comes after one interval."""
        self._thread = threading.Thread(target=self._run, name=f"renew {self._name}", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the renewals: none begins after this returns. Harmless twice, or before `start`."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self._act()
            except EdgeguardError as exc:
                self._failed(self._name, exc)
