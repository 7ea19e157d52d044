"""Drivers that break one promise each: `local`, with one method that does something else.

`BROKEN` has, for each promise, the driver and the tests of the suite of which every one has to fail.
"""

# ruff: noqa: ANN401 (a broken driver hands on whatever it is given)
from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from edgeguard.cluster import HookResult
from edgeguard.cluster.host import fence, files, generations, hooks
from edgeguard.cluster.local import LocalCluster
from edgeguard.errors import ClusterError, Fenced, HookRuns, HookUnknown, NotClosed, NotStaged
from edgeguard.testing import suite
from edgeguard.testing.acts import CLOSURE
from edgeguard.testing.local import World

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edgeguard.cluster import Closure, Generation, ServerState

    Test = Callable[..., object]


class BrokenWorld(World):
    """The world of `local`, with another driver in it."""

    kind: type[LocalCluster] = LocalCluster

    def again(self, **settings: object) -> LocalCluster:
        return self.kind("test", self.cluster_settings(**settings))


@dataclass(frozen=True)
class Case:
    """A driver, the tests that find it, and values for their parameters."""

    driver: type[LocalCluster]
    tests: Sequence[Test]
    values: Mapping[str, str]


BROKEN: dict[str, Case] = {}


def breaks(promise: str, *tests: Test, **values: str) -> Callable[[type[LocalCluster]], type[LocalCluster]]:
    """Write down that the class below breaks this promise, and that each of these tests says so."""

    def write(driver: type[LocalCluster]) -> type[LocalCluster]:
        BROKEN[promise] = Case(driver, tests, values)
        return driver

    return write


def put(driver: LocalCluster, server: str, record: Mapping[str, Any]) -> None:
    """Write a record without asking anybody."""
    folder = driver._root / "servers" / server  # noqa: SLF001 (a broken driver knows its files)
    with fence.locked(folder):
        files.write(folder / "record.json", record)


def held(driver: LocalCluster) -> int:
    """The epoch that is in force."""
    return max(fence.epoch_of(record) for record in driver.read_record().values())


# The record and the fence


@breaks("a record carries its epoch", suite.test_a_record_is_read_as_it_was_written_with_its_epoch)
class NoEpochInTheRecord(LocalCluster):
    def read_record(self) -> dict[str, dict[str, Any] | None]:
        return {
            server: None if record is None else {name: record[name] for name in record if name != "epoch"}
            for server, record in super().read_record().items()
        }


@breaks("a server without a record has none", suite.test_a_server_without_a_record_has_none)
class InventsRecords(LocalCluster):
    def read_record(self) -> dict[str, dict[str, Any] | None]:
        return {server: record or {} for server, record in super().read_record().items()}


@breaks("a record survives deploys", suite.test_a_record_survives_deploys)
class OpensWithAFreshRecord(LocalCluster):
    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        super().open(epoch, generation, note=note)
        for server in self.servers:
            put(self, server, {"epoch": epoch, "opened": generation})


@breaks(
    "a record of another epoch is refused",
    suite.test_a_record_of_another_epoch_is_refused_by_the_first_server_and_the_newer_one_stays,
)
class OverwritesAnyEpoch(LocalCluster):
    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        del expected
        for server in self.servers:
            put(self, server, {**record, "epoch": epoch})


@breaks("servers that lag behind are taken along", suite.test_a_new_holder_takes_along_the_servers_that_lag_behind)
class WantsTheVeryEpoch(LocalCluster):
    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        for server, there in self.read_record().items():
            if expected is not None and fence.epoch_of(there) != expected:
                raise Fenced("it isn't the expected one", server=server)
        super().write_record(epoch, record, expected=expected)


@breaks("one of many who take the lock wins", suite.test_of_many_who_take_the_lock_at_once_one_wins)
class LooksAndThenWrites(LocalCluster):
    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        if expected is not None and held(self) > expected:
            raise Fenced("too late", server=self.servers[0])
        time.sleep(0.05)
        for server in self.servers:
            put(self, server, {**record, "epoch": epoch})


@breaks(
    "a record never goes back",
    suite.test_in_one_epoch_a_record_with_a_lower_serial_is_passed_over_without_an_error,
)
class WritesLowerSerials(LocalCluster):
    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        super().write_record(epoch, record, expected=expected)
        for server in self.servers:
            put(self, server, {**record, "epoch": epoch})


@breaks("an act writes its note", suite.test_an_act_writes_its_note_on_every_server, act="close")
class ClosesWithoutNote(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        del note
        super().close(epoch, closure)


@breaks("a note never goes back", suite.test_a_note_never_goes_back_and_its_act_is_done_all_the_same, act="swap")
class NoteGoesBack(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        super().swap(epoch, generation)
        for server in self.servers if note is not None else ():
            put(self, server, {**(note or {}), "epoch": epoch})


@breaks("a note is written before its act", suite.test_a_note_is_written_before_its_act)
class NoteAfterTheHook(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        note = more.pop("note", None)
        result = super().run_hook(epoch, hook, server, **more)
        if note is not None:
            self.write_record(epoch, note)
        return result


@breaks("a note stays where its act is refused", suite.test_a_note_is_written_also_where_its_act_is_refused)
class NoteAfterTheSwap(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        super().swap(epoch, generation)
        if note is not None:
            self.write_record(epoch, note)


@breaks("an old holder writes no note", suite.test_an_old_holder_writes_no_note, act="close")
class NoteOfAnybody(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        for server in self.servers if note is not None else ():
            put(self, server, {**(note or {}), "epoch": held(self)})
        super().close(epoch, closure)


@breaks("an old holder does not stage", suite.test_an_old_holder_of_the_lock_is_refused_whatever_it_does, act="stage")
class StagesForAnybody(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        super().stage(max(epoch, held(self)), generation, whole=whole)


@breaks(
    "an old holder does not close",
    suite.test_an_old_holder_of_the_lock_is_refused_whatever_it_does,
    suite.test_an_old_holder_does_not_open_what_a_newer_one_has_closed,
    act="close",
)
class ClosesForAnybody(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        super().close(max(epoch, held(self)), closure, note=note)


@breaks(
    "an old holder closes no server that visitors reach",
    suite.test_an_old_holder_changes_no_server_that_visitors_reach,
)
class ClosesWhereItMay(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        lost = [server for server, record in self.read_record().items() if fence.epoch_of(record) != epoch]
        LocalCluster.close(self.without(lost), epoch, closure, note=note)


@breaks("an old holder does not swap", suite.test_an_old_holder_of_the_lock_is_refused_whatever_it_does, act="swap")
class SwapsForAnybody(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        super().swap(max(epoch, held(self)), generation, note=note)


@breaks(
    "an old holder starts no hook", suite.test_an_old_holder_of_the_lock_is_refused_whatever_it_does, act="run_hook"
)
class StartsHooksForAnybody(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        return super().run_hook(max(epoch, held(self)), hook, server, **more)


@breaks("an old holder does not open", suite.test_an_old_holder_of_the_lock_is_refused_whatever_it_does, act="open")
class OpensForAnybody(LocalCluster):
    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        super().open(max(epoch, held(self)), generation, note=note)


@breaks("an old holder prunes nothing", suite.test_an_old_holder_of_the_lock_is_refused_whatever_it_does, act="prune")
class PrunesForAnybody(LocalCluster):
    def prune(self, epoch: int, keep: Collection[str]) -> None:
        super().prune(max(epoch, held(self)), keep)


# Looking, and a deploy


@breaks("all is closed before the first deploy", suite.test_before_the_first_deploy_all_is_closed_and_nothing_runs)
class OpenFromTheBeginning(LocalCluster):
    def state(self) -> tuple[ServerState, ...]:
        return tuple(replace(state, open=state.open or state.generation is None) for state in super().state())


@breaks("a deploy is of all servers", suite.test_a_deploy_replaces_the_release_on_all_servers)
class SwapsAllButTheLast(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        LocalCluster.swap(self.without(self.servers[-1:]), epoch, generation, note=note)


@breaks("calls may be repeated", suite.test_every_call_but_the_hook_may_be_repeated)
class StagesOnce(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        if self.generation(generation.name) is not None:
            raise ClusterError("it is there already", server=self.servers[0])
        super().stage(epoch, generation, whole=whole)


@breaks("a swap to nothing leaves nothing", suite.test_a_swap_to_nothing_leaves_nothing)
class NeverEmpty(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        if generation is not None:
            super().swap(epoch, generation, note=note)


@breaks("a swap starts a dead web process", suite.test_a_swap_starts_a_dead_web_process_of_the_current_generation)
class StopsWhatIsCurrent(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        there = {state.generation for state in self.state()}
        super().swap(epoch, None if there == {generation} else generation, note=note)


@breaks(
    "an error names its server",
    suite.test_a_swap_to_what_was_never_staged_is_refused_and_changes_nothing,
    suite.test_a_swap_that_fails_on_one_server_is_finished_on_the_others_and_can_be_undone,
)
class NamesNoServer(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        try:
            super().swap(epoch, generation, note=note)
        except ClusterError as exc:
            raise type(exc)(exc.message, exc.remedy) from exc


@breaks("an error has its class", suite.test_a_swap_to_what_was_never_staged_is_refused_and_changes_nothing)
class HasOneClass(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        try:
            super().swap(epoch, generation, note=note)
        except NotStaged as exc:
            raise ClusterError(exc.message, exc.remedy, server=exc.server) from exc


@breaks("values of variables are never said", suite.test_values_of_variables_stay_out_of_what_is_said)
class TellsSecrets(LocalCluster):
    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        return [f"{phase} with {dict(generation.variables)}"]


@breaks("every phase is explained", suite.test_every_phase_is_explained)
class ExplainsNotAll(LocalCluster):
    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        return [] if phase == "drain" else super().explain(phase, generation)


@breaks("a driver keeps nothing to itself", suite.test_other_driver_objects_see_the_same)
class Remembers(LocalCluster):
    def state(self) -> tuple[ServerState, ...]:
        self.kept: tuple[ServerState, ...] = getattr(self, "kept", ()) or super().state()
        return self.kept


@breaks(
    "a generation comes back with its runs and users",
    suite.test_a_generation_is_found_with_all_but_its_variables_where_every_server_has_it,
)
class ForgetsUsers(LocalCluster):
    def generation(self, name: str) -> Generation | None:
        found = super().generation(name)
        return found and replace(found, users=())


@breaks("a generation is found where every server has it", suite.test_a_generation_is_not_found_where_a_server_lacks_it)
class LooksAtOneServer(LocalCluster):
    def generation(self, name: str) -> Generation | None:
        return generations.find(self._root / "servers" / self.servers[0], name)


@breaks("staging changes nothing that visitors see", suite.test_staging_changes_nothing_that_visitors_see)
class StagingCloses(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        super().stage(epoch, generation, whole=whole)
        if any(state.open for state in self.state()):
            self.close(epoch, CLOSURE)


@breaks(
    "a swap leaves a server alone that runs the generation",
    suite.test_a_swap_leaves_a_server_alone_that_runs_the_generation_already,
)
class RestartsWhatRuns(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        if generation is not None and not any(state.open for state in self.state()):
            super().swap(epoch, None)
        super().swap(epoch, generation, note=note)


@breaks("a swap waits for a closed gate", suite.test_a_swap_is_refused_while_the_gate_is_open)
class ClosesByItself(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        try:
            super().swap(epoch, generation, note=note)
        except NotClosed:
            self.close(epoch, CLOSURE)
            super().swap(epoch, generation)


@breaks(
    "a swap is finished on the other servers",
    suite.test_a_swap_that_fails_on_one_server_is_finished_on_the_others_and_can_be_undone,
)
class StopsAtTheFirstFailure(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        for server in self.servers:  # one after the other, until one fails
            one = self.without([other for other in self.servers if other != server])
            LocalCluster.swap(one, epoch, generation, note=note)


@breaks("a swap starts what is dead", suite.test_a_dead_supervisor_is_told_of_and_a_swap_starts_it)
class TrustsTheLink(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        if any(state.generation != generation for state in self.state()):
            super().swap(epoch, generation, note=note)


@breaks("a swap ends the old processes", suite.test_a_swap_ends_all_of_the_old_processes)
class LeavesProcesses(LocalCluster):
    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        flips = {state.generation for state in self.state()} != {generation}
        super().swap(epoch, generation, note=note)
        touching = f"for turn in $(seq 40); do touch {self._root}/scratch/alive; sleep 0.05; done"
        if flips and generation == "two":  # as if it were a process of the old release
            subprocess.run(["/bin/sh", "-c", f"({touching}) &"], check=True)


@breaks(
    "check names the server that is not healthy",
    suite.test_check_names_the_server_that_is_not_healthy_and_shows_what_it_wrote,
)
class SaysNothing(LocalCluster):
    def check(self, generation: Generation, **more: Any) -> tuple[ServerState, ...]:
        try:
            return super().check(generation, **more)
        except ClusterError as exc:
            raise type(exc)("not healthy", server=exc.server) from exc


@breaks(
    "check wants this generation",
    suite.test_check_wants_this_generation_and_no_other,
    suite.test_check_wants_a_200_and_says_what_came,
    suite.test_check_gives_up_on_a_command_that_keeps_dying_before_the_time_out,
)
class ChecksNothing(LocalCluster):
    def check(self, generation: Generation, **more: Any) -> tuple[ServerState, ...]:
        del generation, more
        return self.state()


@breaks("check can be cancelled", suite.test_check_gives_up_when_it_is_cancelled)
class CantBeCancelled(LocalCluster):
    def check(self, generation: Generation, **more: Any) -> tuple[ServerState, ...]:
        del more
        self._settings = self._settings.model_copy(update={"start_timeout": 0.5})
        return super().check(generation)


@breaks(
    "check reads no image",
    suite.test_check_does_not_read_the_image,
    suite.test_a_release_whose_image_was_changed_can_be_put_back_if_it_is_healthy,
)
class ChecksTheImage(LocalCluster):
    def check(self, generation: Generation, **more: Any) -> tuple[ServerState, ...]:
        found = super().check(generation, **more)
        if self.differences(generation):
            raise ClusterError("the image was changed", server=self.servers[0])
        return found


@breaks(
    "staging reads the whole image",
    suite.test_staging_refuses_an_image_that_is_not_as_it_was_built,
    suite.test_an_image_that_was_changed_on_its_way_is_never_staged,
)
class VerifiesNothing(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        del whole
        super().stage(epoch, generation, whole=False)


@breaks("a changed image can be staged", suite.test_staging_refuses_an_image_that_is_not_as_it_was_built)
class VerifiesAlways(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        del whole
        super().stage(epoch, generation, whole=True)


@breaks("a whole image differs in nothing", suite.test_a_whole_image_differs_in_nothing)
class SeesGhosts(LocalCluster):
    def differences(self, generation: Generation) -> Sequence[str]:
        return [f"{generation.image} was touched"]


@breaks("differences name what was changed", suite.test_differences_name_what_was_changed)
class SeesNoDifference(LocalCluster):
    def differences(self, generation: Generation) -> Sequence[str]:
        del generation
        return []


@breaks(
    "all open or none",
    suite.test_all_servers_open_or_none,
    suite.test_a_server_that_was_left_out_comes_back_with_the_release_of_all,
)
class OpensWhatIsReady(LocalCluster):
    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        ready = [state.name for state in self.state() if state.generation == generation and state.running]
        LocalCluster.open(
            self.without([server for server in self.servers if server not in ready]), epoch, generation, note=note
        )


@breaks("prune keeps what is named", suite.test_prune_keeps_what_is_current_or_named)
class PrunesAll(LocalCluster):
    def prune(self, epoch: int, keep: Collection[str]) -> None:
        del keep
        super().prune(epoch, ())


@breaks(
    "a copy has the variables that the servers kept",
    suite.test_a_copy_of_a_generation_runs_with_the_variables_that_the_servers_kept,
)
class CopiesNoVariables(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        super().stage(epoch, replace(generation, copy_of=None), whole=whole)


@breaks("prune removes the rest", suite.test_prune_removes_the_images_that_no_generation_uses)
class PrunesNothing(LocalCluster):
    def prune(self, epoch: int, keep: Collection[str]) -> None:
        del epoch, keep


@breaks(
    "what can't be served is refused while it is staged",
    suite.test_a_process_that_listens_on_a_unix_socket_is_served_or_refused_while_it_is_staged,
)
class TakesSocketsForPorts(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        super().stage(epoch, replace(generation, runs=replace(generation.runs, socket=False)), whole=whole)


@breaks(
    "nothing runs as another user than it should",
    suite.test_processes_run_as_the_user_whom_the_generation_names_or_are_refused_while_it_is_staged,
)
class RunsAllAsItself(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        super().stage(epoch, replace(generation, runs=replace(generation.runs, user=None)), whole=whole)


@breaks("a death is counted", suite.test_a_dead_web_process_is_started_again_and_its_death_is_counted)
class CountsNoDeaths(LocalCluster):
    def state(self) -> tuple[ServerState, ...]:
        return tuple(replace(state, deaths=0) for state in super().state())


@breaks(
    "deaths never fall",
    suite.test_deaths_never_fall_while_the_generation_stays_current,
    suite.test_deaths_outlive_the_supervisor_that_counted_them,
)
class ForgetsDeaths(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        super().close(epoch, closure, note=note)
        for server in self.servers:
            post = self._root / "servers" / server / "supervisor" / "actual.json"
            files.write(post, {**(files.read(post) or {}), "died": 0}, durable=False)


@breaks("deaths begin anew with a generation", suite.test_deaths_begin_anew_with_the_next_generation)
class CountsOneTooMany(LocalCluster):
    def state(self) -> tuple[ServerState, ...]:
        return tuple(replace(state, deaths=state.deaths + (state.generation == "two")) for state in super().state())


@breaks("what lives is told of", suite.test_gate_and_supervisors_are_alive_where_a_driver_can_tell)
class BelievesInNothing(LocalCluster):
    def state(self) -> tuple[ServerState, ...]:
        return tuple(replace(state, supervisor=False) for state in super().state())


@breaks("a dead supervisor is told of", suite.test_a_dead_supervisor_is_told_of_and_a_swap_starts_it)
class BelievesInSupervisors(LocalCluster):
    def state(self) -> tuple[ServerState, ...]:
        return tuple(replace(state, supervisor=True) for state in super().state())


@breaks("a dead gate is told of", suite.test_a_gate_that_died_is_told_of_and_closes_and_opens_again)
class BelievesInTheGate(LocalCluster):
    def state(self) -> tuple[ServerState, ...]:
        return tuple(replace(state, gate=True) for state in super().state())


# The gate


@breaks(
    "a closed gate answers as the settings say",
    suite.test_closed_status_and_retry_after_are_settings,
    suite.test_the_edge_s_check_path_is_answered_with_200_while_closed,
)
class ClosesWithItsOwnSettings(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        own = {"closed_status": 500, "retry_after": 30, "edge_check_path": None}
        self._settings = self._settings.model_copy(update=own)
        super().close(epoch, closure, note=note)


@breaks(
    "a closed gate refuses",
    suite.test_closed_answers_say_so,
    suite.test_no_request_is_let_through_after_the_close_and_none_is_refused_after_the_opening,
    suite.test_a_closure_can_be_said_anew,
)
class ClosesNothing(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        del closure
        with self._all_fenced(epoch, note):
            pass


@breaks(
    "no request comes through once close has returned",
    suite.test_no_request_is_let_through_after_the_close_and_none_is_refused_after_the_opening,
)
class ClosesLater(LocalCluster):
    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        if os.fork() == 0:
            try:
                time.sleep(0.05)
                super().close(epoch, closure, note=note)
            finally:
                os._exit(0)

    def drain(self, epoch: int, limit: float) -> int:
        time.sleep(0.2)
        return super().drain(epoch, limit)


@breaks("drain waits", suite.test_drain_waits_for_what_was_let_through_and_the_old_release_answers_it)
class DrainsNothing(LocalCluster):
    def drain(self, epoch: int, limit: float) -> int:
        del epoch, limit
        return 0


@breaks("drain counts what it cuts", suite.test_drain_cuts_what_is_not_answered_at_its_limit_and_counts_it)
class CountsNoCuts(LocalCluster):
    def drain(self, epoch: int, limit: float) -> int:
        super().drain(epoch, limit)
        return 0


@breaks("an open gate is not drained", suite.test_an_open_gate_is_not_drained)
class DrainsWhileOpen(LocalCluster):
    def drain(self, epoch: int, limit: float) -> int:
        return super().drain(epoch, limit) if not self.state()[0].open else 0


# Servers that are left out


@breaks(
    "a server that is left out is not asked",
    suite.test_a_server_that_is_left_out_is_neither_asked_nor_changed,
    suite.test_a_server_that_is_left_out_gets_no_request,
)
class AsksLostServers(LocalCluster):
    def without(self, servers: Collection[str]) -> Self:
        fewer = super().without(servers)
        fewer.servers = self._settings.servers
        return fewer


@breaks("leaving out adds up", suite.test_without_leaves_a_server_out_and_asks_nobody)
class LeavesOutTheLastOnly(LocalCluster):
    def without(self, servers: Collection[str]) -> Self:
        return LocalCluster.without(type(self)("test", self._settings), servers)


@breaks(
    "a server that was left out can be changed while the others are open",
    suite.test_a_server_that_was_left_out_can_be_changed_while_the_others_are_open,
)
class WaitsForTheWholeGate(LocalCluster):
    def _refuse_while_open(self, act: str, server: str | None = None) -> None:
        del server
        super()._refuse_while_open(act)


# Hooks


class RunsHooksItself(LocalCluster):
    """Starts the hook as a child of the caller, and reads its output to the end. Only the caller watches it."""

    def run_hook(self, epoch: int, hook: str, server: str, *, limit: float, **more: Any) -> HookResult:
        del epoch, more
        folder = self._root / "servers" / server
        name = generations.current(folder) or ""
        runs = generations.read(folder, name).runs
        with subprocess.Popen(
            runs.hooks[hook],
            cwd=runs.folder,
            env={**generations.variables(folder, name), "EDGEGUARD_SERVER": server},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=min(limit, 3))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                for pid in folder.parent.parent.glob("scratch/pid"):  # what left the session has the output open
                    os.kill(int(pid.read_text(encoding="ascii")), signal.SIGKILL)
                return HookResult(server, None, "", 3)
        return HookResult(server, process.returncode, output.decode(), 0)


breaks(
    "a hook is watched",
    suite.test_a_hook_ends_with_its_main_process_and_takes_its_session_along,
    suite.test_a_daemon_that_a_hook_leaves_behind_does_not_hold_the_hook,
    suite.test_a_hook_may_write_100_megabytes,
    suite.test_a_hook_may_close_its_output,
)(RunsHooksItself)


@breaks("a hook is waited for", suite.test_a_hook_that_forks_into_sessions_of_its_own_is_waited_for)
class StopsAtTheFirstLine(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        heard: list[str] = []
        said = {**more, "output": heard.append, "cancelled": lambda: bool(heard)}
        try:
            return super().run_hook(epoch, hook, server, **said)
        except HookRuns:
            return HookResult(server, 0, "\n".join(heard), 0)


@breaks("a hook that is not defined succeeds", suite.test_a_hook_that_is_not_defined_succeeds)
class WantsEveryHook(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        result = super().run_hook(epoch, hook, server, **more)
        return result if result.log else replace(result, code=127)


@breaks("the post_deploy hook runs while open", suite.test_the_post_deploy_hook_runs_while_the_gate_is_open)
class NoHookWhileOpen(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        self._refuse_while_open("run a hook")
        return super().run_hook(epoch, hook, server, **more)


@breaks(
    "a hook never starts twice",
    suite.test_a_hook_never_starts_twice_on_whatever_server,
    suite.test_a_hook_that_kills_the_process_above_it_has_no_known_end,
)
class StartsTwice(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        return super().run_hook(epoch, hook, server, **{**more, "again": True})


@breaks("a person may say again", suite.test_a_person_may_say_again, server="web3")
class NeverStartsAgain(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        return super().run_hook(epoch, hook, server, **{**more, "again": False})


@breaks(
    "a hook runs on the server that was named",
    suite.test_a_hook_runs_on_the_server_that_was_named_in_the_application_s_folder,
)
class AlwaysOnTheFirst(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        return replace(super().run_hook(epoch, hook, "web1", **more), server=server)


@breaks("the deploy hook waits for a closed gate", suite.test_the_deploy_hook_does_not_start_while_the_gate_is_open)
class HookWhileOpen(LocalCluster):
    def _refuse_while_open(self, act: str, server: str | None = None) -> None:
        if "hook" not in act:
            super()._refuse_while_open(act, server)


@breaks("nothing is changed while a hook runs", suite.test_nothing_is_staged_swapped_or_opened_while_a_deploy_hook_runs)
class NoticesNoHook(LocalCluster):
    def _refuse_while_a_hook_runs(self) -> None:
        pass


@breaks(
    "a caller that stops waiting leaves the hook running",
    suite.test_a_caller_that_stops_waiting_leaves_the_hook_running,
)
class EndsTheHook(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        try:
            return super().run_hook(epoch, hook, server, **more)
        except HookRuns:
            hooks.end(self._root / "servers" / server)
            raise


@breaks(
    "lines of output come while the hook runs",
    suite.test_each_line_of_a_hook_s_output_comes_while_it_runs,
    suite.test_another_driver_object_hears_the_output_of_a_hook_that_runs_from_its_first_line,
)
class TellsOutputAtTheEnd(LocalCluster):
    def hook_result(
        self,
        generation: str,
        hook: str,
        *,
        cancelled: Callable[[], bool],
        output: Callable[[str], None] = lambda _line: None,
    ) -> HookResult | None:
        began = time.monotonic()
        result = super().hook_result(generation, hook, cancelled=lambda: cancelled() or time.monotonic() - began > 25)
        for line in result.output.splitlines() if result is not None else ():
            output(line)
        return result


@breaks(
    "a result's output is bounded",
    suite.test_a_result_has_the_last_lines_of_the_output,
    suite.test_a_result_s_output_is_bounded_and_its_end,
)
class TellsAllOutput(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        heard: list[str] = []
        result = super().run_hook(epoch, hook, server, **{**more, "output": heard.append})
        return replace(result, output="\n".join(heard))


@breaks("a log has more than a result", suite.test_the_log_of_a_hook_has_more_than_its_result)
class HasNoLog(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, **more: Any) -> HookResult:
        return replace(super().run_hook(epoch, hook, server, **more), log="/dev/null")


@breaks(
    "how a hook ended can be asked later",
    suite.test_how_a_hook_ended_can_be_asked_later,
    suite.test_a_hook_s_end_is_known_after_another_generation_was_made_current,
)
class ForgetsTheCode(LocalCluster):
    def hook_result(self, generation: str, hook: str, **more: Any) -> HookResult | None:
        found = super().hook_result(generation, hook, **more)
        return found and replace(found, code=0)


@breaks(
    "a hook is ended at its limit",
    suite.test_a_hook_is_ended_at_its_limit_with_all_of_its_session,
    suite.test_a_hook_at_its_limit_gets_sigterm_first,
)
class KnowsNoLimit(LocalCluster):
    def run_hook(self, epoch: int, hook: str, server: str, *, limit: float, **more: Any) -> HookResult:
        stopped = time.monotonic() + 2
        del limit, more
        try:
            return super().run_hook(epoch, hook, server, limit=60, cancelled=lambda: time.monotonic() > stopped)
        except HookRuns:
            hooks.end(self._root / "servers" / server)
            raise


@breaks("an unknown end is told", suite.test_a_hook_that_kills_the_process_above_it_has_no_known_end)
class UnknownIsNever(LocalCluster):
    def hook_result(self, generation: str, hook: str, **more: Any) -> HookResult | None:
        try:
            return super().hook_result(generation, hook, **more)
        except HookUnknown:
            return None


# The application's environment


@breaks(
    "nothing of the caller's environment is inherited",
    suite.test_processes_inherit_nothing_of_the_caller_s_environment,
    suite.test_hooks_inherit_nothing_of_the_caller_s_environment,
)
class HandsOnItsEnvironment(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        variables = {**os.environ, **generation.variables}
        super().stage(epoch, replace(generation, variables=variables), whole=whole)


@breaks("processes get their variables", suite.test_processes_get_the_generation_s_variables_as_they_are)
class ChangesVariables(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        variables = {name: " ".join(value.split()) for name, value in generation.variables.items()}
        super().stage(epoch, replace(generation, variables=variables), whole=whole)


@breaks("processes get their server's name", suite.test_processes_get_their_server_s_name_and_a_port)
class AllAreTheFirst(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        start = ("/usr/bin/env", "EDGEGUARD_SERVER=web1", *generation.runs.start)
        super().stage(epoch, replace(generation, runs=replace(generation.runs, start=start)), whole=whole)


@breaks(
    "folders are there before anything starts", suite.test_the_server_s_own_folders_are_there_before_anything_starts
)
class MakesNoFolders(LocalCluster):
    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        super().stage(epoch, replace(generation, runs=replace(generation.runs, folders=())), whole=whole)
