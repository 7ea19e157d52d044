"""The web process of a server under systemd: what has to run, its deaths, and its swap.

The unit's command is `python3 -I -S FOLDER/current/program web FOLDER`: it becomes the application of the generation
that is current. `program` is a link to the archive that staged the generation, so a newer edgeguard changes nothing
for what runs. After each end of the process systemd runs `… web-ended FOLDER`, which counts the deaths, unless
`web.ending` is there: then a swap is ending the process, and visitors would wait for the start of a Python.

`web.json` in the server's folder has {"generation", "wanted", "swapped", "began", "invocation", "main", "died",
"quick", "exit", "said", "error", "remedy"}: what has to run, when a swap has started it and how many deaths there were
by then, when and as what systemd last started it, its main process, its deaths in all and quickly in a row, the last
exit code, the start (of systemd's counting) whose output tells of it, and why it could not be started.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import environment, files, generations, logins, processes, sockets
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.cluster.host.health import Supervised
    from edgeguard.cluster.host.units import Unit

STEADY_SECONDS = 5.0
"""A process that lives longer did not die quickly."""
START_SECONDS = 10.0
"""So long, at most, who looks waits for the process that a swap has started. Whether it is healthy is another question.
"""
_POLL = 0.005
PAUSES = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a start that follows so many quick deaths; beside systemd's own pause."""
_ENDING = "web.ending"
_KINDS: dict[str, files.Kinds] = {
    "wanted": (bool,),
    "died": (int,),
    "quick": (int,),
    "swapped?": (dict,),
    "main?": (dict,),
}
_NOTHING: dict[str, Any] = {
    "generation": None,
    "wanted": False,
    "swapped": None,
    "main": None,
    "died": 0,
    "quick": 0,
    "exit": None,
}


def swap(folder: Path, generation: str | None) -> None:
    """End the processes, make the generation current by a rename, and start its processes; None starts none. Where the
    generation is current already, what is missing is started, and the deaths so far still count.

    When this returns, systemd starts a program that becomes the application. Who looks then waits for that (`running`).

    Raises:
        HostError: the generation isn't there (NOT_STAGED), or systemd refuses.
    """
    unit = Prepared.of(folder).unit
    changes, before = generations.current(folder) != generation, logins.ways(folder / "current")
    if generation is not None:
        generations.read(folder, generation)
        if changes:
            generations.prepare_link(folder, generation)
    if changes or generation is None:
        forget(folder)
        unit.stop()
        processes.end(partial(processes.every, folder))  # also what has left the unit
    if changes:
        generations.make_current(folder, generation)
    if generation is not None:
        with _changing(folder) as said:
            fresh = _NOTHING if said.get("generation") != generation else {}
            said.update({**fresh, "generation": generation, "wanted": True, "quick": 0, "error": ""})
            said.update(swapped={"at": time.monotonic(), "died": said["died"]}, main=None)
            (folder / _ENDING).unlink(missing_ok=True)
        unit.start(wait=False)
    logins.end_revoked(folder, before)


def forget(folder: Path) -> None:
    """Nothing has to run any more: what ends now is no death."""
    with _changing(folder) as said:
        said.update(_NOTHING)
        (folder / _ENDING).touch()


def runs_only(folder: Path, generation: str | None) -> bool:
    """Whether a swap to this generation would change nothing."""
    if generations.current(folder) != generation:
        return False
    found = running(folder)
    if generation is None:
        return not found
    return found == {generation} and kept(folder) and bool(_read(folder)["wanted"])


def running(folder: Path) -> set[str | None]:
    """The generations that processes of this server run from; None stands for one that isn't known.

    The program that a swap has started is waited for, until it has become the application, or has ended: before that,
    nobody can tell what it runs from.
    """
    while True:
        found = processes.by_generation(processes.running(folder))
        said = _read(folder)
        if said["generation"] in found or not _starts(said):
            return found
        time.sleep(_POLL)


def _starts(said: Mapping[str, Any]) -> bool:
    """Whether a swap has just started a program that did not end since, as far as anybody knows."""
    swapped = said["swapped"]
    if swapped is None or said["died"] > int(swapped["died"]) or said.get("error"):
        return False
    return 0 <= time.monotonic() - float(swapped["at"]) < START_SECONDS  # less than 0: the server has booted since


def kept(folder: Path) -> bool:
    """Whether systemd keeps the application running. Only where its main process is not there, systemd is asked."""
    unit, said = Prepared.of(folder).unit, _read(folder)
    main = said["main"]
    if main is None:
        return _starts(said) or unit.runs()
    return _is_main(unit, int(main["pid"]), int(main["started"])) or unit.runs()


def _is_main(unit: Unit, pid: int, started: int) -> bool:
    """Whether this process lives, and is the unit's."""
    try:
        said = Path("/proc", str(pid), "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return processes.start_of(pid) == started and any(line.endswith(f"/{unit.name}") for line in said.splitlines())


def deaths(folder: Path) -> int:
    """The deaths of the current generation's process that nobody asked for."""
    said = _read(folder)
    return int(said["died"]) if said.get("generation") == generations.current(folder) else 0


def supervised(folder: Path) -> Supervised | None:
    """What systemd and `web.json` tell of the application; None where systemd doesn't keep it running."""
    from edgeguard.cluster.host.health import Supervised  # noqa: PLC0415 (its HTTP client would delay each start)

    if not kept(folder):
        return None
    unit, said = Prepared.of(folder).unit, _read(folder)
    told = said.get("said") or said.get("invocation")
    return Supervised(
        generation=said.get("generation"),
        deaths=int(said["quick"]),
        exit=said.get("exit"),
        said=partial(unit.said, told) if told else str,
        error=said.get("error") or "",
        remedy=said.get("remedy") or "",
        where=f"The application's output is in the journal: `journalctl -u {unit.name}`.",
    )


def start(folder: Path) -> None:
    """Become the web process of the generation that is current. systemd calls this, as the unit's command."""
    time.sleep(PAUSES[min(int(_read(folder)["quick"]), len(PAUSES) - 1)])
    try:
        prepared, name = Prepared.of(folder), str(generations.current(folder))
        runs = generations.read(folder, name).runs
        account = accounts.to_become(runs.user)
        if runs.socket:
            sockets.make_way(folder, name)
        else:
            sockets.refuse_taken(prepared.port, "options.app_port")
        variables = environment.of_web(folder, name, prepared.server, prepared.port)
        variables[processes.MARK] = str(folder / "generations" / name)
        with _changing(folder) as said:
            said.update(began=time.monotonic(), invocation=os.environ.get("INVOCATION_ID", ""), error="", remedy="")
            said["main"] = {"pid": os.getpid(), "started": processes.start_of(os.getpid())}
        accounts.run(account, runs.folder, runs.start, variables)
    except (HostError, OSError) as exc:
        with _changing(folder) as said:
            said.update(error=str(exc), remedy=getattr(exc, "remedy", ""), invocation="", began=time.monotonic())
        sys.exit(f"the application can't be started: {exc}")


def ended(folder: Path, told: Mapping[str, str], *, stopping: Callable[[], bool]) -> None:
    """Count the end of the process as a death, if nobody asked for it. systemd calls this after each end, and has
    `told` how it ended in the environment; `stopping` says whether the server itself is on its way down."""
    with _changing(folder) as said:
        if not said["wanted"] or stopping():
            return
        lived = time.monotonic() - float(said.get("began") or 0.0)
        said["died"] += 1
        said["quick"] = said["quick"] + 1 if lived < STEADY_SECONDS else 1
        said["exit"] = exit_code(told)
        said["said"] = said.get("invocation")


def exit_code(told: Mapping[str, str]) -> int | None:
    """How a unit's process ended, as subprocess has it: negative for a signal. systemd tells it in the environment of
    ExecStopPost (systemd.exec(5)); None where it does not."""
    status = told.get("EXIT_STATUS", "")
    if told.get("EXIT_CODE") == "exited" and status.isdigit():
        return int(status)
    found = getattr(signal, f"SIG{status}", None)
    return -int(found) if isinstance(found, signal.Signals) else None


def _read(folder: Path) -> dict[str, Any]:
    return {**_NOTHING, **(files.read(folder / "web.json", _KINDS) or {})}


@contextmanager
def _changing(folder: Path) -> Iterator[dict[str, Any]]:
    """The content of `web.json`, which is written afterwards. It has a lock of its own: a swap holds the server's lock
    while systemd runs `start` and `ended`."""
    with open(folder / "web.lock", "a", encoding="ascii", opener=files.only_ours) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = _read(folder)
        yield said
        files.write(folder / "web.json", said, durable=False)
