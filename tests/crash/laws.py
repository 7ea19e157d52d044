"""The laws: statements that must be true of everything that was seen, at whatever moment a machine died. No code of
edgeguard's is used here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, pairwise
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.observer import CLOSED, NO_RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.observer import Answer

FRESH = (
    1.5  # seconds: a copy that a visitor was given so shortly before a close is within TTL and base grace (1 s each)
)
QUICKER_THAN_A_SWAP = 0.05
SPREADING = 0.5  # seconds after which every node of the edge shows what was written
KNOWABLE = 0.5  # seconds after which a command can know that processes of the servers were killed
TOLERANCE = 2  # seconds by which two readings of the edge's clock may differ


@dataclass(frozen=True)
class HookRun:
    """A run of a deploy hook: its beginning and end (Unix time), its server, and its tree."""

    server: str
    tree: str
    began: float
    ended: float = inf


@dataclass(frozen=True)
class Beat:
    """A background task ran at this moment (Unix time): a `worker` or a `cron`, on a server, of a tree."""

    at: float
    kind: str
    server: str
    tree: str


@dataclass(frozen=True)
class Seen:
    """The observations of one scenario."""

    gates: tuple[list[Answer], ...]
    anonymous: list[Answer]
    status: list[Answer]
    hooks: list[list[str]]
    asked: list[dict[str, Any]]
    felled: float = -inf
    """When processes of the servers were killed."""
    beats: Sequence[Beat] = ()

    @property
    def closures(self) -> list[tuple[float, float]]:
        """The times when the gate was surely closed: each from the first refusal received to the last one asked for."""
        return [
            (answers[0].ended, answers[-1].began)
            for gate in self.gates
            for release, run in groupby(gate, key=lambda answer: answer.release)
            if release == CLOSED and (answers := list(run))
        ]

    @property
    def silences(self) -> list[tuple[float, float]]:
        """The times when the gate gave no answer, from the moment on at which a command could know it."""
        return [(max(began, self.felled + KNOWABLE), ended) for began, ended in self._unanswered]

    @property
    def _unanswered(self) -> list[tuple[float, float]]:
        """The times when the gate gave no answer."""
        return [
            (answers[0].ended, answers[-1].began)
            for gate in self.gates
            for silent, run in groupby(gate, key=lambda answer: answer.status is None)
            if silent and (answers := list(run))
        ]

    @property
    def down(self) -> float:
        """The longest time in which visitors of cached pages got errors, in seconds."""
        runs = [list(run) for broken, run in groupby(self.anonymous, key=self._unfair) if broken]
        return max((run[-1].ended - run[0].began for run in runs), default=0.0)

    def broken_laws(self, *, sick: bool = False, unchanged: bool = False) -> Iterator[str]:
        """The broken laws, in words. `sick`: the origin was made sick, and answers errors while it is open.
        `unchanged`: the release that was deployed may be the one that was there."""
        yield from self._mixed()
        yield from self._open_over_a_hook()
        yield from self._hooks_together()
        yield from self._dark()
        yield from self._unclaimed()
        yield from self._shortened()
        yield from self._tasks_while_closed()
        yield from self._tasks_of_another_release()
        yield from self._purged_while_closed()
        yield from self._purged_before_healthy(unchanged=unchanged)
        if not sick:
            yield from self._open_and_sick()

    def _mixed(self) -> Iterator[str]:
        every = sorted((each for gate in self.gates for each in gate if each.release != CLOSED), key=lambda a: a.began)
        latest: dict[str, float] = {}
        for answer in every:
            if answer.broken and answer.release == NO_RELEASE:
                continue
            for release, ended in latest.items():
                if release != answer.release and ended > answer.began:
                    yield f"{release} and {answer.release} answered at one time"
            latest[answer.release] = max(answer.ended, latest.get(answer.release, 0.0))
        for gate in self.gates:
            for one, next_ in pairwise(gate):
                changed = CLOSED not in {one.release, next_.release} and one.release != next_.release
                if (
                    changed
                    and next_.began - one.ended < QUICKER_THAN_A_SWAP
                    and NO_RELEASE not in {one.release, next_.release}
                ):
                    yield f"{one.release} and {next_.release} answered one after the other, with no closure between"

    def _open_over_a_hook(self) -> Iterator[str]:
        for run in self.hook_runs:
            for gate in self.gates:
                for answer in gate:
                    if (
                        answer.release != CLOSED
                        and answer.status is not None
                        and run.began < answer.began
                        and answer.ended < run.ended
                    ):
                        yield f"open while the hook ran ({answer.release})"
                        break

    @property
    def hook_runs(self) -> list[HookRun]:
        """The runs of deploy hooks, in the order of their starts. A run without a noted end was killed with its server,
        or still runs."""
        runs: list[HookRun] = []
        for at, what, _, server, _, tree in self.hooks:
            when = datetime.fromisoformat(at).timestamp()
            if what == "started":
                runs.append(HookRun(server, tree, when))
                continue
            place = next(n for n, run in enumerate(runs) if (run.server, run.tree, run.ended) == (server, tree, inf))
            runs[place] = replace(runs[place], ended=when)
        return [
            replace(run, ended=self.felled) if run.ended == inf and run.began < self.felled else run for run in runs
        ]

    def _hooks_together(self) -> Iterator[str]:
        runs, until = self.hook_runs, -inf
        for run in runs:
            if run.began < until:
                yield f"two hooks at one time, the later one on {run.server} for {run.tree}"
            until = max(until, run.ended)
        for tree in dict.fromkeys(run.tree for run in runs):
            servers = sorted({run.server for run in runs if run.tree == tree})
            if len(servers) > 1:
                yield f"the hook for {tree} ran on {' and '.join(servers)}"

    def _tasks_while_closed(self) -> Iterator[str]:
        for began, ended in self.closures:
            found = {(beat.kind, beat.server) for beat in self.beats if began < beat.at < ended}
            for kind, server in sorted(found):
                yield f"a {kind} ran on {server} while closed"

    def _tasks_of_another_release(self) -> Iterator[str]:
        for gate in self.gates:
            for release, run in groupby(gate, key=lambda answer: answer.release):
                answers = list(run)
                if release in {CLOSED, NO_RELEASE}:
                    continue
                for beat in self.beats:
                    if answers[0].ended < beat.at < answers[-1].began and beat.tree != release:
                        yield f"a {beat.kind} of {beat.tree} ran on {beat.server} while {release} was open"
                        break

    def _dark(self) -> Iterator[str]:
        wrong = [answer for answer in self.anonymous if self._unfair(answer)]
        if wrong:
            statuses = sorted({str(answer.status) for answer in wrong})
            yield f"{len(wrong)} anonymous visitors got {', '.join(statuses)} for a cached page"

    def _unfair(self, answer: Answer) -> bool:
        """An error for a page of which the edge had a copy, fresh enough, when the origin went away. Where the gate was
        killed while no claim was in force, the edge owes nothing."""
        if not answer.broken:
            return False
        silent = [began for began, ended in self._unanswered if began < ended and began < answer.ended]
        gone = max((*silent, *(began for began, _ in self.closures if began < answer.ended)), default=answer.began)
        if gone in silent and not self._claimed_at(gone):
            return False
        return any(
            gone - FRESH < other.began and other.ended < answer.began and not other.broken
            for other in self.anonymous
            if other.page == answer.page
        )

    def _claimed_at(self, moment: float) -> bool:
        """Whether the edge showed a claim in its first answer after this moment."""
        shown = next((answer.words for answer in self.status if answer.began >= moment and answer.words), None)
        return shown is not None and int(shown["grace"]) > int(shown["base"])

    def _unclaimed(self) -> Iterator[str]:
        for began, ended in self.closures:
            bare = [
                answer
                for answer in self.status
                if began < answer.began and answer.ended < ended and answer.words
                if int(answer.words["grace"]) <= int(answer.words["base"])
            ]
            if bare:
                yield f"closed without a claim, as {len(bare)} answers of the edge show"
                return

    def _shortened(self) -> Iterator[str]:
        """While the cluster is closed or its gate is dead, a deploy's claim may get longer. Only its own end makes it
        shorter."""
        for began, ended in self.closures + self.silences:
            claims = [
                (answer, claimed(answer.words))
                for answer in self.status
                if began < answer.began and answer.ended < ended and answer.words
            ]
            for answer, (until, grace) in claims:
                earlier = [
                    claim
                    for other, claim in claims
                    if other.ended < answer.began - SPREADING and claim[0] > int(answer.words["now"]) + TOLERANCE
                ]
                most = max((claim[0] for claim in earlier), default=0), max((claim[1] for claim in earlier), default=0)
                if until < most[0] - TOLERANCE or grace < most[1] - TOLERANCE:
                    yield f"not open, and a claim of {most[1]} s until {most[0]} became one of {grace} s until {until}"
                    return

    def _purged_while_closed(self) -> Iterator[str]:
        for call in self.asked:
            if "purge" in call["path"] and any(began < call["at"] < ended for began, ended in self.closures):
                yield f"{call['method']} {call['path']} while closed"
            if "purge" in call["path"] and any(began < call["at"] < ended for began, ended in self.silences):
                yield f"{call['method']} {call['path']} while the gate is dead"

    def _purged_before_healthy(self, *, unchanged: bool) -> Iterator[str]:
        """A release that came through a closure answers well, before its deploy purges anything. That may be the one
        of before again, if another was seen meanwhile."""
        for call in self.asked:
            if "purge" not in call["path"] or abs(call["at"] - self.felled) < KNOWABLE:
                continue
            for gate in self.gates:
                until_then = [answer for answer in gate if answer.began < call["at"]]
                until_then += gate[len(until_then) : len(until_then) + 1]
                releases = {answer.release for answer in until_then}
                came = CLOSED in releases and (unchanged or len(releases - {CLOSED, NO_RELEASE}) > 1)
                if not came or until_then[-1].broken:
                    yield f"{call['method']} {call['path']} before another release was open and healthy"

    def _open_and_sick(self) -> Iterator[str]:
        wrong = [each for gate in self.gates for each in gate if each.release != CLOSED and each.broken]
        if wrong:
            yield f"open, and {len(wrong)} answers through the gate were errors"


def claimed(words: Mapping[str, str]) -> tuple[int, int]:
    """Of the deploys' claims that are in force: the latest end (Unix time), and the largest grace; 0 where there is
    none."""
    slots = [unquote(words[slot]).split(":") for slot in ("deploy0", "deploy1")]
    claims = [(int(slot[0]), int(slot[1])) for slot in slots if len(slot) > 1 and int(slot[0]) > int(words["now"])]
    return max((until for until, _ in claims), default=0), max((grace for _, grace in claims), default=0)
