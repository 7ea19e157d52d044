"""`python -m edgeguard.standin`: the stand-in without the rest of the command line."""

from __future__ import annotations

import argparse
import sys

from edgeguard.errors import EdgeguardError
from edgeguard.standin.program import run


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgeguard.standin", description=__doc__)
    parser.add_argument("--origin", help="the origin behind the edge: http://HOST:PORT; default: a page of its own")
    parser.add_argument("--json", action="store_true", dest="json_output", help="print one line of JSON once it serves")
    parser.add_argument("--api-port", type=int, default=0)
    parser.add_argument("--edge-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--propagation", type=float, default=1.0, help="seconds until the edge sees a dictionary write")
    parser.add_argument("--token", default="", help="default: a new one")
    try:
        run(**vars(parser.parse_args()))
    except EdgeguardError as exc:
        sys.stderr.write(f"{exc.message}. {exc.remedy}\n")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
