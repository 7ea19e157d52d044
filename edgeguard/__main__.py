"""`edgeguard`, and `python -m edgeguard`."""

from __future__ import annotations

import gc
import sys

GARBAGE = 50_000
"""New objects after which Python looks for garbage. Imports make many objects and no garbage: with Python's own number
(700), a tenth of a command's start would go into looking."""


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    gc.set_threshold(GARBAGE)
    from edgeguard.cli import main as run  # noqa: PLC0415 (typer is not needed by those who import this package)

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
