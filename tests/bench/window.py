"""How long three real hosts are closed to their visitors: edgeguard beside pyinfra, plain asyncssh and the work alone.

Everybody closes a HAProxy on each host, makes another release current, runs a hook of one second on one host, and
opens. In table (a) nothing is restarted. edgeguard always restarts the application, so it is not in that table. In
table (b) systemd restarts the application everywhere. The control is that work alone: a parallel `systemctl restart`
and the hook, and nothing is closed.

A prober for each host asks its HAProxy, and sees how long it refuses. The tools work in turns (A B C A B C …), so that
whatever else the machine does meets all of them. Only edgeguard drains, records, fences and verifies.
"""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.bench import others, prober
from tests.lab import network
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.bench.prober import Window

EDGEGUARD = Path(sys.executable).with_name("edgeguard")
HOSTS = ("web1", "web2", "web3")
_SITE = Path(__file__).with_name("site")
_PHASES = ("close", "drain", "swap", "hook", "check", "open")
_TABLES = {False: "(a) a link is flipped, nothing is restarted", True: "(b) systemd restarts the application"}


class Measured(NamedTuple):
    """What all rounds gave: windows by their row, and in milliseconds the controls and edgeguard's phases."""

    windows: dict[tuple[str, bool], list[Window]]
    controls: dict[bool, list[float]]
    phases: dict[str, list[float]]
    whole: list[float]  # all phases of a deploy, in seconds


def main(words: Sequence[str]) -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(prog="scripts/bench window", description="Time the closed window of a deploy.")
    parser.add_argument("--rounds", type=int, default=7, help="how often each tool deploys [7]")
    parser.add_argument("--rate", type=float, default=1000, help="requests a second to each host [1000]")
    parser.add_argument("--lab", default="bench", help="the lab's name [bench]")
    parser.add_argument("--alone", action="store_true", help="edgeguard and the control alone")
    said = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="edgeguard-bench-") as scratch, running_lab(said.lab) as lab:
        folder = Path(scratch)
        others.prepare(lab)
        rivals = others.Others(lab, folder, () if said.alone else others.PROGRAMS)
        with on_hosts(lab, folder) as config, others.control(lab) as control:
            measured = _rounds(lab, said, config, rivals, control)
    print(_report(measured, said))


def _rounds(
    lab: Lab, said: argparse.Namespace, config: str, rivals: others.Others, control: others.Control
) -> Measured:
    measured = Measured({}, {False: [], True: []}, {phase: [] for phase in _PHASES}, [])

    def probed(row: tuple[str, bool], port: int, act: Callable[[], None]) -> None:
        with prober.probing(_probers(lab, port, said.rate)) as found:
            act()
        measured.windows.setdefault(row, []).extend(found)

    for number in range(said.rounds):
        print(f"round {number + 1} of {said.rounds}", file=sys.stderr)
        probed(("edgeguard", True), 80, lambda: _deploy(config, measured))
        for restarts in (True, False):
            for tool in rivals.programs:
                act = _of(rivals, tool, restarts=restarts)
                probed((tool, restarts), others.GATE_PORT, act)
            measured.controls[restarts].append(control.run(restarts=restarts))
    return measured


def _of(rivals: others.Others, tool: str, *, restarts: bool) -> Callable[[], None]:
    return lambda: rivals.run(tool, restarts=restarts)


def _deploy(config: str, measured: Measured) -> None:
    """One deploy of edgeguard's, of the release that serves."""
    done = subprocess.run(
        [EDGEGUARD, "deploy", "rehearsal", "--config", config, "--json"],
        env={**environment(), "EDGEGUARD_VISITORS__RATE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    if done.returncode:
        sys.exit(f"edgeguard: {report['error']} {report['remedy']}")
    took = {phase["name"]: phase["seconds"] for phase in report["phases"]}
    for phase in _PHASES:
        measured.phases[phase].append(1000 * took[phase])
    measured.whole.append(sum(took.values()))


def _probers(lab: Lab, port: int, rate: float) -> list[list[str]]:
    probe = ["/usr/bin/python3", "-I", prober.__file__]
    addresses = [network.address(network.VISITORS, number) for number, _ in enumerate(lab.hosts, 1)]
    return [lab.inside([*probe, address, str(port), str(rate)]) for address in addresses]


def _report(measured: Measured, said: argparse.Namespace) -> str:
    lines = []
    for restarts, title in _TABLES.items():
        control = statistics.median(measured.controls[restarts])
        rows = {tool: windows for (tool, kind), windows in measured.windows.items() if kind is restarts}
        lines += [
            "",
            title,
            f"  {'':<12}{'closed, median':>16}{'least':>8}{'most':>8}{'less control':>14}{'one host':>10}",
        ]
        for tool, windows in rows.items():
            each = [window.all for window in windows]
            one = statistics.median(window.one for window in windows)
            middle = statistics.median(each)
            spread = f"{min(each):>8.0f}{max(each):>8.0f}"
            lines.append(f"  {tool:<12}{middle:>13.0f} ms{spread}{middle - control:>11.0f} ms{one:>10.0f}")
        each = measured.controls[restarts]
        lines.append(f"  {'control':<12}{control:>13.0f} ms{min(each):>8.0f}{max(each):>8.0f}")
    phases = ", ".join(f"{name} {statistics.median(took):.0f}" for name, took in measured.phases.items())
    windows = [window for each in measured.windows.values() for window in each]
    gap, broken = max(window.gap for window in windows), sum(window.broken for window in windows)
    lines += [
        "",
        f"edgeguard's phases, medians in ms: {phases}; a whole deploy {statistics.median(measured.whole):.1f} s",
        f"{said.rounds} rounds in turns, {said.rate:g} requests a second to each of {len(HOSTS)} hosts",
        f"a prober's longest pause {gap:.0f} ms; {broken} requests without a whole answer",
    ]
    return "\n".join(lines[1:])


def environment() -> dict[str, str]:
    """Builds find the Python that the hosts have, and compiled modules are cached."""
    said = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**said, "PATH": f"/usr/bin:{said['PATH']}"}


@contextmanager
def running_lab(name: str) -> Iterator[Lab]:
    """A lab of this name, made anew, until the block ends."""
    lab = Lab(name)
    lab.down()
    lab.up(HOSTS)
    try:
        yield lab
    finally:
        lab.down()


@contextmanager
def on_hosts(lab: Lab, folder: Path) -> Iterator[str]:
    """The folder of the environment's file of a rehearsal on the hosts, with this benchmark's site."""
    site = folder / "site"
    shutil.copytree(_SITE, site)
    author = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for words in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message=The site"]):
        subprocess.run(["git", "-C", site, *words], check=True)
    command: list[Any] = [EDGEGUARD, "rehearse", site, "--stay", "--json", "--driver", "ssh"]
    command += ["--driver-config", lab.driver_config]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["config"]
        finally:
            process.send_signal(signal.SIGTERM)
