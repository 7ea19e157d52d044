"""Let something happen to a deploy at every moment there is: `scripts/crash`, or `python -m tests.crash`.

First, each kind of deploy runs to its end, so that its moments are known. Then come the scenarios, in families:

    deploys   a deploy dies at each moment twice: once `resume` follows, and once `rollback`
    signals   a deploy gets SIGINT, SIGTERM and SIGHUP, once, twice or three times
    servers   the gate, the supervisors, an application or everything on the servers is killed, beside a deploy

With --hosts, deploys die on three real hosts of a lab, at --count moments that --seed chooses.

With --again, the command that follows dies too, at a moment of its own, and is called once more; in the family
`signals`, the deploy dies and the command that follows gets the signals. With --faults, the edge's API fails meanwhile.

Scenarios in the results file are not played again, so a run that was broken off goes on from there. The end is a
summary, and exit code 1 if any law was broken.
"""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from dataclasses import asdict, replace
from itertools import count, product
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from tests.crash import choice, hosts
from tests.crash.kinds import FAULTS, KINDS, POLICIES, Outcome, Scenario
from tests.crash.rehearsal import rehearsing
from tests.crash.scenario import moments, run_scenario
from tests.crash.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.crash.rehearsal import Rehearsal

    World = Callable[[Path], AbstractContextManager[Rehearsal]]


def main() -> None:
    """Play the wanted scenarios, in as many rehearsals at a time as the options say."""
    parser = argparse.ArgumentParser(prog="scripts/crash", description="Let deploys die at every moment there is.")
    parser.add_argument("--every", type=int, default=1, help="only every N-th moment")
    parser.add_argument("--only", choices=choice.FAMILIES, action="append", help="only these families of scenarios")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of deploys that die, only these kinds")
    parser.add_argument("--again", action="store_true", help="what follows dies too")
    parser.add_argument("--faults", action="store_true", help="the edge's API fails while it is finished or undone")
    parser.add_argument("--hosts", action="store_true", help="deploys die on three real hosts (root, Linux)")
    parser.add_argument("--count", type=int, default=40, help="with --hosts: at so many moments")
    parser.add_argument("--seed", type=int, default=1, help="with --hosts: which moments")
    parser.add_argument("--worlds", type=int, default=2, help="how many at a time")
    parser.add_argument("--results", type=Path, default=None, help="goes on where this file ends")
    said = parser.parse_args()
    results = said.results or Path(tempfile.mkdtemp(prefix="edgeguard-crash-")) / "results.jsonl"
    known = _known(results)
    families = ("deploys",) if said.hosts else tuple(dict.fromkeys(said.only or choice.FAMILIES))
    every = hosts.KINDS if said.hosts else KINDS
    kinds = tuple(dict.fromkeys(said.kind or every)) if "deploys" in families else ()
    world = _on_hosts if said.hosts else rehearsing
    with tempfile.TemporaryDirectory(prefix="edgeguard-crash-") as folder:
        lived = _lived(world, Path(folder), tuple({"good": None} | dict.fromkeys(kinds)), known, results)
        wanted: Queue[Scenario] = Queue()
        chosen = choice.by_chance(lived, said.count, said.seed, kinds) if said.hosts else ()
        for scenario in chosen or _wanted(said, lived, families, kinds):
            if str(scenario) not in known:
                wanted.put(scenario)
        print(f"{wanted.qsize()} scenarios to play; results are in {results}", flush=True)
        mutex = threading.Lock()
        threads = [
            threading.Thread(target=_play, args=(world, Path(folder) / f"rehearsal{number}", wanted, results, mutex))
            for number in range(said.worlds)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.exit(_summary(list(_known(results).values())))


def _on_hosts(folder: Path) -> AbstractContextManager[Rehearsal]:
    return hosts.rehearsing_on_hosts(folder, f"crash-{folder.name}")


def _lived(
    world: World, folder: Path, kinds: tuple[str, ...], known: dict[str, Any], results: Path
) -> dict[tuple[str, str], list[str]]:
    """Run each kind of deploy once to its end. Returns its moments."""
    lived = {(each["kind"], each["policy"]): each["moments"] for each in known.values() if "moments" in each}
    missing = [pair for pair in product(kinds, POLICIES) if pair not in lived]
    if not missing:
        return lived
    with world(folder / "alive") as rehearsal, Watch(rehearsal.ready["edge_url"], rehearsal.gate_urls) as watch:
        for kind, policy in missing:
            outcome = run_scenario(rehearsal, watch, Scenario(kind, policy))
            print(outcome, flush=True)
            lived[kind, policy] = moments(rehearsal.folder / "acts")
            _write(
                results,
                {"name": str(outcome.scenario), "kind": kind, "policy": policy, **_result(outcome)}
                | {"moments": lived[kind, policy]},
            )
    return lived


def _wanted(
    said: argparse.Namespace, lived: choice.Moments, families: tuple[str, ...], kinds: tuple[str, ...]
) -> Iterator[Scenario]:
    faults, moment = count(), count(20, 37)
    for family in families:
        for scenario in choice.every(lived, said.every, kinds, family):
            if said.again:
                yield replace(scenario, again=next(moment) % 400 + 1)
            elif said.faults:
                yield replace(scenario, fault=FAULTS[next(faults) % len(FAULTS)])
            else:
                yield scenario


def _play(world: World, folder: Path, wanted: Queue[Scenario], results: Path, mutex: threading.Lock) -> None:
    """Play scenarios in one rehearsal until none is left. A rehearsal that a scenario has broken is replaced."""
    for number in count():
        if wanted.empty():
            return
        place = folder.with_name(f"{folder.name}-{number}")
        with world(place) as rehearsal, Watch(rehearsal.ready["edge_url"], rehearsal.gate_urls) as watch:
            outcome: Outcome | None = None
            while outcome is None or outcome.whole:
                try:
                    scenario = wanted.get_nowait()
                except Empty:
                    return
                try:
                    outcome = run_scenario(rehearsal, watch, scenario)
                except Exception as exc:  # noqa: BLE001 (a trial that fails is a finding, and the next one goes on)
                    outcome = Outcome(scenario, wrong=[f"{type(exc).__name__}: {exc}"])
                with mutex:
                    print(outcome, flush=True)
                    _write(results, {"name": str(scenario), **_result(outcome)})


def _result(outcome: Outcome) -> dict[str, Any]:
    return {**asdict(outcome), "phase": outcome.phase}


def _write(results: Path, line: dict[str, Any]) -> None:
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _known(results: Path) -> dict[str, Any]:
    """The results so far, by the scenario's name. The last result of a name counts."""
    if not results.exists():
        return {}
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return {line["name"]: line for line in lines}


def _summary(played: list[dict[str, Any]]) -> int:
    """Print the summary. Returns the exit code."""
    died = [each for each in played if each["visible"]]
    bad = [each for each in played if each["wrong"]]
    points = {(each["scenario"]["kind"], each["scenario"]["policy"], each["scenario"]["at"]) for each in died}
    twice = sum("the hook started" in wrong for each in bad for wrong in each["wrong"])
    print(f"""
  moments at which a deploy was killed    {len(points)}
  scenarios                               {len(played)}
  ended whole                             {len(played) - len(bad)}
  longest outage of a cached page         {max((each["down"] for each in played), default=0.0):.2f} s
  hooks that ran twice                    {twice}""")
    for each in bad:
        print(f"  not whole: {each['name']} [{each['moment']}]: {'; '.join(each['wrong'])}")
    return 1 if bad else 0


if __name__ == "__main__":
    main()
