"""The command line. `main` runs one command, and alone picks exit codes."""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from edgeguard.cli import fleeting
from edgeguard.cli.app import app, import_families
from edgeguard.errors import EdgeguardError, Interrupted
from edgeguard.machine.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence


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
        _say(f"edgeguard: {exc.message}\n" + (f"  {exc.remedy}\n" if exc.remedy else ""))
        return exc.exit_code
    except KeyboardInterrupt:
        _say("edgeguard: interrupted\n")
        return Interrupted.exit_code
    except Exception:  # noqa: BLE001 (a bug, whatever it is; its message may have anything in it)
        _say(traceback.format_exc())
        return EdgeguardError.exit_code
    return 0


def _say(text: str) -> None:
    """The last words, on stderr. Whether anybody reads them changes nothing."""
    fleeting.clear()
    with suppress(OSError, ValueError):
        sys.stderr.write(redacted(text))
