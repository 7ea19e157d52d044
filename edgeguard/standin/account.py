"""The account that the API's routes act on: its one service, the edge that serves it, its tokens, and the controls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeguard.standin.controls import Controls
    from edgeguard.standin.network import Network
    from edgeguard.standin.service import Service
    from edgeguard.standin.tokens import Tokens


class Account:
    """The state that the API and the plants share. It checks no token: `api` does that."""

    def __init__(self, service: Service, network: Network, tokens: Tokens, controls: Controls) -> None:
        self.service = service
        self.network = network
        self.tokens = tokens
        self.controls = controls
        self._purges = 11_000

    def load(self) -> None:
        """Have the edge run the active version, or nothing where no version is active. Raises VclError."""
        active = self.service.active
        if active is None:
            self.network.unload()
        else:
            self.network.load(self.service.compile(active.number), active.number, active.dictionaries)

    def new_purge_id(self) -> str:
        """An id in the form that Fastly's cache nodes give to a purge: node, time, sequence."""
        self._purges += 1
        return f"4151-{int(time.time())}-{self._purges}"
