"""The verbs of support: grace show, extend, release."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli import app
from edgeguard.cli.options import Config, Json, Quiet, State, Verbose, Version, whole_seconds
from edgeguard.cli.output import print_json, print_text, teller

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.environment import EdgeSide

grace = typer.Typer(
    help="How stale a page may be served when the origin fails.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(grace, name="grace")

EdgeName = Annotated[str | None, typer.Argument(metavar="ENV", help="The environment: config/ENV.toml.")]
Service = Annotated[
    str | None,
    typer.Option("--service", help="Instead of ENV: a Fastly service's id. Everything is read from the service."),
]


def _edge_side(name: str | None, service: str | None, config: Path | None, state: Path | None) -> EdgeSide:
    from edgeguard.environment import EdgeSide, ServiceOnly

    if service is None and name is not None:
        return EdgeSide.open(name, config=config, state=state)
    if service is not None and name is None:
        return ServiceOnly.read(service, state=state)
    raise typer.BadParameter("name an environment, or a service with --service, and not both")


@grace.command(epilog="Example: edgeguard grace show production")
def show(
    name: EdgeName = None,
    service: Service = None,
    audit: Annotated[int, typer.Option("--audit", min=0, help="Also the last N lines of the audit.")] = 0,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """The grace in force, every live claim and its end, and what the edge says."""
    from edgeguard.errors import EdgeError
    from edgeguard.grace import show

    found = show.grace(_edge_side(name, service, config, state), now=time.time(), audit_lines=audit)
    if as_json:
        print_json(found)
    elif "error" not in found:
        print_text(show.text(found))
    for part in (found, found.get("edge") or {}):
        if "error" in part:
            raise EdgeError(part["error"], part["remedy"])


@grace.command(epilog='Example: edgeguard grace extend production --for 2h --reason "database moves"')
def extend(
    lasting: Annotated[str, typer.Option("--for", help="How long it is in force: 90s, 30m, 2h, 1d.")],
    name: EdgeName = None,
    service: Service = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for `grace show` and the audit.")] = "",
    stale: Annotated[str | None, typer.Option("--grace", help="How stale a page may be. [base grace + --for]")] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Lengthen the grace: one write, confirmed at the edge, over by itself, untouched by deploys."""
    from edgeguard.grace.support import extend as claim
    from edgeguard.times import duration

    seconds, stale_seconds = whole_seconds(lasting), None if stale is None else whole_seconds(stale)
    environment = _edge_side(name, service, config, state)
    made = claim(environment, lasting=seconds, reason=reason, stale=stale_seconds, say=teller(quiet=quiet))
    if as_json:
        print_json(made)
    else:
        print_text(
            f"{made['id']}: pages of {environment.name} may be served {duration(made['grace'])} stale, until "
            f"{made['until']}; confirmed after {made['confirmed_seconds']} s by {', '.join(made['nodes'])}"
        )


@grace.command(epilog="Example: edgeguard grace release production support1")
def release(
    named: Annotated[
        list[str], typer.Argument(metavar="[ENV] ID", help="Which claim: support1 … support8, as `grace show` has it.")
    ],
    service: Service = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")] = "released by hand",
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Give one claim back before its time."""
    from edgeguard.grace.support import release as give_back

    *names, slot = named
    if len(names) > 1:
        raise typer.BadParameter(f"expected [ENV] ID; what is {' and '.join(names[1:])}?")
    environment = _edge_side(names[0] if names else None, service, config, state)
    done = give_back(environment, slot, reason=reason)
    if as_json:
        print_json(done)
    elif done["released"]:
        print_text(f"{slot} of {environment.name} is free; confirmed by {', '.join(done['nodes'])}")
    else:
        print_text(f"{slot} of {environment.name} held no claim that is in force; nothing was written")
