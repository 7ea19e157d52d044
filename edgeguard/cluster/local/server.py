"""One server of the driver `local`: its folder, its supervisor, and what is current and runs there."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import ServerState
from edgeguard.cluster.errors import on
from edgeguard.cluster.host import fence, files, generations, output, processes, sockets
from edgeguard.cluster.host.health import Supervised
from edgeguard.cluster.local.daemon import Daemon
from edgeguard.cluster.tasks import TaskRun, TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from edgeguard.cluster import Task

SWAP_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A server, read from its folder each time it is asked. What goes wrong there is a ClusterError that names it."""

    name: str
    folder: Path

    @property
    def supervisor(self) -> Daemon:
        """The process that keeps the server's application running."""
        return Daemon(self.name, "edgeguard.cluster.local.supervisor", self.folder / "supervisor")

    def read_record(self) -> dict[str, Any] | None:
        """The server's record, None where there is none yet."""
        with on(self.name):
            return files.read(self.folder / "record.json")

    @contextmanager
    def fenced(self, epoch: int, *, note: Mapping[str, Any] | None = None, after: int | None = None) -> Iterator[None]:
        """Hold the server's lock, for a holder of this epoch only, and write the `note` into its record first. `after`
        is as in fence.fenced. Raises Fenced."""
        with ExitStack() as stack:
            with on(self.name):
                stack.enter_context(fence.fenced(self.folder, fence.Caller(epoch), after=after))
                if note is not None:
                    fence.write_record(self.folder, epoch, note)
            yield

    def state(self, *, opened: bool, gate: bool) -> ServerState:
        """The server as it is now. `opened`: the gate lets requests through to it; `gate`: the gate is alive."""
        with on(self.name):
            name = generations.current(self.folder)
            last = self.supervisor.last() or {}
            return ServerState(
                name=self.name,
                generation=name,
                release=None if name is None else generations.read(self.folder, name).release,
                running=self._running(),
                open=opened,
                deaths=int(last.get("died", 0)) if last.get("generation") == name else 0,
                gate=gate,
                supervisor=self.supervisor.actual() is not None,
            )

    def supervised(self) -> Supervised | None:
        """What the supervisor tells of the application; None where none runs."""
        actual = self.supervisor.actual()
        if actual is None:
            return None
        return Supervised(
            generation=actual["generation"],
            deaths=actual["deaths"],
            exit=actual["exit"],
            said=partial(output.said, self.folder / "app.log", actual.get("output")),
            error=actual.get("error", ""),
            remedy=actual.get("remedy", ""),
            where=f"The application's output is in {self.folder / 'app.log'}.",
        )

    def runs_only(self, generation: str | None) -> bool:
        """Whether a swap to this generation would change nothing: the link, the order and the process are right."""
        with on(self.name):
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

    @property
    def tasks(self) -> Daemon:
        """The process that keeps the server's background tasks. It is there only while there are tasks to keep."""
        return Daemon(f"{self.name} (background tasks)", "edgeguard.cluster.local.tasks", self.folder / "tasks")

    def make_ready_for_tasks(self) -> None:
        """Start what keeps background tasks where it does not run. Tasks go on as they are."""
        tasks = self.tasks
        if tasks.actual() is None:
            tasks.order({"server": self.name, "generation": None, "crons": False, **tasks.desired()})

    def start_tasks(self, generation: str, *, crons: bool) -> None:
        """Let the background tasks of a generation run, crons too if they run on this server."""
        with on(self.name):
            has_tasks = bool(generations.read(self.folder, generation).runs.tasks)
        if has_tasks:
            self.tasks.order({"server": self.name, "generation": generation, "crons": crons})
        else:
            self.tasks.end()

    def stop_tasks(self) -> int:
        """End the background tasks; none starts before `start_tasks`. Returns how many ran."""
        tasks = self.tasks
        if tasks.pid() is None and not processes.of_tasks(self.folder):
            return 0
        return int(tasks.order({"server": self.name, "generation": None, "crons": False})["stopped"])

    def tell_tasks(self) -> list[TaskState]:
        """The background tasks of the generation that is current, as they are now."""
        name, alive = generations.current(self.folder), self.tasks.actual() is not None
        if name is None:
            return []
        told = (self.tasks.last() or {}).get("tasks", {})
        runs = generations.read(self.folder, name).runs
        return [_task_state(self.name, task, told.get(task.id, {}), alive=alive) for task in runs.tasks]

    def swap(self, generation: str | None, port: int) -> None:
        """End the processes, make the generation current by a rename, and start its processes; None starts none. Where
        the generation is current already, what is missing is started, and the deaths so far still count."""
        order = {"server": self.name, "port": port}
        with on(self.name):
            changes = generations.current(self.folder) != generation
            if generation is not None:
                generations.read(self.folder, generation)
                if changes:
                    generations.prepare_link(self.folder, generation)
            if changes or generation is None:
                self.stop_tasks()
                self.supervisor.order({**order, "generation": None}, limit=SWAP_SECONDS)
                processes.end(partial(processes.every, self.folder))
            if changes:
                generations.make_current(self.folder, generation)
            if generation is not None:
                self.supervisor.order({**order, "generation": generation}, limit=SWAP_SECONDS)

    def prune(self, keep: Collection[str]) -> set[Path]:
        """Remove the generations that are not needed. Returns the images of the others."""
        used = set()
        with on(self.name):
            needed = {
                *keep,
                generations.current(self.folder),
                self.supervisor.desired().get("generation"),
                self.tasks.desired().get("generation"),
            }
            for name in generations.names(self.folder):
                if name in needed:
                    used.add(generations.read(self.folder, name).image)
                else:
                    sockets.remove(self.folder, name)
                    generations.remove(self.folder, name)
        return used

    def _running(self) -> str | None:
        """The release that every process runs from. Where processes can't be seen, the supervisor's report counts."""
        if processes.VISIBLE:
            names = processes.by_generation(processes.running(self.folder))
        else:
            actual = self.supervisor.actual()
            names = {actual["generation"]} if actual is not None and actual["running"] else set()
        found = {None if name is None else generations.read(self.folder, name).release for name in names}
        return found.pop() if len(found) == 1 else None


def _task_state(server: str, task: Task, told: Mapping[str, Any], *, alive: bool) -> TaskState:
    last = told.get("last")
    return TaskState(
        server=server,
        task=task,
        kept=alive,
        since=told.get("since") if alive else None,
        deaths=told.get("deaths", 0),
        missed=told.get("missed", 0),
        next=told.get("next") if alive else None,
        last=None if last is None else TaskRun(**last),
    )
