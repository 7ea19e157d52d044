"""`edgeguard`, and `python -m edgeguard`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    from edgeguard.cli import main as run  # noqa: PLC0415 (typer is not needed by those who import this package)

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
