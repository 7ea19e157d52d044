"""What pushes ask of one environment on this machine: one file that is replaced whole, and two locks.

`lock` is held for a moment, to change the file. `turn` is held as long as a push is being deployed: by the process that
deploys it and by its `edgeguard deploy`, so that neither's death lets another one begin beside the other.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from edgeguard.cluster.host import files
from edgeguard.cluster.host.errors import HostError
from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEPT = 20  # pushes that have ended, with their output


@dataclass(frozen=True)
class Push:
    """A commit that was pushed to an environment's branch. The paths are absolute. `serial` counts an environment's
    pushes. `again`: an earlier process may have deployed it already, and died."""

    environment: str
    repository: str
    branch: str
    commit: str
    config: str
    state: str
    serial: int = 0
    at: float = 0.0
    again: bool = False

    @property
    def short(self) -> str:
        """The commit, as people name it."""
        return self.commit[:12]


How = Literal["deployed", "skipped", "refused", "died"]


@dataclass(frozen=True)
class Ended:
    """What became of a push. `code`: the exit code of its deploy, where there was one. `instead`: the serial of the
    newer push that was taken in its place."""

    serial: int
    commit: str
    how: How
    code: int | None = None
    instead: int | None = None


@dataclass(frozen=True)
class Told:
    """The file's content: the newest push that waits, the one that is being deployed, and the last ones that ended."""

    serial: int = 0
    waiting: Push | None = None
    running: Push | None = None
    ended: tuple[Ended, ...] = ()

    @property
    def newest(self) -> str | None:
        """The commit of the newest push that is known."""
        known: list[Push | Ended] = [*self.ended, *(each for each in (self.running, self.waiting) if each)]
        return max(known, key=lambda each: each.serial).commit if known else None

    def end_of(self, serial: int) -> Ended | None:
        """What became of this push; None while it waits or is being deployed."""
        return next((each for each in self.ended if each.serial == serial), None)


class Pushes:
    """The pushes of one environment, in a folder of their own. Every method may raise UsageError: the folder can't be
    read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Told:
        """What is noted now."""
        try:
            found = files.read(self.folder / "pushes.json") or {}
            waiting, running = (Push(**found[key]) if found.get(key) else None for key in ("waiting", "running"))
            ended = tuple(Ended(**each) for each in found.get("ended", ()))
            return Told(found.get("serial", 0), waiting, running, ended)
        except HostError as exc:
            raise UsageError(exc.message, exc.remedy) from exc
        except TypeError as exc:
            raise UsageError(f"{self.folder}/pushes.json was written by another edgeguard", files.PUT_BACK) from exc

    def output(self, serial: int) -> Path:
        """The file with what the deploy of this push says."""
        return self.folder / f"{serial}.out"

    def add(self, push: Push, *, refuse: bool) -> tuple[Push, int | None]:
        """Note a push: it waits, in the place of any other that waits. With `refuse`, it is only noted as refused where
        another one is being deployed.

        Returns it with its serial, and the descriptor of the turn, if it is free: the caller holds it then.
        """
        with self._changing() as told:
            turn = self._try_turn()
            push = Push(**{**asdict(push), "serial": told.serial + 1, "at": time.time()})
            if turn is None and refuse:
                self._write(Told(push.serial, told.waiting, told.running, _and(told, _ended(push, "refused"))))
                return push, None
            ended = _and(told, _ended(told.waiting, "skipped", push)) if told.waiting else told.ended
            self._write(Told(push.serial, push, told.running, ended))
            return push, turn

    def left(self) -> tuple[Push, int] | None:
        """The push that nobody deploys although it is noted, and the turn, which the caller holds then. None: there is
        no such push."""
        if not self.folder.exists():
            return None
        with self._changing() as told:
            push = told.waiting or told.running
            turn = self._try_turn() if push else None
            return (push, turn) if push and turn is not None else None

    def is_left(self, serial: int) -> bool:
        """Whether this push has not ended, and nobody holds the turn."""
        with self._changing() as told:
            turn = self._try_turn() if told.end_of(serial) is None else None
            if turn is not None:
                os.close(turn)
            return turn is not None

    def turn(self) -> int | None:
        """The descriptor of the turn, if it is free. Who closes it, or ends, gives it back."""
        with self._changing():
            return self._try_turn()

    def take(self) -> Push | None:
        """The push to be deployed now, which is noted as running; None: there is none. The caller holds the turn, so
        one that is noted as running already was left by a process that died."""
        with self._changing() as told:
            push, ended = told.waiting, told.ended
            if push and told.running:
                ended = _and(told, _ended(told.running, "died", push))
            elif told.running:
                push = Push(**{**asdict(told.running), "again": True})
            self._write(Told(told.serial, None, push, ended))
            return push

    def end(self, push: Push, code: int) -> None:
        """Note how the deploy of a push ended."""
        with self._changing() as told:
            self._write(Told(told.serial, told.waiting, None, _and(told, _ended(push, "deployed", code=code))))

    @contextmanager
    def _changing(self) -> Iterator[Told]:
        try:
            files.private(self.folder)
            with open(self.folder / "lock", "a", encoding="utf-8", opener=files.only_ours) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield self.read()
        except OSError as exc:
            raise UsageError(
                f"{self.folder} can't be used for pushes: {exc.strerror}",
                "Let one and the same user push and deploy, who can write there; --state names another folder.",
            ) from exc

    def _try_turn(self) -> int | None:
        descriptor = files.only_ours(str(self.folder / "turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _write(self, told: Told) -> None:
        kept = told.ended[-_KEPT:]
        try:
            files.write(self.folder / "pushes.json", asdict(Told(told.serial, told.waiting, told.running, kept)))
        except HostError as exc:
            raise UsageError(exc.message, exc.remedy) from exc
        for each in told.ended[:-_KEPT]:
            with suppress(OSError):
                self.output(each.serial).unlink()


def _ended(push: Push, how: How, instead: Push | None = None, *, code: int | None = None) -> Ended:
    return Ended(push.serial, push.commit, how, code, instead.serial if instead else None)


def _and(told: Told, ended: Ended) -> tuple[Ended, ...]:
    return (*told.ended, ended)
