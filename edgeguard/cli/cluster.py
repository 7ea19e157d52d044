"""The verbs that close and open a cluster by hand."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgeguard.cli import app
from edgeguard.cli.options import Config, Fenced, Json, Name, Quiet, State, Verbose, Version, Without, whole_seconds
from edgeguard.cli.output import listener, print_json, print_text

cluster = typer.Typer(help="Close and open the cluster by hand.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(cluster, name="cluster")


@cluster.command(epilog='Example: edgeguard cluster close production --for 2h --reason "the database moves"')
def close(
    name: Name,
    lasting: Annotated[str, typer.Option("--for", help="How long it is planned to last: 90s, 30m, 2h, 1d.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, as whoever is refused meanwhile is told.")],
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Lengthen the grace, see it confirmed at the edge, then close and drain. `deploy` refuses until it is open."""
    from edgeguard.deploy.by_hand import close as close_now
    from edgeguard.deploy.lost_servers import as_it_is
    from edgeguard.environment import Environment

    environment = as_it_is(Environment.open(name, config=config, state=state))
    say = _say(quiet=quiet or as_json, verbose=verbose)
    done = close_now(environment, lasting=whole_seconds(lasting), reason=reason, say=say)
    if as_json:
        print_json(done)
    else:
        ends = f" until {done['grace']['until']}" if "until" in done["grace"] else ""
        print_text(
            f"{name} is closed, as planned until {done['closure']['until']}; the edge serves the copies it has{ends}"
            f"\nedgeguard cluster open {name} opens it"
        )


@cluster.command("open", epilog="Example: edgeguard cluster open production")
def open_(
    name: Name,
    without: Without = None,
    fenced: Fenced = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Open the release that was open last, once every server is healthy; then give the grace back."""
    from edgeguard.deploy.by_hand import open_again
    from edgeguard.deploy.lost_servers import as_it_is
    from edgeguard.environment import Environment
    from edgeguard.times import short

    environment = Environment.open(name, config=config, state=state)
    environment = as_it_is(environment, without=without or (), fenced=fenced or ())
    done = open_again(environment, say=_say(quiet=quiet or as_json, verbose=verbose))
    if as_json:
        print_json(done)
    else:
        print_text(f"{name} is open, healthy, and on {short(done['opened'])}; the grace is given back")
        for server in done["without"]:
            print_text(f"{server} is left out until a deploy brings it back")


def _say(*, quiet: bool, verbose: bool) -> Any:  # noqa: ANN401 (a listener of events)
    hear = listener(as_json=False, quiet=quiet, verbose=verbose)
    return lambda event, **facts: hear({"event": event, **facts})
