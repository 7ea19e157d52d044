"""The verbs about the application on its servers: logs, run."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.app import app
from edgeguard.cli.options import Name, Options, verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.cluster.foreground import Ends
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
    task: Annotated[
        str | None, typer.Option("--task", help="What this worker or cron writes. [what the web process writes]")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Show what the application writes, on all servers, each line with its server's name. It needs no token."""
    from edgeguard.cli.border import unread
    from edgeguard.cluster import logs as output
    from edgeguard.environment import cluster_alone

    _, cluster = cluster_alone(name, config=options.config)
    ago = None if since is None else _ago(since)
    found = output.sources(
        cluster, server or (), lines=LINES if lines is None and ago is None else lines, ago=ago, task=task
    )
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
            who = "the application" if task is None else task
            options.teller()(f"{name}: {who} has written nothing" + (f" since {since}" if since else ""))
        return
    for source in found:
        if source.failure is not None:
            options.teller()(f"{source.failure.message}; it is asked again")
    for coming in output.followed(found, options.teller()):
        if coming is not None:
            _tell(options, *coming, width)
        if unread(sys.stdout):
            return


@verb(app, "edgeguard run production -- python3 manage.py check")
def run(
    name: Name,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="The command, with its arguments, after a --.")
    ],
    options: Options,
    server: Annotated[str | None, typer.Option("--server", help="Where. [the server on which hooks run]")] = None,
) -> None:
    """Run a command with the application's environment, on one server. Its exit code comes back. It needs no token."""
    from edgeguard.cluster import foreground
    from edgeguard.environment import cluster_alone

    settings, cluster = cluster_alone(name, config=options.config)
    where = server or settings.cluster.hook_on(cluster.servers)
    driver, state = foreground.able(cluster, where)
    if not state.open:
        options.warn(f"{name} is closed on {where}; the command runs all the same")
    ends = foreground.Ends(_writer(1), _writer(2), _input())
    with _passed_on(ends):
        ended = driver.run(where, command, ends)
    if ended.swapped:
        options.warn(f"a deploy has ended the command: another release is current on {where}")
    if options.as_json:
        options.answer({"server": where, "command_exit_code": ended.code}, "")
    raise typer.Exit(ended.code)


@verb(app, "edgeguard environment production")
def environment(
    name: Name,
    options: Options,
    server: Annotated[str | None, typer.Option("--server", help="Where. [the server on which hooks run]")] = None,
) -> None:
    """Show what the application's processes find in their environment, and where each variable comes from. Values are
    hidden: only their lengths are told. It needs no token."""
    from edgeguard.cli.say.variables import told
    from edgeguard.cluster import variables
    from edgeguard.environment import cluster_alone

    settings, cluster = cluster_alone(name, config=options.config)
    where = server or settings.cluster.hook_on(cluster.servers)
    found = variables.able(cluster, name).variables(where)
    processes = {
        who: {each: {"bytes": size, "from": variables.source(each, settings.application)} for each, size in own.items()}
        for who, own in found.items()
    }
    options.answer({"environment": name, "server": where, "processes": processes}, told(name, where, processes))


def _writer(descriptor: int) -> Callable[[bytes], None]:
    """Writes a command's output as it is. A reader that is gone ends the command."""
    from edgeguard.cluster.host.foreground import SIGNALLED
    from edgeguard.errors import UsageError

    def write(content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                select.select([], [descriptor], [])
            except BrokenPipeError:
                raise typer.Exit(SIGNALLED + signal.SIGPIPE) from None
            except OSError as exc:
                said = f"the command's output can't be written here: {exc.strerror}; it was ended"
                raise UsageError(said, "Make room, or let it write elsewhere.") from exc

    return write


def _input() -> int | None:
    """This process's input; None where another program has the terminal: reading would stop this one."""
    if os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp():
        return None
    return 0


@contextmanager
def _passed_on(ends: Ends) -> Iterator[None]:
    """Let this process's signals go to the command."""
    from edgeguard.machine.signals import heeded

    old = {number: signal.signal(number, lambda got, _frame: ends.signals.append(got)) for number in heeded()}
    try:
        yield
    finally:
        for number, action in old.items():
            signal.signal(number, action)


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
