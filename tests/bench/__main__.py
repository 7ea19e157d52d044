"""Measure: `scripts/bench WORD`, or `python -m tests.bench WORD`. Each word is a file here, with a `main`."""

from __future__ import annotations

import sys

from tests.bench import deploy, edge, start, window

BENCHMARKS = {"deploy": deploy.main, "edge": edge.main, "start": start.main, "window": window.main}


def main() -> None:
    """Run the benchmark that the first word names; it reads the words after it."""
    word = sys.argv[1] if sys.argv[1:] else ""
    if word not in BENCHMARKS:
        sys.exit(f"usage: scripts/bench {{{','.join(BENCHMARKS)}}} [--help]")
    BENCHMARKS[word](sys.argv[2:])


if __name__ == "__main__":
    main()
