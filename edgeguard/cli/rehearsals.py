"""The verbs that set a world up on this machine: rehearse, standin."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgeguard.cli.app import app
from edgeguard.cli.options import Json, Version, Voice, verb
from edgeguard.cli.output import print_json, print_text
from edgeguard.machine import signals
from edgeguard.standin.unimitated import NOT_IMITATED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from edgeguard.rehearsal.world import World


@verb(app, "edgeguard rehearse ./my-site --page / --page /news")
def rehearse(
    voice: Voice,
    repository: Annotated[
        Path | None, typer.Argument(metavar="[REPO]", help="A Git repository. [a bundled site]")
    ] = None,
    ref: Annotated[str | None, typer.Option("--ref", help="The commit to deploy. [HEAD]")] = None,
    application: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML: [application] with name, ignore, variables, relationships."),
    ] = None,
    driver: Annotated[
        str | None, typer.Option("--driver", metavar="NAME", help="What deploys to the servers. [the file's, or local]")
    ] = None,
    driver_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="TOML: [cluster], and the gate's address for the stand-in's edge: doctor.origin."
        ),
    ] = None,
    servers: Annotated[
        int | None, typer.Option(min=1, max=30, help="How many servers. [those of --driver-config, or 3]")
    ] = None,
    hook_seconds: Annotated[float, typer.Option(min=0, help="How long the bundled site's deploy hook takes.")] = 5,
    page: Annotated[list[str] | None, typer.Option(help="A path that visitors ask for; repeatable. [/]")] = None,
    unguarded: Annotated[
        Literal["edge", "claim"] | None, typer.Option(help="The same without the policy, or without a claim.")
    ] = None,
    fail: Annotated[
        Literal["claim", "swap", "hook", "check", "healthy"] | None, typer.Option(help="Plant a cause of failure.")
    ] = None,
    after_hook_failure: Annotated[
        Literal["stay-closed", "rollback"] | None,
        typer.Option(help="What follows when the hook or what comes after it fails. [stay-closed]"),
    ] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Set the world up, say where it is, and stay.")] = False,
) -> None:
    """Run a whole guarded deploy on this machine: a stand-in for Fastly, real servers, live visitors."""
    from edgeguard.cli.say.rehearsals import ready
    from edgeguard.errors import UsageError
    from edgeguard.rehearsal.application_settings import read
    from edgeguard.rehearsal.driver import choose
    from edgeguard.rehearsal.scene import Scene
    from edgeguard.rehearsal.world import World

    for option, given in (("--ref", ref), ("--application", application)):
        if given and repository is None:
            raise UsageError(f"{option} is about REPO, and no REPO is given", "Name the repository too.")
    if stay and (unguarded == "claim" or fail in ("claim", "swap")):
        raise UsageError(
            f"--stay deploys nothing, so {'--unguarded' if unguarded == 'claim' else '--fail'} has nothing to act on",
            "Leave one of the two out.",
        )
    chosen = choose(driver, driver_config)
    if servers is not None and "servers" in chosen.given:
        raise UsageError(f"--servers says how many, and {driver_config} names them", "Leave one of the two out.")
    if fail is not None and fail not in chosen.plantable:
        raise UsageError(
            f"a rehearsal can't make a {fail} of the driver {chosen.name} fail",
            f"With this driver, --fail can be {', '.join(chosen.plantable)}.",
        )
    pages = tuple(page or ())
    scene = Scene(
        repository,
        ref,
        servers,
        hook_seconds,
        unguarded,
        fail,
        pages,
        after_hook_failure,
        chosen,
        {} if application is None else read(application),
    )
    with _ended(World(scene, voice.progress() if stay else voice.events())) as world:
        world.begin()
        if not stay:
            voice.end(world.deploy())
        if voice.as_json:
            print_json(world.ready(), secrets=True)
        else:
            print_text(ready(world.ready()), secrets=True)
        signal.sigwait(signals.heeded())


@contextmanager
def _ended(world: World) -> Iterator[World]:
    """End a world, whatever happens in the block. Only the first signal is heard: a second Ctrl-C, or a terminal that
    says more than once that it goes away, must not leave half of this world behind."""

    def deafen() -> None:
        for number in signals.heeded():
            signal.signal(number, signal.SIG_IGN)

    def leave(_number: int, _frame: FrameType | None) -> None:
        deafen()
        raise KeyboardInterrupt

    try:
        try:
            for number in signals.heeded():
                signal.signal(number, leave)
            yield world
        finally:
            deafen()
    finally:  # also if the first signal comes only now
        world.end()


@app.command(
    epilog="Example: edgeguard standin --origin http://127.0.0.1:8080 --json\n\n"
    f"Calls of Fastly's API that are not imitated: {'; '.join(NOT_IMITATED)}."
)
def standin(
    origin: Annotated[str | None, typer.Option(help="What is behind it: http://HOST:PORT. [a page of its own]")] = None,
    api_port: Annotated[int, typer.Option(help="[a free one]")] = 0,
    edge_port: Annotated[int, typer.Option(help="[a free one]")] = 0,
    control_port: Annotated[int, typer.Option(help="[a free one]")] = 0,
    propagation: Annotated[float, typer.Option(min=0, help="Seconds until the edge sees a dictionary write.")] = 1,
    as_json: Json = False,
    version: Version = False,
) -> None:
    """Run the stand-in for Fastly alone, on loopback, until it is told to stop."""
    from edgeguard.standin.program import run

    run(
        origin,
        json_output=as_json,
        api_port=api_port,
        edge_port=edge_port,
        control_port=control_port,
        propagation=propagation,
    )
