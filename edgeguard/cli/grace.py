"""The verbs of support: grace show, extend, release."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edgeguard.cli.app import group
from edgeguard.cli.options import EdgeName, Options, Service, verb, whole_seconds

grace = group("grace", "How stale a page may be served when the origin fails.")

Who = Annotated[str, typer.Option("--who", help="Your name, for the audit and for --claim. [user@host]")]


@verb(grace, "edgeguard grace show production")
def show(
    options: Options,
    name: EdgeName = None,
    service: Service = None,
    audit: Annotated[int, typer.Option("--audit", min=0, help="Also the last N lines of the audit.")] = 0,
) -> None:
    """Show the grace in force, every live claim and its end, and what the edge says."""
    from edgeguard.errors import EdgeError
    from edgeguard.grace import show

    found = show.grace(options.edge_side_or_service(name, service), now=time.time(), audit_lines=audit)
    if options.as_json or "error" not in found:
        options.answer(found, show.text(found))
    for part in (found, found.get("edge") or {}):
        if "error" in part:
            raise EdgeError(part["error"], part["remedy"])


@verb(grace, 'edgeguard grace extend production --for 2h --reason "database moves"')
def extend(
    lasting: Annotated[str, typer.Option("--for", help="How long it is in force: 90s, 30m, 2h, 1d.")],
    options: Options,
    name: EdgeName = None,
    service: Service = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for `grace show` and the audit.")] = "",
    stale: Annotated[str | None, typer.Option("--grace", help="How stale a page may be. [base grace + --for]")] = None,
    who: Who = "",
    prolongs: Annotated[
        str | None, typer.Option("--claim", help="Instead of a new claim: prolong or shorten this one of yours.")
    ] = None,
) -> None:
    """Lengthen the grace: one write, confirmed at the edge. It ends by itself, and no deploy touches it."""
    from edgeguard.cli.say.grace import extended
    from edgeguard.grace.support import extend as claim

    seconds, stale_seconds = whole_seconds(lasting), None if stale is None else whole_seconds(stale)
    environment = options.edge_side_or_service(name, service)
    with options.fleeting() as progress:
        made = claim(
            environment,
            lasting=seconds,
            reason=reason,
            stale=stale_seconds,
            say=options.teller(),
            last=True,
            who=who,
            prolongs=prolongs,
            progress=progress,
        )
    options.done(made, extended(environment.name, made))


@verb(grace, "edgeguard grace release production support1")
def release(
    named: Annotated[
        list[str], typer.Argument(metavar="[ENV] ID", help="Which claim: support1 … support8, as `grace show` has it.")
    ],
    options: Options,
    service: Service = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")] = "released by hand",
    who: Who = "",
) -> None:
    """Give one claim back before its time."""
    from edgeguard.cli.say.grace import released
    from edgeguard.grace.support import release as give_back

    *names, slot = named
    if len(names) > 1:
        raise typer.BadParameter(f"expected [ENV] ID; what is {' and '.join(names[1:])}?")
    environment = options.edge_side_or_service(names[0] if names else None, service)
    done = give_back(environment, slot, reason=reason, who=who, say=options.teller(), last=True)
    options.done(done, released(environment.name, slot, done))
