"""The command line. `main` runs one command, and alone picks exit codes."""

from __future__ import annotations

import difflib
import io
import sys
import traceback
from typing import TYPE_CHECKING

import typer

from edgeguard.cli.app import app, import_families
from edgeguard.cli.border import write
from edgeguard.errors import EdgeguardError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence


_ALIKE = 0.7
"""How alike an option and a typing error of it are, at least (difflib's ratio)."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. docs/operators.md has the table."""
    verb = next((word for word in arguments if not word.startswith("-")), "")
    import_families(verb)
    if verb == "probe":  # by the rules of monitors, in which 1 and 2 are verdicts
        from edgeguard.cli.probe import guarded

        return guarded(lambda: app(args=list(arguments), prog_name="edgeguard", standalone_mode=False) or 0, arguments)
    try:
        return int(app(args=list(arguments), prog_name="edgeguard", standalone_mode=False) or 0)
    except typer.TyperException as exc:  # bad usage
        _say(_shown(exc))
        return exc.exit_code
    except EdgeguardError as exc:
        _say(f"edgeguard: {exc.message}" + (f"\n  {exc.remedy}" if exc.remedy else ""))
        return exc.exit_code
    except KeyboardInterrupt:
        _say("edgeguard: interrupted")
        return Interrupted.exit_code
    except Exception:  # noqa: BLE001 (a bug, whatever it is; its message may have anything in it)
        _say(traceback.format_exc())
        return EdgeguardError.exit_code


def _shown(exc: typer.TyperException) -> str:
    """Typer's words about bad usage, which quote arguments. It proposes options that only share their dashes."""
    wrong, proposed = getattr(exc, "option_name", ""), getattr(exc, "possibilities", None)
    if wrong and proposed:
        alike = difflib.get_close_matches(wrong.strip("-"), [name.strip("-") for name in proposed], cutoff=_ALIKE)
        exc.possibilities = [name for name in proposed if name.strip("-") in alike]  # type: ignore[attr-defined]
    words = io.StringIO()
    exc.show(words)  # type: ignore[attr-defined]  # the class has it, and not its public parent
    return words.getvalue().rstrip("\n")


def _say(text: str) -> None:
    """The last words, on stderr. Whether anybody reads them changes nothing."""
    write(sys.stderr, text)
