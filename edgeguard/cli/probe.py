"""The verb of monitors: probe. Its exit codes are theirs: 0 OK, 1 warning, 2 critical, 3 unknown."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from edgeguard.cli.app import app
from edgeguard.cli.border import harmless
from edgeguard.cli.options import ONE_OF_BOTH, EdgeName, Options, Service, verb
from edgeguard.errors import EdgeguardError, UsageError
from edgeguard.machine.redaction import redacted
from edgeguard.machine.signals import heeded, ignore_all
from edgeguard.monitor import CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeguard.monitor import Limits
    from edgeguard.settings import EdgeOnlySettings

UNKNOWN = 3


class Format(StrEnum):
    """The languages of monitors."""

    text = "text"
    json = "json"
    nagios = "nagios"
    prometheus = "prometheus"


@verb(app, "edgeguard probe production --format nagios -w 30m -c 10m")
def probe(
    options: Options,
    name: EdgeName = None,
    service: Service = None,
    url: Annotated[
        str | None, typer.Option("--url", help="With --service, or alone: the site's address. Then no token is needed.")
    ] = None,
    how: Annotated[Format, typer.Option("--format", help="For people, a program, Nagios or Prometheus.")] = Format.text,
    warning: Annotated[
        str | None,
        typer.Option("--warning", "-w", help="The least runway while the origin is closed or down: 30m. Or a range."),
    ] = None,
    critical: Annotated[
        str | None, typer.Option("--critical", "-c", help="The same for CRITICAL: 10m. Or a range, as Nagios has them.")
    ] = None,
    timeout: Annotated[str, typer.Option("--timeout", "-t", help="How long to wait for all answers together.")] = "10s",
) -> None:
    """Check the site's health: is it well, closed on purpose, or down; and how long could the edge go on without it?"""
    if options.as_json and how not in (Format.text, Format.json):
        raise UsageError(f"--json and --format {how} are two answers", "Give one of them.")
    limits = _limits(warning, critical, timeout)
    from edgeguard.monitor.check import check
    from edgeguard.monitor.formats import FORMATS

    called, settings = _named(options, name, service, url)
    health = check(called, settings, limits, of_file=name is not None)
    raise typer.Exit(health.code if _write(FORMATS[Format.json if options.as_json else how](health)) else UNKNOWN)


def _named(options: Options, name: str | None, service: str | None, url: str | None) -> tuple[str, EdgeOnlySettings]:
    """The name and the settings of the environment, of the service, or of the site at this address."""
    from edgeguard.environment import ServiceOnly, config_folder
    from edgeguard.settings import for_service, load_edge_only

    if name is not None and service is None and url is None:
        return name, load_edge_only(name, config_folder(options.config))
    if name is not None or (service is None and url is None):
        raise UsageError(ONE_OF_BOTH, "Without a token, name the site's address with --url.")
    if url is None and service is not None:
        return service, ServiceOnly.read(service, state=options.state).settings
    site = f"{(url or '').rstrip('/')}/"
    if found := re.match("[^/?#]*//([^/?#]*)@", site):
        redacted.learn([found[1], found[1].partition(":")[2]])
        said = "--url has a password in it, and every user of this machine can read a command's arguments"
        raise UsageError(said, "Put the whole address into EDGEGUARD_EDGE__URL, and leave the password out here.")
    return service or site, for_service(service or "unknown", url=site, health_url=site)


def _limits(warning: str | None, critical: str | None, timeout: str) -> Limits:
    from edgeguard.monitor import Limits
    from edgeguard.monitor.ranges import parse
    from edgeguard.settings import seconds

    try:
        low, lower = (None if said is None else parse(said) for said in (warning, critical))
        limits = Limits(low, lower, seconds(timeout))
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if not limits.timeout:
        raise UsageError(f"-t {timeout} leaves no time for an answer")
    return limits


class _EndedBySignal(BaseException):
    """A signal came. It is no Exception, so that no code below takes it for an error of its own."""


def guarded(run: Callable[[], int], arguments: Sequence[str]) -> int:
    """Run the command. If bad usage, a bug or a signal ends it without a verdict, the verdict is UNKNOWN."""
    for number in heeded():
        signal.signal(number, _end)
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # else pydantic searches all installed packages for plugins
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # for characters that a monitor's locale can't write
        return run()
    except BaseException as exc:  # noqa: BLE001 (to a monitor, any error is UNKNOWN)
        ignore_all()
        _say(_reason(exc), arguments)
        return UNKNOWN


def _end(number: int, _: object) -> NoReturn:
    raise _EndedBySignal(f"ended by {signal.Signals(number).name}")


def _reason(exc: BaseException) -> str:
    if isinstance(exc, EdgeguardError):
        return f"{exc.message}. {exc.remedy}" if exc.remedy else exc.message
    if isinstance(exc, typer.TyperException):  # bad usage
        return exc.format_message()
    if not isinstance(exc, _EndedBySignal):
        import traceback

        traceback.print_exception(exc)
    return str(exc) if isinstance(exc, _EndedBySignal) else f"a bug: {type(exc).__name__}: {exc}"


def _say(message: str, arguments: Sequence[str]) -> None:
    """Print UNKNOWN on stdout, which monitors read, in the format that the arguments ask for."""
    words = [word for word in arguments if not word.startswith("-")]
    from edgeguard.monitor.formats import unknown

    _write(unknown(_format(arguments), words[1] if len(words) > 1 else "", message))


def _write(text: str) -> bool:
    """Write to stdout; False if that failed. Later writes then go nowhere: else Python would pick the exit code."""
    redacted.learn((), clear=CODES)  # the verdict is read by a program, even if a password is the same word
    try:
        sys.stdout.write(harmless(text))
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _format(arguments: Sequence[str]) -> str:
    """The format that the arguments ask for, read without Typer: it may have refused them."""
    if "--json" in arguments:
        return "json"
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        said = following if word == "--format" else word.removeprefix("--format=")
        if said in set(Format) and said != word:
            return said
    return "text"
