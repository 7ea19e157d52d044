"""The verbs about the application on its servers: logs."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.app import app
from edgeguard.cli.options import Name, Options, verb

if TYPE_CHECKING:
    from edgeguard.cluster.host.logs import Line

LINES = 100
"""So many lines of each server are shown where nobody says how many, or since when."""


@verb(app, "edgeguard logs production --since 10m --follow")
def logs(
    name: Name,
    options: Options,
    server: Annotated[
        list[str] | None, typer.Option("--server", help="Only this server's; may be repeated. [all servers]")
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=0, help=f"The last lines of each server. [{LINES}; with --since all]"),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="What is younger than 10m or 2h, or than 2027-01-15T08:00 here.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Show what the application writes, on all servers, each line with its server's name. It needs no token."""
    from edgeguard.cli.border import unread
    from edgeguard.cluster import logs as output
    from edgeguard.environment import cluster_alone

    _, cluster = cluster_alone(name, config=options.config)
    ago = None if since is None else _ago(since)
    found = output.sources(cluster, server or (), lines=LINES if lines is None and ago is None else lines, ago=ago)
    width = max(len(source.server) for source in found)
    told = False
    for where, line in output.merged(found):
        told = True
        _tell(options, where, line, width)
        if unread(sys.stdout):
            return
    if not follow:
        output.refuse_unread(found)
        if not told:
            options.teller()(f"{name}: the application has written nothing" + (f" since {since}" if since else ""))
        return
    for source in found:
        if source.failure is not None:
            options.teller()(f"{source.failure.message}; it is asked again")
    for coming in output.followed(found, options.teller()):
        if coming is not None:
            _tell(options, *coming, width)
        if unread(sys.stdout):
            return


def _tell(options: Options, server: str, line: Line, width: int) -> None:
    from edgeguard.times import rfc3339

    at = None if line.at is None else rfc3339(line.at)
    shown = [server.ljust(width), *([] if at is None else [at]), line.text]
    options.answer({"server": server, "at": at, "text": line.text}, "  ".join(shown))


def _ago(text: str) -> float:
    """How many seconds ago something was: a duration, or a moment of this machine's time zone unless it names one."""
    from edgeguard.settings import seconds

    try:
        return seconds(text)
    except ValueError:
        pass
    try:
        return max(0.0, time.time() - datetime.fromisoformat(text).astimezone().timestamp())
    except (ValueError, OverflowError, OSError) as exc:
        raise typer.BadParameter(f"--since {text}: neither a duration such as 10m nor a moment") from exc
