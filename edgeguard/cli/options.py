"""Options that all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import edgeguard


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgeguard {edgeguard.__version__}")
        raise typer.Exit


Name = Annotated[str, typer.Argument(metavar="ENV", help="The environment: config/ENV.toml.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Folder of the environments' files. [$EDGEGUARD_CONFIG, else ./config]")
]
State = Annotated[
    Path | None, typer.Option("--state", help="Folder of this machine's journals. [$EDGEGUARD_STATE, else the user's]")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout: one object, or one event a line for long work.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only errors and results.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Also the output of builds and hooks.")]
Version = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")]
