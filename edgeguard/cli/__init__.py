"""The command line. Verbs are in one file per family; `main` alone picks exit codes."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import TYPE_CHECKING

import typer

from edgeguard.cli.options import Version
from edgeguard.errors import EdgeguardError, Interrupted
from edgeguard.machine.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

FAMILIES = ("cluster", "deploys", "doctor", "edge", "grace", "hooks", "probe", "purge", "rehearsals")

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


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. docs/operators.md has the table."""
    verb = next((word for word in arguments if not word.startswith("-")), "")
    import_families(verb)
    if verb == "probe":  # by the rules of monitors, in which 1 and 2 are verdicts
        from edgeguard.cli.probe import guarded

        return guarded(lambda: app(args=list(arguments), prog_name="edgeguard", standalone_mode=False) or 0, arguments)
    try:
        app(args=list(arguments), prog_name="edgeguard")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    except EdgeguardError as exc:
        sys.stderr.write(redacted(f"edgeguard: {exc.message}\n" + (f"  {exc.remedy}\n" if exc.remedy else "")))
        return exc.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("edgeguard: interrupted\n")
        return Interrupted.exit_code
    except Exception:  # noqa: BLE001 (a bug, whatever it is; its message may have anything in it)
        sys.stderr.write(redacted(traceback.format_exc()))
        return EdgeguardError.exit_code
    return 0


def import_families(verb: str = "") -> None:
    """Each adds its verbs to the app. One whose name is the verb's has no other: then the rest can stay away."""
    for family in (verb,) if verb in FAMILIES else FAMILIES:
        importlib.import_module(f"edgeguard.cli.{family}")
