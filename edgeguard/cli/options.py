"""Options that several commands share, and the bundle of those that nearly all have.

A verb has one parameter for the bundle. `verb` shows Typer the bundle's options one by one, and gives the function the
bundle:

    @verb(app, "edgeguard history production")
    def history(name: Name, options: Options) -> None: ...
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import edgeguard
from edgeguard.cli import fleeting, output

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from edgeguard.cluster import Cluster
    from edgeguard.deploy.journal import Entry
    from edgeguard.environment import EdgeSide, Environment


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgeguard {edgeguard.__version__}")
        raise typer.Exit


def _surrogate_keys(keys: list[str] | None) -> list[str] | None:
    """Refuse now, before anything is done, a text that can't be a key."""
    if keys:
        from edgeguard.edge.purging import check_keys

        check_keys(keys)
    return keys


def whole_seconds(text: str) -> int:
    """A duration of the command line, such as 90s, 30m, 2h or 1d. Raises BadParameter for any other text."""
    from edgeguard.settings import seconds

    try:
        return int(seconds(text))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


Name = Annotated[str, typer.Argument(metavar="ENV", help="The environment: config/ENV.toml.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Folder of the environments' files. [$EDGEGUARD_CONFIG, else ./config]")
]
State = Annotated[
    Path | None, typer.Option("--state", help="Folder of this machine's journals. [$EDGEGUARD_STATE, else the user's]")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout: one object, or one event a line for long work.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only errors, and what was asked for.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Also the output of builds and hooks, and `doctor`'s pages.")]
Version = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="SERVER", help="Go on without this server, which is lost; may be repeated."),
]
Fenced = Annotated[
    list[str] | None,
    typer.Option(
        "--i-have-fenced",
        metavar="SERVER",
        help="With --without: nothing runs there any more, and nobody can reach it.",
    ),
]
PurgeKey = Annotated[
    list[str] | None,
    typer.Option("--purge-key", callback=_surrogate_keys, help="Soft-purge this surrogate key; may be repeated."),
]


@dataclass(frozen=True)
class Folders:
    """Where an environment's file is, and where this machine's journals are."""

    config: Config = None
    state: State = None

    def environment(self, name: str) -> Environment:
        """The environment, whole. Raises UsageError, as all of these do, where it can't be opened."""
        from edgeguard.environment import Environment

        return Environment.open(name, config=self.config, state=self.state)

    def edge_side(self, name: str) -> EdgeSide:
        """The environment without its cluster, which its file need not have."""
        from edgeguard.environment import EdgeSide

        return EdgeSide.open(name, config=self.config, state=self.state)

    def edge_side_or_service(self, name: str | None, service: str | None) -> EdgeSide:
        """The environment without its cluster, or the service without any file of ours."""
        from edgeguard.environment import ServiceOnly

        if service is None and name is not None:
            return self.edge_side(name)
        if service is not None and name is None:
            return ServiceOnly.read(service, state=self.state)
        raise typer.BadParameter(ONE_OF_BOTH)

    def as_far_as_it_goes(self, name: str | None, service: str | None = None) -> tuple[EdgeSide, Cluster | None]:
        """The environment, and its cluster if its file has one; or the service without any file of ours."""
        from edgeguard.environment import as_far_as_it_goes

        if service is not None or name is None:
            return self.edge_side_or_service(name, service), None

        return as_far_as_it_goes(name, config=self.config, state=self.state)


EdgeName = Annotated[str | None, typer.Argument(metavar="ENV", help="The environment: config/ENV.toml.")]
Service = Annotated[
    str | None,
    typer.Option("--service", help="Instead of ENV: a Fastly service's id. Everything is read from the service."),
]
ONE_OF_BOTH = "name an environment, or a service with --service, and not both"
LAST_WORDS = 5.0
"""Seconds for a slow reader of a deploy's last words."""


@dataclass(frozen=True)
class Voice:
    """How a command speaks: with --json to programs, else to people."""

    as_json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False
    version: Version = False

    def answer(self, content: object, text: str) -> None:
        """What was asked for, on stdout: one object with --json, else text."""
        if self.as_json:
            output.print_json(content)
        else:
            output.print_text(text)

    def done(self, content: object, text: str) -> None:
        """What an act has done, as `answer` tells it. Nothing with --quiet: the exit code says it."""
        if self.as_json or not self.quiet:
            self.answer(content, text)

    def warn(self, text: str) -> None:
        """A warning about an act that was done, on stderr. Nothing with --quiet."""
        if not self.quiet:
            output.print_text(f"  ! {text}", err=True)

    def end(self, report: dict[str, Any]) -> NoReturn:
        """End a deploy's command with its report, its error and its exit code."""
        self._listener.close(LAST_WORDS)
        output.in_time(lambda: self._report(report), LAST_WORDS)
        raise typer.Exit(report["exit_code"])

    def _report(self, report: dict[str, Any]) -> None:
        from edgeguard.deploy.report.text import render

        if self.as_json:
            output.print_json({"event": "report", **report})
        elif not self.quiet:
            output.print_text("\n" + render(report))
        if report["error"] and (self.as_json or self.quiet):
            output.print_text(f"edgeguard: {report['error']}\n  {report['remedy'] or ''}".rstrip(), err=True)

    @cached_property
    def _listener(self) -> output.Listener:
        return output.Listener(output.hearing(as_json=self.as_json, quiet=self.quiet, verbose=self.verbose))

    def events(self) -> Callable[[Entry], None]:
        """The listener of a command whose events are its result: with --json each is a line on stdout."""
        return self._listener

    def progress(self) -> Callable[[Entry], None]:
        """The listener of a command with one result at its end: people see events meanwhile, programs don't."""
        return output.hearing(as_json=False, quiet=self.quiet or self.as_json, verbose=self.verbose)

    @contextmanager
    def fleeting(self) -> Iterator[Callable[[str], None]]:
        """The listener of sentences that the next one replaces, on a terminal only. None stays."""
        try:
            yield lambda text: None if self.quiet else fleeting.show(f"  {text} …")
        finally:
            fleeting.clear()

    def teller(self) -> Callable[[str], None]:
        """The listener of sentences, on stderr also with --json. None with --quiet."""
        return output.teller(quiet=self.quiet)


@dataclass(frozen=True)
class Options(Voice, Folders):
    """The options that nearly all commands have."""


def verb(group: typer.Typer, example: str, *, name: str | None = None) -> Callable[[Callable[..., None]], None]:
    """Add a function to the app or to one of its groups. Its help ends with the example."""

    def add(run: Callable[..., None]) -> None:
        own = dict(inspect.signature(run, eval_str=True).parameters)
        [bundle] = [own.pop(name) for name in list(own) if own[name].annotation in (Options, Voice)]
        shared = inspect.signature(bundle.annotation, eval_str=True).parameters.values()

        @functools.wraps(run)
        def with_bundle(**given: Any) -> None:  # noqa: ANN401 (whatever Typer read)
            options = bundle.annotation(**{option.name: given.pop(option.name) for option in shared})
            run(**given, **{bundle.name: options})

        every = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own.values(), *shared)]
        with_bundle.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # Typer reads it
        group.command(name, epilog=f"Example: {example}")(with_bundle)

    return add


def accepted(names: list[str] | None, acceptable: Collection[str]) -> tuple[str, ...]:
    """The refusals that a person accepts by name. Raises UsageError where no refusal has such a name."""
    from edgeguard.errors import UsageError

    if unknown := set(names or ()) - set(acceptable):
        raise UsageError(f"--accept {min(unknown)}: no refusal has this name", f"One of: {', '.join(acceptable)}.")
    return tuple(names or ())
