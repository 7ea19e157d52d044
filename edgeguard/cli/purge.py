"""The verb purge."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli import app
from edgeguard.cli.options import Config, Json, Name, Quiet, State, Verbose, Version, accepted
from edgeguard.cli.output import listener, print_json, print_text

if TYPE_CHECKING:
    from edgeguard.purge import Purge


@app.command(epilog="Example: edgeguard purge production --key news --url https://www.example.com/")
def purge(
    name: Name,
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
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Have pages fetched anew: softly, so that they can still be served stale if that fails. Never while closed.

    --all --hard is Fastly's purge of everything: every page is asked of the origin at once, and if the origin fails
    then, there is nothing to serve.
    """
    from edgeguard.environment import as_far_as_it_goes
    from edgeguard.machine.signals import Stop
    from edgeguard.purge.by_hand import by_hand
    from edgeguard.purge.closed import ACCEPTABLE
    from edgeguard.purge.given import wanted

    passed_over = accepted(accept, ACCEPTABLE)
    asked = wanted(keys=key or (), urls=url or (), file=file, every=every, hard=hard)
    environment, cluster = as_far_as_it_goes(name, config=config, state=state)
    stop = Stop()
    tell = listener(as_json=False, quiet=quiet or as_json, verbose=verbose)

    def told(text: str) -> None:
        tell({"event": "progress", "at": time.time(), "step": "purge", "text": text})

    with stop.listening():
        done = by_hand(environment, cluster, asked, accept=passed_over, told=told, stop=stop)
    if as_json:
        print_json({"environment": name, **done})
        return
    for warning in done["warnings"]:
        print_text(f"  ! {warning}", err=True)
    print_text(_text(done, asked))


def _text(done: dict[str, Any], asked: Purge) -> str:
    """What was purged, for people; Fastly's support asks for the ids."""
    from edgeguard.purge import listed

    what = [_counted(len(asked.keys), "key")] if asked.keys else []
    what += [_counted(len(asked.urls), "URL")] if asked.urls else []
    what += ["every page"] if asked.groups or asked.everything else []
    twice = ", twice as the service may be shielded" if done["second_pass"] else ""
    how = f"in {_counted(done['requests'], 'request')}{twice}"
    return f"{'soft' if asked.soft else 'hard'}-purged {' and '.join(what)} {how}" + (
        f"; ids {listed(done['ids'])}" if done["ids"] else ""
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
