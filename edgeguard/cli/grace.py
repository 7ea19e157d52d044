"""The verbs of support: grace show, extend, release."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edgeguard.cli import app
from edgeguard.cli.options import Config, Json, Name, Quiet, State, Verbose, Version
from edgeguard.cli.output import print_json

grace = typer.Typer(
    help="How stale a page may be served when the origin fails.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(grace, name="grace")


def _duration(text: str) -> int:
    from edgeguard.settings import seconds  # noqa: PLC0415

    try:
        return int(seconds(text))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


@grace.command(epilog="Example: edgeguard grace show production")
def show(
    name: Name,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """The grace in force, every live claim and its end, and what the edge says."""
    from edgeguard.environment import EdgeSide  # noqa: PLC0415
    from edgeguard.errors import EdgeError  # noqa: PLC0415
    from edgeguard.status import grace_status, grace_text  # noqa: PLC0415

    found = grace_status(EdgeSide.open(name, config=config, state=state), now=time.time())
    if as_json:
        print_json(found)
    elif "error" not in found:
        typer.echo(grace_text(found))
    if "error" in found:
        raise EdgeError(found["error"])


@grace.command(epilog='Example: edgeguard grace extend production --for 2h --reason "database moves"')
def extend(
    name: Name,
    lasting: Annotated[str, typer.Option("--for", help="How long it is in force: 90s, 30m, 2h, 1d.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit line.")],
    stale: Annotated[str | None, typer.Option("--grace", help="How stale a page may be. [base grace + --for]")] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Lengthen the grace: one write, confirmed at the edge, over by itself, untouched by deploys."""
    from edgeguard.claims import extend as claim  # noqa: PLC0415
    from edgeguard.environment import EdgeSide  # noqa: PLC0415
    from edgeguard.status import duration  # noqa: PLC0415

    environment = EdgeSide.open(name, config=config, state=state)
    stale_seconds = None if stale is None else _duration(stale)
    made = claim(environment, lasting=_duration(lasting), reason=reason, stale=stale_seconds)
    if as_json:
        print_json(made)
    else:
        typer.echo(
            f"{made['slot']}: pages of {name} may be served {duration(made['grace'])} stale, until {made['until']}; "
            f"confirmed after {made['confirmed_seconds']} s by {', '.join(made['nodes'])}"
        )


@grace.command(epilog="Example: edgeguard grace release production support1")
def release(
    name: Name,
    slot: Annotated[str, typer.Argument(help="Which claim: support1 … support8, as `grace show` lists them.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit line.")] = "released by hand",
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Give one claim back before its time."""
    from edgeguard.claims import release as give_back  # noqa: PLC0415
    from edgeguard.environment import EdgeSide  # noqa: PLC0415

    done = give_back(EdgeSide.open(name, config=config, state=state), slot, reason=reason)
    if as_json:
        print_json(done)
    else:
        typer.echo(f"{slot} of {name} is free; confirmed by {', '.join(done['nodes'])}")
