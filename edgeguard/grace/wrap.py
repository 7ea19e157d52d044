"""Run somebody else's deploy command behind a claim: claimed before it, renewed while it runs, given back after it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.edge.clock import edge_clock
from edgeguard.errors import CleanupUnfinished, EdgeError, EdgeguardError
from edgeguard.grace import claims, pipeline
from edgeguard.machine.renewal import Renewal
from edgeguard.machine.signals import Stop, heeded
from edgeguard.times import duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from edgeguard.environment import EdgeSide
    from edgeguard.grace.claims import Made
    from edgeguard.grace.pipeline import TakenBack

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""The exit codes of shells for a command that can't be found, that can't be run, or that a signal ended (the signal's
number is added)."""
NOTHING = {"id": None, "outcome": None}
"""The part of the result about the claim, if the command could not be run: nothing is claimed then."""
_POLL = 0.02  # seconds between two looks whether the command has ended


def wrap(
    environment: EdgeSide,
    command: Sequence[str],
    *,
    lasting: int | None = None,
    renews: str | None = None,
    purge_keys: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    last: bool = False,
) -> dict[str, Any]:
    """Do `hook pre`, run the command, do `hook post`. Claim and hold are renewed while the command runs.

    The command has this process's input and output, and gets this process's signals. If it fails, the claim is kept.
    Returns `command_exit_code`, and the result of pipeline.post or pipeline.post_failed (`id` and `outcome` are None if
    the command could not be run). `last` is as in Stop.

    Raises:
        The errors of pipeline.pre and, after a command that succeeded, the errors of pipeline.post.
    """
    if code := _not_runnable(command[0]):
        say(f"{command[0]}: {'not found' if code == NOT_FOUND else 'not executable'}; nothing was claimed")
        return {"command_exit_code": code, **NOTHING}
    stop, heard = Stop(last=last), set[str]()

    def say_once(warning: str) -> None:
        if warning not in heard:
            heard.add(warning)
            say(warning)

    with stop.listening():
        hold, program = environment.settings.claim.hold, Path(command[0]).name
        asked: dict[str, Any] = {"lasting": lasting, "renews": renews, "hold": hold}
        made = pipeline.pre(environment, stop=stop, did="wrap", why=program, say=say_once, **asked)
        slot = made.claim.slot
        say(f"{slot}: pages may be served {duration(made.claim.grace)} stale, as the edge shows; {program} begins")
        try:
            with _renewed(environment, made, lasting, say):
                code = _run(command, stop)
        except OSError as exc:  # the command looked runnable and is not: nothing has begun
            say(f"{command[0]}: {exc.strerror}. {_taken_back(environment, made, lasting).said}")
            return {"command_exit_code": NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_EXECUTABLE, **NOTHING}
        except EdgeguardError as exc:  # a signal, before the command was started
            stop.respite(pipeline.TO_TAKE_BACK)
            raise _taken_back(environment, made, lasting).after(exc) from exc
        stop.unshield()  # a signal until here was the command's
        if code != 0:
            return {"command_exit_code": code, **_kept(environment, made, say, say_once)}
        keys, nonce = tuple(purge_keys), made.claim.nonce
        try:
            done = pipeline.post(environment, slot, stop=stop, purge_keys=keys, nonce=nonce, did="wrap", say=say_once)
        except CleanupUnfinished as exc:
            until = f"the claim was made to last until {rfc3339(made.claim.until)}, or was renewed since"
            said = f"{program} succeeded; {exc.message}; {until}; its hold ends within {duration(hold)}"
            raise CleanupUnfinished(said, exc.remedy) from exc
        return {"command_exit_code": 0, **done}


@contextmanager
def _renewed(environment: EdgeSide, made: Made, lasting: int | None, say: Callable[[str], None]) -> Iterator[None]:
    """Renew the claim and its hold while the block runs. If a renewal fails, it is reported, and tried again."""
    settings = environment.settings.claim
    seconds = settings.duration if lasting is None else lasting
    clock = edge_clock(environment.edge)

    def renew() -> None:
        claims.renew(environment, made.claim, now=clock(), lasting=seconds, hold=settings.hold)

    def failed(name: str, failure: EdgeguardError) -> None:
        say(f"renewing the {name} failed, and is tried again: {failure.message}")

    try:
        renew()  # part of the hold's time has passed while the claim was confirmed
    except EdgeError as exc:
        failed("claim", exc)
    renewal = Renewal("claim", settings.hold / 3, renew, failed=failed).start()
    try:
        yield
    finally:
        renewal.stop()


def _taken_back(environment: EdgeSide, made: Made, lasting: int | None) -> TakenBack:
    """Undo the claim of a command that was not started."""
    seconds = environment.settings.claim.duration if lasting is None else lasting
    ends = max(made.claim.until, int(time.time() + made.confirmed.clock_difference) + seconds)
    return pipeline.take_back(environment, made.claim.slot, made.before, ends=ends, nonce=made.claim.nonce)


def _not_runnable(program: str) -> int | None:
    """A shell's exit code for a command that can't be run; None if the command seems to be runnable."""
    if shutil.which(program) is not None:
        return None
    there = os.sep in program and Path(program).exists()
    return NOT_EXECUTABLE if there else NOT_FOUND


def _run(command: Sequence[str], stop: Stop) -> int:
    """Run the command to its end, in this process's own group, terminal and streams. Returns a shell's exit code.

    Raises:
        OSError: it can't be run.
        Interrupted: a signal came before it was started.
    """
    stop.check()
    with subprocess.Popen(command) as process, _passed_on(process, stop):
        # A wait without end could miss a signal: Linux may give it to another thread, which does not wake this one.
        while (code := process.poll()) is None:
            time.sleep(_POLL)
    return code if code >= 0 else SIGNALLED - code


@contextmanager
def _passed_on(process: subprocess.Popen[bytes], stop: Stop) -> Iterator[None]:
    """Send this process's signals on to the command, also a signal that came just before the command started.

    A SIGINT from the keyboard is not sent on. The terminal sends it to the whole foreground group, so the command has
    it already, and many programs take a second one for "at once".
    """

    def send(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGINT or not _in_foreground():
            process.send_signal(number)

    old = {number: signal.signal(number, send) for number in heeded()}
    if stop.asked():
        process.terminate()
    try:
        yield
    finally:
        for number, action in old.items():
            signal.signal(number, action)


def _in_foreground() -> bool:
    """Whether a terminal's keyboard reaches this process, whatever its stdin is."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except OSError:  # no terminal
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def _kept(environment: EdgeSide, made: Made, say: Callable[[str], None], warn: Callable[[str], None]) -> dict[str, Any]:
    """Keep the claim of a command that failed. If the edge's API fails then, that is only reported."""
    slot = made.claim.slot
    try:
        kept = pipeline.post_failed(environment, slot, nonce=made.claim.nonce, did="wrap", say=warn)
    except EdgeguardError as exc:
        say(f"the command failed; {exc.message}")
        return {"id": slot, "outcome": "unknown"}
    say(f"the command failed; {slot} stays in force until {kept['until']}")
    return kept
