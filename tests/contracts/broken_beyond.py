"""Drivers that break a promise beyond the Protocol: the application's output, people's commands, background tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.local import LocalCluster
from edgeguard.testing import suite
from tests.contracts.broken_drivers import breaks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeguard.cluster.foreground import Ended, Ends
    from edgeguard.cluster.host.logs import Piece
    from edgeguard.cluster.tasks import TaskState


# Output


@breaks("output is gone on with", suite.test_the_output_of_the_application_is_told_line_by_line_and_gone_on_with)
class TellsOutputTwice(LocalCluster):
    def logs(
        self, server: str, *, place: str | None, lines: int | None, ago: float | None, task: str | None = None
    ) -> Piece:
        piece = super().logs(server, place=place, lines=lines, ago=ago, task=task)
        return piece if place is None else replace(piece, lines=(*piece.lines, *piece.lines))


@breaks(
    "a task's output is its own",
    suite.test_workers_run_on_every_server_from_the_opening_on_with_variables_of_their_own,
)
class TellsTheWebProcessAlone(LocalCluster):
    def logs(
        self, server: str, *, place: str | None, lines: int | None, ago: float | None, task: str | None = None
    ) -> Piece:
        del task
        return super().logs(server, place=place, lines=lines, ago=ago)


# Commands of people


@breaks(
    "a command runs on the server that was named",
    suite.test_a_command_has_what_the_application_has_and_its_own_streams,
)
class RunsCommandsOnTheFirst(LocalCluster):
    def run(self, server: str, command: Sequence[str], ends: Ends) -> Ended:
        del server
        return super().run("web1", command, ends)


@breaks("a command's group gets signals", suite.test_a_command_s_group_gets_signals_and_nothing_of_it_stays)
class HidesTheGroup(LocalCluster):
    def run(self, server: str, command: Sequence[str], ends: Ends) -> Ended:
        return super().run(server, ("setsid", "--wait", *command), ends)


@breaks("a command that a swap ended says so", suite.test_a_command_of_the_old_release_is_ended_by_the_swap)
class BlamesNobody(LocalCluster):
    def run(self, server: str, command: Sequence[str], ends: Ends) -> Ended:
        return replace(super().run(server, command, ends), swapped=False)


# Background tasks


@breaks(
    "no task runs before the opening",
    suite.test_workers_run_on_every_server_from_the_opening_on_with_variables_of_their_own,
)
class StartsTasksInTheSwap(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        super().swap(epoch, generation, note=note)
        if generation is not None:
            for server in self.servers:
                self._server(server).start_tasks(generation, crons=False)


@breaks("tasks are stopped", suite.test_stopped_tasks_leave_no_process_and_start_again_with_an_opening)
class StopsNoTask(LocalCluster):
    def stop_tasks(self, epoch: int) -> int:
        del epoch
        return sum(state.since is not None for state in self.tasks())


@breaks("a worker's ends are told", suite.test_a_worker_that_ends_is_started_again_and_leaves_nothing_behind)
class TellsNoDeath(LocalCluster):
    def tasks(self) -> tuple[TaskState, ...]:
        return tuple(replace(state, deaths=0) for state in super().tasks())


@breaks("tasks are the current release's", suite.test_a_swap_leaves_no_task_of_the_release_before)
class RemembersTasks(LocalCluster):
    def tasks(self) -> tuple[TaskState, ...]:
        self.seen: dict[tuple[str, str], TaskState] = getattr(self, "seen", {})
        self.seen |= {(state.server, state.task.id): state for state in super().tasks()}
        return tuple(self.seen.values())

    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        self.tasks()
        super().swap(epoch, generation, note=note)


@breaks(
    "crons run on one server",
    suite.test_a_cron_runs_at_its_minute_on_one_server_and_not_while_the_cluster_is_closed,
)
class RunsCronsEverywhere(LocalCluster):
    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        super().open(epoch, generation, note=note)
        for server in self.servers:
            self._server(server).start_tasks(generation, crons=True)
