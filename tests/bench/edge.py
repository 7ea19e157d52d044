"""What two acts at the edge cost, in calls of Fastly's API and in seconds, beside the same with the official client.

One is the purge of many keys: `edgeguard purge --file`, beside a call for each key. The other is a longer grace:
`edgeguard grace extend`, beside a new version of a service (clone, edit, validate, activate).

Both work on a rehearsal's stand-in for Fastly, which counts the calls. It answers at once: `--latency` makes each call
as slow as a real one. The official client confirms nothing, and a version's new grace reaches no page that is cached.
"""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import Request, urlopen

from tests.bench.start import EDGEGUARD, medians, rehearsal, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.start import Took

_OFFICIAL = Path(__file__).parent / "rivals" / "with_fastly_client.py"


class Row(NamedTuple):
    """What one tool took, and the API's calls by their kind, of one run."""

    took: Took
    calls: Mapping[str, int]


class World:
    """The rehearsal's stand-in, asked and told through its control port, and what runs against it."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self.config, self.service = said["config"], said["service_id"]
        self._api, self._control, self._token = said["api_url"], said["control_url"], said["token"]

    def slow(self, seconds: float) -> None:
        """Have the API wait so long before each answer."""
        self._ask("POST", "/faults", {"api": {"delay": seconds}})

    def official(self, word: str, service: str, file: str = "") -> list[str]:
        """The command that does it with the official client; its token is in `environment`."""
        return [sys.executable, str(_OFFICIAL), word, self._api, service, file]

    @property
    def environment(self) -> dict[str, str]:
        """What the official client's program needs."""
        return {"FASTLY_API_TOKEN": self._token}

    def measured(self, command: Sequence[str], rounds: int) -> Row:
        """Run a command so often."""
        took = []
        for _ in range(rounds):
            self._ask("DELETE", "/history")
            took.append(run(command, environment=self.environment))
        calls: dict[str, int] = {}
        for entry in self._ask("GET", "/history"):
            kind = "purges" if "/purge" in entry["path"] else "reads" if entry["method"] == "GET" else "writes"
            calls[kind] = calls.get(kind, 0) + 1
        return Row(medians(took), calls)

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 (JSON)
        data = None if body is None else json.dumps(body).encode()
        headers = {"Fastly-Key": self._token, "Content-Type": "application/json"}
        with urlopen(Request(self._control + path, data, headers, method=method)) as answer:
            return json.loads(answer.read() or b"null")


def main(words: Sequence[str]) -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(prog="scripts/bench edge", description="Count calls of Fastly's API, and seconds.")
    parser.add_argument("--keys", type=int, default=10_000, help="how many keys are purged [10000]")
    parser.add_argument(
        "--latency", type=float, default=0, help="milliseconds that the API waits before it answers [0]"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often the grace is made longer [5]")
    said = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="edgeguard-bench-") as scratch, rehearsal() as ready:
        world = World(ready)
        other = subprocess.run(
            world.official("service", "bench"), env=world.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        if said.latency:
            world.slow(said.latency / 1000)
        keys = Path(scratch) / "keys"
        keys.write_text("".join(f"bench-{number}\n" for number in range(said.keys)), encoding="ascii")
        ours = [str(EDGEGUARD), "purge", "rehearsal", "--file", str(keys), "--config", world.config, "--quiet"]
        longer = [str(EDGEGUARD), "grace", "extend", "rehearsal", "--for", "2h", "--config", world.config, "--quiet"]
        purges = {
            "edgeguard purge --file": world.measured(ours, 1),
            "official client, a call a key": world.measured(world.official("purge", other, str(keys)), 1),
        }
        graces = {
            "edgeguard grace extend": world.measured(longer, said.rounds),
            "official client, a new version": world.measured(world.official("grace", other), said.rounds),
        }
    print(_table(f"{said.keys:,} keys are purged softly", purges))
    print(
        "edgeguard waits `purge.pace` between calls, and makes each a second time 2 s later if there may be a shield.\n"
    )
    print(_table(f"the grace becomes longer (medians of {said.rounds})", graces))
    print(
        "edgeguard's seconds include the wait until every node of the edge shows the write (here the stand-in's 1 s)."
    )
    print(f"\nThe API waits {said.latency:g} ms before each answer. Ratios are to edgeguard.")


def _table(title: str, rows: Mapping[str, Row]) -> str:
    unit = next(iter(rows.values()))
    lines = [
        title,
        f"  {'':<32}{'calls':>8}{'ratio':>8}{'whole process':>16}{'ratio':>8}{'processor':>12}  of the calls",
    ]
    for name, row in rows.items():
        calls = sum(row.calls.values())
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(row.calls.items()))
        counted = f"{calls:>8}{calls / sum(unit.calls.values()):>8.2f}"
        times = f"{row.took.wall:>14.2f} s{row.took.wall / unit.took.wall:>8.2f}{row.took.processor:>10.2f} s"
        lines.append(f"  {name:<32}{counted}{times}  {kinds}")
    return "\n".join(lines)
