"""What a server needs before the first deploy: folders and systemd units. All of it may be repeated.

The units belong to the environment, so a server can serve several. A person changes them by drop-ins
(`systemctl edit`), which are left alone; the unit files themselves are written anew.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import compiled, files, logins, processes, sshd, task_units, tasks, units, web
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.haproxy import Gate, find_haproxy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edgeguard.cluster.host.prepared import Prepared

UNITS = Path("/etc/systemd/system")
_WEB = """\
# Written by `edgeguard cluster prepare`. Change it with `systemctl edit {unit}`: this file is written anew.
[Unit]
Description=The application of {environment}, kept by edgeguard
After=network.target
ConditionPathExists={folder}/current/program
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={python} -I -S {folder}/current/program web {folder}
ExecStopPost=-/bin/sh -c 'test -e {folder}/web.ending || exec {python} -I -S {folder}/program web-ended {folder}'
Restart=always
RestartSec=50ms
TimeoutStopSec={term:g}
KillMode=control-group

[Install]
WantedBy=multi-user.target
"""
_GATE = """\
# Written by `edgeguard cluster prepare`. Change it with `systemctl edit {unit}`: this file is written anew.
[Unit]
Description=The gate of {environment}, kept by edgeguard
After=network-online.target
Wants=network-online.target
RequiresMountsFor={folder}
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStartPre={haproxy} -c -q -f {folder}/gate/haproxy.cfg
ExecStart={haproxy} -Ws -f {folder}/gate/haproxy.cfg -S {folder}/gate/master,mode,600
ExecReload={haproxy} -c -q -f {folder}/gate/haproxy.cfg
ExecReload=/bin/kill -USR2 $MAINPID
KillMode=mixed
Restart=always
RestartSec=200ms
TimeoutStopSec=10

[Install]
WantedBy=multi-user.target
"""
_BEGUN = "preparing"
"""A file that is there while `prepare` changes the server. Where it is left, what runs may not be what is written."""
_FOLDER = re.compile(r"^RequiresMountsFor=(.*)$", re.MULTILINE)


def texts(folder: Path, prepared: Prepared) -> Mapping[Path, str]:
    """The unit files, with their texts."""
    haproxy = find_haproxy()
    if haproxy is None:
        raise HostError("HAProxy is not installed", "Install it there (Debian: `apt-get install haproxy`).")
    for path in (folder, sys.executable, haproxy):
        if any(letter in str(path) for letter in " \t\n\"'\\%$;"):
            raise HostError(f"{str(path)!r} can't stand in a systemd unit", "Let cluster.root name a plainer folder.")
    facts = {
        "environment": prepared.environment,
        "folder": folder,
        "python": sys.executable,
        "haproxy": haproxy,
        "term": processes.TERM_SECONDS,
    }
    return {
        **{UNITS / name: text for name, text in task_units.texts(prepared, facts).items()},
        UNITS / prepared.unit.name: _WEB.format(unit=prepared.unit.name, **facts),
        UNITS / prepared.gate_unit.name: _GATE.format(unit=prepared.gate_unit.name, **facts),
    }


def missing(folder: Path, prepared: Prepared, gate: str, *, without_tasks: bool = False) -> list[str]:
    """What `prepare` would do, a sentence each; empty where the server is as it has to be.

    `without_tasks`: a server that has none of the units of background tasks needs none.

    Raises:
        HostError: it can't be done: the host serves another server of this environment, or lacks HAProxy.
    """
    _refuse_other(folder, prepared)
    found = []
    if files.read(folder / "prepared.json") != prepared.json():
        found.append(f"write {folder / 'prepared.json'}")
    if (folder / _BEGUN).exists():
        found.append("do again what an earlier `cluster prepare` began and did not end")
    if not (folder / "program").is_file():
        found.append(f"let {folder / 'program'} name the host program")
    masked = {unit.name for unit in (prepared.unit, prepared.gate_unit) if unit.masked()}
    spared = without_tasks and not has_task_units(prepared)
    for path, text in {**texts(folder, prepared), Gate(folder).configuration: gate}.items():
        there = _text(path)
        if spared and path.name in task_units.names(prepared):
            continue
        if path.name in masked:
            continue
        if there is None:
            found.append(f"write {path}")
        elif there != text:
            found.append(f"write {path} anew; it has another text than this edgeguard's")
    if not spared and prepared.tasks_unit.name not in masked and not prepared.tasks_unit.enabled():
        found.append(f"let {prepared.tasks_unit.name} start with the server")
    found += sshd.missing(folder, prepared)
    return found + _about_units(folder, prepared, masked, rewritten=_text(Gate(folder).configuration) != gate)


def has_task_units(prepared: Prepared) -> bool:
    """Whether any unit of background tasks is there."""
    return any((UNITS / name).exists() for name in task_units.names(prepared))


def _about_units(folder: Path, prepared: Prepared, masked: Collection[str], *, rewritten: bool) -> list[str]:
    """What `prepare` would do with the units. `rewritten`: the gate gets another configuration anyway."""
    found = []
    for unit in (prepared.unit, prepared.gate_unit):
        if unit.name in masked:
            found.append(f"stop at {unit.name}, which somebody has masked (`systemctl unmask {unit.name}` there)")
        elif not unit.enabled():
            found.append(f"let {unit.name} start with the server")
    if prepared.gate_unit.show().get("ActiveState") != "active":
        found.append(f"start {prepared.gate_unit.name}")
    elif trouble := _deaf(folder):
        found.append(f"restart {prepared.gate_unit.name}: {trouble}")
    elif not rewritten and (trouble := _foreign(folder)):
        found.append(f"reload {prepared.gate_unit.name}: {trouble}")
    return found


def prepare(folder: Path, prepared: Prepared, gate: str, program: Path) -> list[str]:
    """Make the server ready, and start its gate. A gate that was never opened is closed.

    Returns:
        what was done, a sentence each; empty where nothing was left to do.

    Raises:
        HostError: somebody has masked a unit, or something can't be written. Repeating it goes on from there.
    """
    done = missing(folder, prepared, gate)
    if not done:
        return done
    _refuse_unless_root()
    for unit in (prepared.unit, prepared.gate_unit):
        unit.refuse_masked()
    files.private(folder)
    unended = (folder / _BEGUN).exists()
    files.write_text(folder / _BEGUN, "")
    prepared.write(folder)
    compiled.link(folder / "program", program)
    changed = {path.name: text for path, text in texts(folder, prepared).items() if _text(path) != text}
    for name, text in changed.items():
        files.write_text(UNITS / name, text)
        (UNITS / name).chmod(0o644)  # as all units: whoever asks systemd may read it
    another = Gate(folder).put(gate)
    units.reload_all()
    units.enable(prepared.unit.name, prepared.gate_unit.name, prepared.tasks_unit.name)
    if unended or prepared.gate_unit.name in changed or _deaf(folder):
        prepared.gate_unit.restart()
    elif (another or _foreign(folder)) and prepared.gate_unit.runs():
        prepared.gate_unit.reload()
    else:
        prepared.gate_unit.start()
    sshd.put(folder, prepared)
    (folder / _BEGUN).unlink()
    return done


def unprepare(folder: Path, prepared: Prepared) -> list[str]:
    """Take away what `prepare` has made: stop the application and the gate, and remove their units. The server's
    records and images stay, in its folder."""
    _refuse_unless_root()
    done = []
    if has_task_units(prepared):
        tasks.stop(folder)
        units.disable(prepared.tasks_unit.name)
        units.stop_all(*task_units.slices(prepared))
        for name in task_units.names(prepared):
            (UNITS / name).unlink(missing_ok=True)
        done.append("the units of background tasks are stopped and removed")
    for unit in (prepared.unit, prepared.gate_unit):
        if unit.show().get("LoadState") == "loaded":
            if unit == prepared.unit:
                web.forget(folder)
            units.disable(unit.name)
            unit.stop()
            Gate(folder).forget()
            done.append(f"{unit.name} is stopped and removed")
        (UNITS / unit.name).unlink(missing_ok=True)
    units.reload_all()
    if sshd.remove(prepared):
        logins.apply(folder, {})
        done.append(f"{sshd.place(prepared)} is removed; nobody logs in by it any more")
    for name in ("prepared.json", _BEGUN):
        (folder / name).unlink(missing_ok=True)
    return done


def _refuse_other(folder: Path, prepared: Prepared) -> None:
    """Refuse a host that serves another server of this environment: the units of both would have one name."""
    there = _FOLDER.search(_text(UNITS / prepared.gate_unit.name) or "")
    if there is not None and there[1] != str(folder):
        names = f"{prepared.unit.name} {prepared.gate_unit.name}"
        raise HostError(
            f"this host is {there[1]} of {prepared.environment} already, and can't be {folder} too",
            "Correct `hosts` in [cluster.options]. If the server was renamed, let no visitor reach it, and run"
            f" `systemctl disable --now {names}` there, and `rm {names}` in {UNITS}.",
        )


def _refuse_unless_root() -> None:
    if os.geteuid() != 0:
        raise HostError(
            f"systemd's units are root's, and this is user {os.geteuid()}",
            "Log in as root, or as a user who may use sudo, with `sudo = true` in [cluster.options].",
        )


def _deaf(folder: Path) -> str | None:
    """Why a gate that runs can't be told anything; None where it can, or is dead."""
    try:
        Gate(folder).alive()
    except HostError as exc:
        return exc.message
    return None


def _foreign(folder: Path) -> str | None:
    """Why a gate that runs is not ours: whoever wrote its configuration last may not have come to the reload."""
    try:
        Gate(folder).refuse_foreign()
    except HostError as exc:
        return exc.message
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
