"""How long commands take from their start to their end: whole processes, beside `import httpx` in the same run.

Commands work on a rehearsal that stays: its stand-in for Fastly and its servers answer at once. Processes run in turns
(A B C A B C …), so that whatever else the machine does meets all of them. The first round fills the caches of compiled
modules and is not counted. A row has two medians: the time from start to end, and the processor's part of it. The
difference is what the process waited for: answers, and other processes on the same machine.
"""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EDGEGUARD = Path(sys.executable).with_name("edgeguard")
UNIT = "import httpx"
EMPTY_TYPER = """
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
@app.command()
def nothing() -> None: ...
app()
"""
BESIDE = {
    "pass": [sys.executable, "-c", "pass"],
    UNIT: [sys.executable, "-c", "import httpx"],
    "an empty Typer command": [sys.executable, "-c", EMPTY_TYPER],
}
VERBS = (
    *("probe", "history", "report", "grace show", "status", "edge diff", "plan"),  # these change nothing
    *("resume", "purge --key bench"),  # nothing is unfinished, and no page has this key
)


class Took(NamedTuple):
    """One process, its children included: seconds from its start to its end, and of the processor; and MiB of memory at
    its peak, that of the largest of its processes."""

    wall: float
    processor: float
    memory: float


def main(words: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench start", description="Time the start of commands.")
    parser.add_argument("--rounds", type=int, default=11, help="how often each is run [11]")
    rounds: int = parser.parse_args(words).rounds
    with rehearsal() as world:
        config = world["config"]
        subprocess.run(
            [str(EDGEGUARD), "deploy", "rehearsal", "--config", config, "--quiet"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        commands = {verb: [str(EDGEGUARD), *_placed(verb), "--config", config] for verb in VERBS}
        alone = {f"edgeguard {option}": [str(EDGEGUARD), option] for option in ("--version", "--help")}
        measured = in_turns({**BESIDE, **alone, **commands}, rounds)
    print(table(measured))


def in_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, list[Took]]:
    """Run each command once a round."""
    measured: dict[str, list[Took]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            took = run(command)
            if number > 0:
                measured[name].append(took)
    return measured


def run(
    command: Sequence[str | Path],
    *,
    stdout: IO[str] | int = subprocess.DEVNULL,
    stderr: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Took:
    """Run one process to its end, with compiled modules cached. It has to succeed. `environment` is added to ours."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    ours |= environment or {}
    process = subprocess.Popen(command, env=ours, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def medians(took: Sequence[Took]) -> Took:
    """The median of each column."""
    return Took(*map(statistics.median, zip(*took, strict=True)))


def table(measured: dict[str, list[Took]]) -> str:
    """Medians in milliseconds, and as multiples of the unit's."""
    rows = {name: medians(took) for name, took in measured.items()}
    unit = rows[UNIT]
    lines = [f"{'':<24}{'whole process':>16}{'ratio':>7}{'processor':>16}{'ratio':>7}"]
    for name, took in rows.items():
        wall = f"{took.wall * 1000:>13.0f} ms{took.wall / unit.wall:>7.2f}"
        processor = f"{took.processor * 1000:>13.0f} ms{took.processor / unit.processor:>7.2f}"
        lines.append(f"{name:<24}{wall}{processor}")
    return "\n".join([*lines, f"ratios to `{UNIT}`; medians of {len(measured[UNIT])} rounds in turns"])


def _placed(verb: str) -> list[str]:
    """The verb's words with the environment's name after them, and its options last."""
    words = verb.split()
    place = next((number for number, word in enumerate(words) if word.startswith("--")), len(words))
    return [*words[:place], "rehearsal", *words[place:]]


@contextmanager
def rehearsal(*words: str) -> Iterator[dict[str, str]]:
    """A rehearsal that stays until the block ends: what its first line says of it. `words` are more of its options."""
    command = [str(EDGEGUARD), "rehearse", "--stay", "--json", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
