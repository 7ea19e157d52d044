"""The verb purge."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edgeguard.cli.app import app
from edgeguard.cli.options import Name, Options, accepted, verb


@verb(app, "edgeguard purge production --key news --url https://www.example.com/")
def purge(
    name: Name,
    options: Options,
    key: Annotated[list[str] | None, typer.Option("--key", help="A surrogate key; may be repeated.")] = None,
    url: Annotated[list[str] | None, typer.Option("--url", help="The address of a page; may be repeated.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="A file with a key on each line; - is stdin.")] = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Every page, a few at a time, slower while the origin is slow. With --hard: all at once."
        ),
    ] = False,
    hard: Annotated[
        bool,
        typer.Option("--hard", help="Remove the pages. Until they are fetched again, no grace covers them."),
    ] = False,
    accept: Annotated[list[str] | None, typer.Option(help="Go on although a refusal names this; repeatable.")] = None,
) -> None:
    """Have pages fetched anew: softly, so that they can still be served stale if that fails. Never while closed.

    --all --hard is Fastly's purge of everything: every page is asked of the origin at once, and if the origin fails
    then, there is nothing to serve.
    """
    from edgeguard.cli.say.purge import purged
    from edgeguard.machine.signals import Stop
    from edgeguard.purge.by_hand import by_hand
    from edgeguard.purge.closed import ACCEPTABLE
    from edgeguard.purge.given import wanted

    passed_over = accepted(accept, ACCEPTABLE)
    asked = wanted(keys=key or (), urls=url or (), file=file, every=every, hard=hard)
    environment, cluster = options.as_far_as_it_goes(name)
    stop, hear = Stop(last=True), options.progress()

    def told(text: str) -> None:
        hear({"event": "progress", "at": time.time(), "step": "purge", "text": text})

    with stop.listening():
        done = by_hand(environment, cluster, asked, accept=passed_over, told=told, stop=stop)
    for warning in () if options.as_json else done["warnings"]:
        options.warn(warning)
    options.done({"environment": name, **done}, purged(asked, done))
