"""How long a deploy's whole process takes, and how much memory: the release that serves is deployed once more.

On three real hosts (a lab) it is beside pyinfra and a plain asyncssh script. They close a HAProxy on each host, make
another release current, restart the application, run a hook of one second, and open: they build, lock, claim, check and
record nothing. The control is the restart and the hook alone, over connections that are open already. A machine that
can't have a lab, or `--local`, deploys to processes of its own, beside the hook alone. Tools work in turns.
"""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import others
from tests.bench.start import EDGEGUARD, Took, medians, rehearsal, run
from tests.bench.window import environment, on_hosts, running_lab
from tests.lab import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_HEALTHY_FOR = 0.3
"""`edge.healthy_for` of a rehearsal: how long the open servers have to answer well before a deploy is done."""


class Deploys:
    """Deploys of edgeguard, and the reports of those that are counted."""

    def __init__(self, config: str, folder: Path) -> None:
        self._command = [str(EDGEGUARD), "deploy", "rehearsal", "--config", config, "--json"]
        self._said = folder / "report.jsonl"
        self.reports: list[dict[str, Any]] = []

    def run(self) -> Took:
        """One deploy of the release that serves."""
        with self._said.open("w", encoding="utf-8") as stdout:
            took = run(self._command, stdout=stdout, environment={**environment(), "EDGEGUARD_VISITORS__RATE": "1"})
        self.reports.append(json.loads(self._said.read_text(encoding="utf-8").splitlines()[-1]))
        return took


def main(words: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench deploy", description="Time a whole deploy, and its memory.")
    parser.add_argument("--rounds", type=int, default=7, help="how often each tool deploys [7]")
    parser.add_argument("--lab", default="bench", help="the lab's name [bench]")
    parser.add_argument("--local", action="store_true", help="to processes of this machine, without others")
    said = parser.parse_args(words)
    if not said.local and (trouble := [*needs.missing(), *needs.packages()]):
        print(f"no lab on this machine ({' '.join(trouble)}): --local", file=sys.stderr)
        said.local = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeguard-bench-")))
        deploys, runs = (_locally if said.local else _on_hosts)(stack, folder, said.lab)
        measured: dict[str, list[Took]] = {name: [] for name in runs}
        for number in range(said.rounds + 1):  # the first builds, and is not counted
            print(f"round {number} of {said.rounds}", file=sys.stderr)
            for name, act in runs.items():
                took = act()
                if number > 0:
                    measured[name].append(took)
    print(_report(measured, deploys.reports[1:]))
    print(f"medians of {said.rounds} rounds in turns, {'on this machine' if said.local else 'on three hosts'}")


def _locally(stack: ExitStack, folder: Path, _: str) -> tuple[Deploys, dict[str, Callable[[], Took]]]:
    world = stack.enter_context(rehearsal("--hook-seconds", "1"))
    deploys = Deploys(world["config"], folder)
    return deploys, {"edgeguard": deploys.run, "the hook alone": lambda: run(others.HOOK.split())}


def _on_hosts(stack: ExitStack, folder: Path, name: str) -> tuple[Deploys, dict[str, Callable[[], Took]]]:
    lab = stack.enter_context(running_lab(name))
    others.prepare(lab)
    rivals = others.Others(lab, folder, others.PROGRAMS)
    deploys = Deploys(stack.enter_context(on_hosts(lab, folder)), folder)
    control = stack.enter_context(others.control(lab))

    def of(tool: str) -> Callable[[], Took]:
        return lambda: run(rivals.command(tool, restarts=True), stderr=subprocess.DEVNULL)

    def bare() -> Took:
        return Took(control.run(restarts=True) / 1000, 0, 0)

    return deploys, {"edgeguard": deploys.run, **{tool: of(tool) for tool in rivals.programs}, "the work alone": bare}


def _report(measured: Mapping[str, Sequence[Took]], reports: Sequence[Mapping[str, Any]]) -> str:
    rows = {name: medians(took) for name, took in measured.items()}
    unit = list(rows)[-1]
    head = f"{'whole process':>16}{'least':>8}{'most':>8}{'ratio':>8}{'processor':>12}{'peak memory':>14}"
    lines = [f"{'':<18}{head}"]
    for name, took in rows.items():
        each = [one.wall for one in measured[name]]
        times = f"{took.wall:>14.2f} s{min(each):>8.2f}{max(each):>8.2f}{took.wall / rows[unit].wall:>8.2f}"
        used = f"{took.processor:>10.2f} s{took.memory:>10.0f} MiB" if took.processor else ""
        lines.append(f"{name:<18}{times}{used}")
    waited = [report["grace"]["confirmed_seconds"] + _HEALTHY_FOR for report in reports]
    less = medians(
        [one._replace(wall=one.wall - wait) for one, wait in zip(measured["edgeguard"], waited, strict=True)]
    )
    phases = {phase["name"]: 0.0 for phase in reports[0]["phases"]}
    for name in phases:
        phases[name] = medians([Took(_seconds(report, name), 0, 0) for report in reports]).wall
    return "\n".join(
        [
            *lines,
            f"ratios to {unit}; peak memory is that of a tool's largest process",
            f"edgeguard without the edge's time to confirm the claim, and without `healthy_for`: {less.wall:.2f} s",
            "its phases in seconds: " + ", ".join(f"{name} {took:.2f}" for name, took in phases.items()),
        ]
    )


def _seconds(report: Mapping[str, Any], name: str) -> float:
    return float(next(phase["seconds"] for phase in report["phases"] if phase["name"] == name))
