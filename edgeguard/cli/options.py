"""Options that all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import edgeguard

if TYPE_CHECKING:
    from collections.abc import Collection


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgeguard {edgeguard.__version__}")
        raise typer.Exit


def _surrogate_keys(keys: list[str] | None) -> list[str] | None:
    """Refuse what can't be a key now, and not when everything else is done."""
    if keys:
        from edgeguard.edge.purging import check_keys

        check_keys(keys)
    return keys


Name = Annotated[str, typer.Argument(metavar="ENV", help="The environment: config/ENV.toml.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Folder of the environments' files. [$EDGEGUARD_CONFIG, else ./config]")
]
State = Annotated[
    Path | None, typer.Option("--state", help="Folder of this machine's journals. [$EDGEGUARD_STATE, else the user's]")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout: one object, or one event a line for long work.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only errors and results.")]
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


def accepted(names: list[str] | None, acceptable: Collection[str]) -> tuple[str, ...]:
    """The refusals that a person accepts by name. UsageError where one has no such name."""
    from edgeguard.errors import UsageError

    if unknown := set(names or ()) - set(acceptable):
        raise UsageError(f"--accept {min(unknown)}: no refusal has this name", f"One of: {', '.join(acceptable)}.")
    return tuple(names or ())


def whole_seconds(text: str) -> int:
    """A duration of the command line, such as 90s, 30m, 2h, 1d. What is no duration is bad usage."""
    from edgeguard.settings import seconds

    try:
        return int(seconds(text))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
