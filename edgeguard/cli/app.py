"""The Typer app. Its verbs are in one file per family, and a command imports only the file of its own verb."""

from __future__ import annotations

import importlib

import typer

from edgeguard.cli.options import Version

FAMILIES = {
    "application": ("logs", "run", "environment"),
    "cluster": ("cluster",),
    "deploys": ("plan", "deploy", "resume", "rollback", "status", "report", "history", "unlock"),
    "doctor": ("doctor",),
    "edge": ("edge",),
    "git": ("git",),
    "grace": ("grace",),
    "hooks": ("hook", "wrap", "closed-header"),
    "probe": ("probe",),
    "purge": ("purge",),
    "rehearsals": ("rehearse", "standin"),
    "tasks": ("tasks",),
    "users": ("users",),
}
"""The files, each with its verbs: the first words of a command line."""

app = typer.Typer(
    name="edgeguard",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def every_command(*, version: Version = False) -> None:
    """Deploys that visitors of a site behind Fastly don't notice."""


def group(name: str, about: str) -> typer.Typer:
    """A verb of the app that has verbs of its own, such as `grace` with `grace show`."""
    verbs = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(verbs, name=name)
    return verbs


def import_families(verb: str = "") -> None:
    """Import the file that has this verb, which adds itself to the app. With any other word, import all files."""
    for family in [name for name, verbs in FAMILIES.items() if verb in verbs] or FAMILIES:
        importlib.import_module(f"edgeguard.cli.{family}")
