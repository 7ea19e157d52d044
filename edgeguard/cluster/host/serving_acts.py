"""What a caller over a connection may ask of a server that systemd runs: its state, the swap, the gate, the hook."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import (
    acts,
    compiled,
    environment,
    facts,
    fence,
    files,
    generations,
    health,
    homes,
    hooks,
    images,
    logins,
    logs,
    prepare,
    reach,
    receive,
    room,
    sockets,
    takes,
    tasks,
    units,
    waiting,
    web,
)
from edgeguard.cluster.host.errors import NOT_CLOSED, UNHEALTHY, HostError
from edgeguard.cluster.host.fence import Caller
from edgeguard.cluster.host.haproxy import Gate
from edgeguard.cluster.host.prepared import Prepared
from edgeguard.cluster.host.session import Act

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CLOSURE: dict[str, files.Kinds] = {"deploy": (str,), "until": files.NUMBER}
_ENTROPY = "PLATFORM_PROJECT_ENTROPY"
PATIENCE = 1.0
"""Seconds for which one question about health waits for a good answer."""


def state(folder: Path) -> dict[str, Any]:
    """As ServerState, without the name."""
    name = generations.current(folder)
    gate = Gate(folder)
    found = {None if one is None else generations.read(folder, one).release for one in web.running(folder)}
    prepared = (folder / "prepared.json").exists()
    return {
        "generation": name,
        "release": None if name is None else generations.read(folder, name).release,
        "running": found.pop() if len(found) == 1 else None,
        "open": prepared and gate.opened(),
        "deaths": web.deaths(folder),
        "gate": prepared and gate.alive(),
        "supervisor": prepared and web.kept(folder),
    }


def healthy(folder: Path, *, generation: str, path: str, limit: float, waited: float) -> dict[str, Any]:
    """What the application says so far, or null and the server's `state` where it is healthy: `health.wait` for a
    caller that has `waited` so many of `limit` seconds."""
    prepared = Prepared.of(folder)
    said = health.wait(
        folder,
        generation,
        lambda: web.supervised(folder),
        address=sockets.address(folder, generation, prepared.port),
        path=path,
        limit=limit,
        waited=waited,
        patience=PATIENCE,
    )
    current = generations.current(folder)
    if said is None and current != generation:
        raise HostError(f"{current} is current, not {generation}", code=UNHEALTHY)
    return {"said": said, "state": state(folder) if said is None else None}


def swap(folder: Path, *, caller: list[int], generation: str | None = None, note: dict[str, Any] | None = None) -> None:
    """As the driver's `swap`, on this server."""
    with _fenced(folder, caller, note):
        if not web.runs_only(folder, generation):
            _refuse_while_open(folder, "swap")
            hooks.refuse_while_one_runs(folder)
            if generations.current(folder) != generation and tasks.allowed(folder):
                tasks.stop(folder)
            web.swap(folder, generation)
        else:
            logins.end_revoked(folder, ())  # a swap that died may not have come to it


def touch(folder: Path, *, caller: list[int], note: dict[str, Any] | None = None) -> None:
    """Nothing but the note: whether this caller may act here."""
    with _fenced(folder, caller, note):
        pass


def free(folder: Path, *, caller: list[int], note: dict[str, Any] | None = None) -> None:
    """As `touch`. Refuse while a deploy hook runs here."""
    with _fenced(folder, caller, note):
        hooks.refuse_while_one_runs(folder)


def stand(folder: Path, *, caller: list[int], note: dict[str, Any] | None = None) -> dict[str, Any]:
    """As `free`, and then as `state`: how this server stands before its gate is opened."""
    with _fenced(folder, caller, note):
        hooks.refuse_while_one_runs(folder)
    return state(folder)


def entropy(folder: Path) -> str | None:
    """The environment's PLATFORM_PROJECT_ENTROPY, as the first deploy has brought it; None before."""
    said = files.read(folder / "entropy.json", {"text": (str,)})
    return None if said is None else str(said["text"])


def whole(_folder: Path, *, image: str, release: str, whole: bool) -> None:
    """Refuse an image that is not this release's, or (`whole`) not as it was built."""
    images.refuse_other(Path(image), release, whole=whole)


def stage(folder: Path, *, caller: list[int], **said: Any) -> None:  # noqa: ANN401 - JSON
    """Write a generation beside the others, its HOME, and the server's own folders."""
    wanted = acts.described(**said)
    Prepared.of(folder)  # a server that is not prepared could not be closed
    with _fenced(folder, caller):
        reach.make(wanted.runs.folders, accounts.to_become(wanted.runs.user))
        program = Path(sys.argv[0])
        compiled.link(folder / "program", program)  # the units' own work is done by the version that deploys
        generations.put(folder, wanted, program=compiled.beside(program))
        kept = wanted.variables.get(_ENTROPY)
        if kept is not None and not (folder / "entropy.json").exists():
            files.write(folder / "entropy.json", {"text": kept})
        homes.seed(folder, wanted)
    if wanted.runs.user is not None:
        reach.refuse_unfit(
            wanted.runs.user,
            (sys.executable, "-I", "-S", sys.argv[0]),
            reads=[wanted.image / part for part in images.CONTENT],
            writes=[homes.place(folder, wanted.name), *wanted.runs.folders],
        )


def close(
    folder: Path,
    *,
    caller: list[int],
    deploy: str | None = None,
    until: float | None = None,
    note: dict[str, Any] | None = None,
) -> None:
    """The gate refuses. One that is dead is started. Without a closure it tells the one that it told before."""
    with _fenced(folder, caller, note):
        told = files.read(folder / "closure.json", _CLOSURE) or {"deploy": "none", "until": 0.0}
        if deploy is not None:
            told = {"deploy": deploy, "until": until or 0.0}
            files.write(folder / "closure.json", told)
        Gate(folder).close(told["deploy"], told["until"])
        _living_gate(folder)


def in_flight(folder: Path, *, caller: list[int]) -> int:
    """How many requests that were let through before the close are not answered yet."""
    with _fenced(folder, caller):
        _refuse_while_open(folder, "drain")
    return Gate(folder).in_flight()


def cut(folder: Path, *, caller: list[int]) -> int:
    """Break the connections of the requests that are not answered yet. Returns how many there were."""
    with _fenced(folder, caller):
        _refuse_while_open(folder, "drain")
        return Gate(folder).cut()


def open_gate(folder: Path, *, caller: list[int], generation: str, note: dict[str, Any] | None = None) -> bool:
    """Let requests through, if this generation runs and nothing else. Returns whether it has background tasks."""
    with _fenced(folder, caller, note):
        hooks.refuse_while_one_runs(folder)
        found = generations.current(folder)
        if found != generation or web.running(folder) != {generation}:
            raise HostError(f"it does not run {generation}: {found} is current", code=UNHEALTHY)
        opened = generations.read(folder, generation)
        _living_gate(folder).open(opened.release)
    return bool(opened.runs.tasks)


def start_tasks(folder: Path, *, caller: list[int], generation: str, crons: bool) -> None:
    """Let the background tasks of this generation run, crons too if they run on this server. The gate is open."""
    with _fenced(folder, caller):
        if generations.current(folder) != generation or not Gate(folder).opened():
            raise HostError(f"no task of {generation} may start: the gate is closed, or another generation is current")
        tasks.allow(folder, crons=crons)


def stop_tasks(folder: Path, *, caller: list[int]) -> int:
    """End the background tasks; none starts before `start_tasks`. Returns how many ran."""
    with _fenced(folder, caller):
        return tasks.stop(folder)


def run_hook(
    folder: Path,
    *,
    caller: list[int],
    generation: str,
    hook: str,
    limit: float,
    nonce: str,
    keep: int = hooks.KEPT,
    note: dict[str, Any] | None = None,
) -> None:
    """Start a hook of the current generation, in a systemd unit of its own. The same nonce again is the same start."""
    prepared = Prepared.of(folder)
    with _fenced(folder, caller, note):
        if generations.current(folder) != generation:
            raise HostError(f"{generation} is not current here")
        if hook == "deploy":
            _refuse_while_open(folder, "run the deploy hook")
        own = environment.own(folder, generation, prepared.server, prepared.port)
        order = hooks.Order(generation, hook, own, limit, nonce, keep)
        hooks.start(folder, order, _in_a_unit(prepared, nonce))


def ready_hook(folder: Path, *, caller: list[int], nonce: str) -> None:
    """Start the wrapper of the next hook that this very process starts. It ends with this process, if it gets no
    order."""
    prepared = Prepared.of(folder)
    with _fenced(folder, caller):
        waiting.make_ready(folder, _in_a_unit(prepared, nonce))


def _in_a_unit(prepared: Prepared, nonce: str) -> tuple[str, ...]:
    """What runs this package in a unit of its own."""
    unit = units.transient(f"eg-{prepared.environment}-hook-{nonce}")
    return (*unit, sys.executable, "-I", "-S", str(compiled.beside(Path(sys.argv[0]))))


def startable(folder: Path) -> dict[str, Any]:
    """The generation that is current (or null), and the hooks that it has."""
    name = generations.current(folder)
    return {"generation": name, "hooks": [] if name is None else sorted(generations.read(folder, name).runs.hooks)}


def claim_hook(
    folder: Path, *, caller: list[int], generation: str, hook: str, again: bool, note: dict[str, Any] | None = None
) -> None:
    """The note, before a hook starts on one of the servers. Refuse a deploy hook while the gate is open, any while one
    runs here, and, unless it is to start `again`, one that was started here before."""
    with _fenced(folder, caller, note):
        if hook == "deploy":
            _refuse_while_open(folder, "run the deploy hook")
        hooks.refuse_while_one_runs(folder)
        if not again:
            hooks.refuse_second(folder, generation, hook)


def forget_hook(folder: Path, *, caller: list[int], generation: str, hook: str) -> None:
    """Forget that a hook was started here."""
    with _fenced(folder, caller):
        hooks.refuse_while_one_runs(folder)
        hooks.forget(folder, generation, hook)


def prune(folder: Path, *, caller: list[int], keep: list[str], releases: str) -> None:
    """Remove the generations that are not kept, the images that none of the others has, and what is left of transfers
    that ended."""
    with _fenced(folder, caller):
        used = set()
        for name in generations.names(folder):
            if name in {*keep, generations.current(folder)}:
                used.add(str(generations.read(folder, name).image))
            else:
                sockets.remove(folder, name)
                generations.remove(folder, name)
        receive.prune(Path(releases), used)


def missing(folder: Path, *, prepared: dict[str, Any], gate: str, without_tasks: bool | None = None) -> list[str]:
    """What `edgeguard cluster prepare` would do here."""
    wanted = Prepared.told(prepared)
    return prepare.missing(folder, wanted, gate, without_tasks=bool(without_tasks))


def make_ready(folder: Path, *, prepared: dict[str, Any], gate: str) -> list[str]:
    """Do it. Returns what was done."""
    with fence.locked(folder):
        return prepare.prepare(folder, Prepared.told(prepared), gate, Path(sys.argv[0]))


def take_away(folder: Path, *, prepared: dict[str, Any]) -> list[str]:
    """Undo it."""
    with fence.locked(folder):
        return prepare.unprepare(folder, Prepared.told(prepared))


def variables(folder: Path) -> dict[str, dict[str, int]]:
    """The names of what each process of the current generation finds in its environment, with the values' bytes."""
    prepared = Prepared.of(folder)
    return environment.sizes(folder, prepared.server, prepared.port)


def who_logs_in(folder: Path, *, generation: str | None = None) -> dict[str, Any]:
    """Who may log in now, or with another generation, by which keys, and how many processes each of them has here."""
    found = logins.ways(folder / "generations" / generation if generation else folder / "current")
    return {"keys": [[way.name, way.key] for way in found], "open": logins.open_now(folder)}


def let_in(folder: Path, *, caller: list[int], wanted: dict[str, Any]) -> None:
    """Let these people log in from now on, and nobody else. `wanted` has their keys by their names."""
    Prepared.of(folder)
    with _fenced(folder, caller):
        logins.apply(folder, wanted)


@contextmanager
def _fenced(folder: Path, caller: list[int], note: Mapping[str, Any] | None = None) -> Iterator[None]:
    who = Caller(*caller)
    with fence.fenced(folder, who):
        if note is not None:
            fence.write_record(folder, who.epoch, note)
        yield


def _living_gate(folder: Path) -> Gate:
    """The gate, which is started where it is dead."""
    gate = Gate(folder)
    if not gate.alive():
        Prepared.of(folder).gate_unit.start()
    return gate


def _refuse_while_open(folder: Path, act: str) -> None:
    if Gate(folder).opened():
        raise HostError(f"the gate is open: refused to {act}", "Close it first.", code=NOT_CLOSED)


_CHANGE = {"caller": takes.caller}
_NOTED = {**_CHANGE, "note": takes.perhaps(takes.an_object)}
_HOOK = {"generation": takes.name, "hook": takes.name}
ACTS = {
    "state": Act(state, {}, slow=True),
    "facts": Act(facts.facts, facts.TAKES, slow=True),
    "logs": Act(logs.journal, logs.TAKES, slow=True),
    "entropy": Act(entropy, {}),
    "healthy": Act(
        healthy,
        {"generation": takes.name, "path": takes.path, "limit": takes.seconds, "waited": takes.seconds},
        slow=True,
    ),
    "unready": Act(room.unready, room.TAKES),
    "touch": Act(touch, _NOTED),
    "free": Act(free, _NOTED),
    "stand": Act(stand, _NOTED),
    "whole": Act(whole, {"image": takes.path, "release": takes.text, "whole": takes.flag}, slow=True),
    "stage": Act(stage, acts.STAGED),
    "swap": Act(swap, {**_NOTED, "generation": takes.perhaps(takes.name)}),
    "close": Act(close, {**_NOTED, "deploy": takes.perhaps(takes.text), "until": takes.perhaps(takes.seconds)}),
    "in_flight": Act(in_flight, _CHANGE),
    "cut": Act(cut, _CHANGE),
    "open": Act(open_gate, {**_NOTED, "generation": takes.name}),
    "tasks": Act(tasks.tell, {}, slow=True),
    "start_tasks": Act(start_tasks, {**_CHANGE, "generation": takes.name, "crons": takes.flag}),
    "stop_tasks": Act(stop_tasks, _CHANGE),
    "run_hook": Act(run_hook, {**_NOTED, **_HOOK, "limit": takes.seconds, "nonce": takes.name, "keep": takes.whole}),
    "ready_hook": Act(ready_hook, {**_CHANGE, "nonce": takes.name}),
    "startable": Act(startable, {}),
    "claim_hook": Act(claim_hook, {**_NOTED, **_HOOK, "again": takes.flag}),
    "forget_hook": Act(forget_hook, {**_CHANGE, **_HOOK}),
    "prune": Act(prune, {**_CHANGE, "keep": takes.names, "releases": takes.path}),
    "variables": Act(variables, {}),
    "who_logs_in": Act(who_logs_in, {"generation": takes.perhaps(takes.name)}),
    "let_in": Act(let_in, {**_CHANGE, "wanted": takes.texts_by_name}),
    "missing": Act(
        missing,
        {"prepared": takes.an_object, "gate": takes.text, "without_tasks": takes.perhaps(takes.flag)},
        slow=True,
    ),
    "prepare": Act(make_ready, {"prepared": takes.an_object, "gate": takes.text}, slow=True),
    "unprepare": Act(take_away, {"prepared": takes.an_object}, slow=True),
}
"""Every one of these acts by its name."""
