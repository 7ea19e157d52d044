"""The units of a server's background tasks, which `edgeguard cluster prepare` writes: a deploy starts and stops them.

All of them demand the file `tasks-allowed` (tasks.py). A worker and a cron are instances, named after the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.host import units
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.cluster.host.prepared import Prepared

_HEAD = """\
# Written by `edgeguard cluster prepare`. Change it with `systemctl edit {unit}`: this file is written anew.
[Unit]
Description={description}
ConditionPathExists={folder}/tasks-allowed
"""
_TASK = """\
After=network.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={python} -I -S {folder}/program task {folder} {kind}-%i
ExecStopPost=-{python} -I -S {folder}/program task-ended {folder} {kind}-%i
TimeoutStopSec={term:g}
KillMode=control-group
"""
_AGAIN = """\
Restart=always
RestartSec=50ms
"""
_TIMER = """\

[Timer]
OnCalendar=*-*-* *:*:00
AccuracySec=1us
"""
_DUE = """\

[Service]
Type=oneshot
ExecStart={python} -I -S {folder}/program crons {folder}
LogLevelMax=notice
"""
_BOOT = """\
RequiresMountsFor={folder}

[Service]
Type=oneshot
ExecStart={python} -I -S {folder}/program tasks {folder}

[Install]
WantedBy=multi-user.target
"""


def names(prepared: Prepared) -> tuple[str, ...]:
    """The names of all of them."""
    others = (prepared.crons_timer.name, prepared.crons_unit.name, prepared.tasks_unit.name)
    return (prepared.template("worker"), prepared.template("cron"), *others)


def slices(prepared: Prepared) -> tuple[str, ...]:
    """Patterns for the slices that systemd makes for instances (systemd.slice(5)). It escapes a dash in their names by
    a backslash, which can't stand in a pattern."""
    environment = prepared.environment.replace("-", "?x2d")
    return tuple(f"system-eg?x2d{environment}?x2d{kind}.slice" for kind in ("worker", "cron"))


def refuse_missing(prepared: Prepared) -> None:
    """Raise HostError where systemd does not know all of them."""
    found = units.matching(prepared.template("worker", "any"), prepared.template("cron", "any"), *names(prepared)[2:])
    if any(state["LoadState"] == "not-found" for state in found.values()):
        raise HostError(
            "the release has workers or crons, and this server was prepared before there were units for them",
            "Run `edgeguard cluster prepare` for this environment again; it writes them.",
        )


def texts(prepared: Prepared, facts: Mapping[str, object]) -> Mapping[str, str]:
    """The text of each of them by its name. `facts` are those of prepare.texts."""
    whole = {
        prepared.template("worker"): ("The worker %i of {environment}, kept by edgeguard", _TASK + _AGAIN),
        prepared.template("cron"): ("The cron %i of {environment}, started by edgeguard", _TASK),
        prepared.crons_timer.name: ("Each minute, at which a cron of {environment} may be due", _TIMER),
        prepared.crons_unit.name: ("Starts the crons of {environment} that are due", _DUE),
        prepared.tasks_unit.name: ("Starts the background tasks of {environment} with the server", _BOOT),
    }
    return {
        unit: (_HEAD + text).format(
            unit=unit,
            description=description.format(**facts),
            kind="worker" if unit == prepared.template("worker") else "cron",
            **facts,
        )
        for unit, (description, text) in whole.items()
    }
