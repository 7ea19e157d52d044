"""The verbs for a cluster by hand: cluster close, open, prepare and unprepare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli.app import group
from edgeguard.cli.options import Fenced, Name, Options, Without, verb, whole_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

cluster = group("cluster", "Close, open and prepare the cluster by hand.")


@verb(cluster, 'edgeguard cluster close production --for 2h --reason "the database moves"')
def close(
    name: Name,
    lasting: Annotated[str, typer.Option("--for", help="How long it is planned to last: 90s, 30m, 2h, 1d.")],
    reason: Annotated[str, typer.Option("--reason", help="Why: `deploy` says it when it refuses meanwhile.")],
    options: Options,
) -> None:
    """Lengthen the grace, see it confirmed at the edge, then close and drain. `deploy` refuses until it is open."""
    from edgeguard.cli.say.cluster import closed
    from edgeguard.deploy.by_hand import close as close_now
    from edgeguard.deploy.lost_servers import as_it_is

    environment = as_it_is(options.environment(name))
    done = close_now(environment, lasting=whole_seconds(lasting), reason=reason, say=_say(options))
    options.done(done, closed(name, done))


@verb(cluster, "edgeguard cluster open production", name="open")
def open_(name: Name, options: Options, without: Without = None, fenced: Fenced = None) -> None:
    """Start what does not run, open the release that was open last, once all is healthy; then give the grace back."""
    from edgeguard.cli.say.cluster import opened
    from edgeguard.deploy.by_hand import open_again
    from edgeguard.deploy.lost_servers import as_it_is

    environment = as_it_is(options.environment(name), without=without or (), fenced=fenced or ())
    done = open_again(environment, say=_say(options))
    options.done(done, opened(name, done))


@verb(cluster, "edgeguard cluster prepare production --dry-run")
def prepare(
    name: Name,
    options: Options,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Put on every server what deploys need: folders, units, the gate, the host program. Repeating it is harmless."""
    from edgeguard.cli.say.cluster import prepared
    from edgeguard.cluster.preparing import prepare as prepare_now
    from edgeguard.environment import cluster_alone

    _, servers = cluster_alone(name, config=options.config)
    done = prepare_now(servers, name, dry_run=dry_run)
    options.done({"environment": name, "dry_run": dry_run, "servers": done}, prepared(name, done, dry_run=dry_run))


@verb(cluster, "edgeguard cluster unprepare production --yes")
def unprepare(
    name: Name,
    options: Options,
    yes: Annotated[bool, typer.Option("--yes", help="Take it away; nothing serves there afterwards.")] = False,
) -> None:
    """Stop the application and the gate on every server, and take away what `prepare` put there. Images stay."""
    from edgeguard.cli.say.cluster import unprepared
    from edgeguard.cluster.preparing import unprepare as unprepare_now
    from edgeguard.environment import cluster_alone

    if not yes:
        raise typer.BadParameter(f"the application of {name} would be stopped on all servers: add --yes to do it")
    _, servers = cluster_alone(name, config=options.config)
    done = unprepare_now(servers, name)
    options.done({"environment": name, "servers": done}, unprepared(name, done))


def _say(options: Options) -> Callable[..., None]:
    hear = options.progress()

    def say(event: str, **facts: Any) -> None:  # noqa: ANN401 (JSON)
        hear({"event": event, **facts})

    return say
