"""One server of the driver `local`: its folder, its supervisor, and what is current and runs there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import ServerState
from edgeguard.cluster.local import generations, host, processes
from edgeguard.cluster.local.daemon import Daemon

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

SWAP_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A server, read from its folder each time it is asked."""

    name: str
    folder: Path

    @property
    def supervisor(self) -> Daemon:
        """The process that keeps the server's application running."""
        return Daemon(self.name, "edgeguard.cluster.local.supervisor", self.folder / "supervisor")

    def fenced(self, epoch: int) -> AbstractContextManager[None]:
        """Hold the server's lock, for a holder of this epoch only. Raises Fenced."""
        return host.fenced(self.folder, self.name, epoch)

    def generation(self, name: str) -> dict[str, Any]:
        """The content of a generation. Raises ClusterError if it isn't staged here."""
        return generations.read(self.folder / "generations" / name)

    def state(self, *, opened: bool) -> ServerState:
        """The server as it is now. `opened`: the gate lets requests through to it."""
        name = generations.current(self.folder)
        release = None if name is None else str(self.generation(name)["release"])
        return ServerState(self.name, generation=name, release=release, running=self._running(), open=opened)

    def runs_only(self, generation: str | None) -> bool:
        """Whether a swap to this generation would change nothing: the link, the order and the process are right."""
        actual = self.supervisor.actual()
        if generations.current(self.folder) != generation:
            return False
        if actual is None:
            return generation is None and not processes.running(self.folder)
        settled = actual["number"] == self.supervisor.desired()["number"]
        return bool(settled and actual["generation"] == generation and actual["running"] == (generation is not None))

    def start_supervisor(self, port: int) -> None:
        """Start the supervisor where none runs. The application goes on as it was."""
        if self.supervisor.actual() is None:
            wanted = self.supervisor.desired().get("generation")
            self.supervisor.order({"server": self.name, "generation": wanted, "port": port})

    def swap(self, generation: str | None, port: int) -> None:
        """End the processes, make the generation current by a rename, and start its processes; None starts none."""
        order = {"server": self.name, "port": port}
        changes = generations.current(self.folder) != generation
        if generation is not None:
            self.generation(generation)
            if changes:
                generations.prepare_link(self.folder, generation)
        self.supervisor.order({**order, "generation": None}, limit=SWAP_SECONDS)
        if changes:
            generations.make_current(self.folder, generation)
        if generation is not None:
            self.supervisor.order({**order, "generation": generation}, limit=SWAP_SECONDS)

    def _running(self) -> str | None:
        """The release that every process runs from. Where processes can't be seen, the supervisor's report counts."""
        if processes.VISIBLE:
            names = processes.by_generation(processes.running(self.folder))
        else:
            actual = self.supervisor.actual()
            names = {actual["generation"]} if actual is not None and actual["running"] else set()
        found = {None if name is None else str(self.generation(name)["release"]) for name in names}
        return found.pop() if len(found) == 1 else None
