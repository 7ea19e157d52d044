"""How a scenario has to end: what serves, and that nothing is under way or left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.crash.observer import STATUS, ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.crash.scenario import Outcome
    from tests.crash.world import World

TAKEN_BACK, LEFT_OVER = 10, 12
"""Exit codes: the previous release serves again; the deploy is done, but not all that follows it."""


def due(world: World, outcome: Outcome, command: str, code: int, found: Mapping[str, Any]) -> str:
    """What has to serve after a command that ended well, by its name; empty where that can't be told. `found`: the
    newest record on the servers when it was called."""
    left = found.get("deploy")
    if code == TAKEN_BACK:
        return outcome.old
    if command == "deploy":
        return outcome.new
    if command == "resume":
        if left is None:
            return world.named(found["opened"]["release"])
        return "hook" if left["release"] == world.digests["hook"] else outcome.new
    return outcome.old if left else world.named(found["before"]["release"])


def settled(world: World, outcome: Outcome) -> Iterator[str]:
    """At the end: one release everywhere and open, the one that is due; nobody's lock, nothing unfinished, the base
    grace."""
    newest = world.newest()
    for key in ("lock", "deploy", "closure"):
        if newest.get(key):
            yield f"at the end there is a {key}: {newest[key]}"
    answers = {name: ask(url) for name, url in world.server_urls().items()} | {"the gate": ask(world.gate_url)}
    outcome.serves = world.named(answers["the gate"].release)
    if len({answer.release for answer in answers.values()}) != 1 or any(each.broken for each in answers.values()):
        yield "at the end: " + ", ".join(f"{name} {each.release} ({each.status})" for name, each in answers.items())
    elif outcome.due and outcome.serves != outcome.due:
        yield f"at the end {outcome.serves} serves, not {outcome.due}"
    if outcome.ended == LEFT_OVER:  # the claim ends by itself
        return
    status = ask(world.ready["edge_url"], *STATUS).words
    if not status or status["grace"] != status["base"]:
        yield f"at the end the edge shows {status}"
