"""`scripts/fuzz`: drives damaged and hostile inputs over every border, and prints a table. Ends with 1 if one of them
made another error than the border's own, took too long, or took too much memory."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMORY = 200 * 2**20
"""Bytes of data that the process of one border may have."""
SECONDS = 5
"""The longest that one input may take."""
SHOWN = 5


class _TooLong(BaseException):
    pass


def play(border: str, inputs: Iterable[bytes]) -> dict[str, Any]:
    """What became of these inputs: how many were read and refused, and each fault."""
    from tests.fuzz.borders import BORDERS  # noqa: PLC0415 (in the child)

    found, faults, longest = Counter[str](), [], 0.0
    for content in inputs:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            BORDERS[border].read(content)
            found["read"] += 1
        except BORDERS[border].refuses:
            found["refused"] += 1
        except (Exception, _TooLong):  # noqa: BLE001 (each is a fault)
            faults.append({"input": repr(content[:2000]), "error": traceback.format_exc(limit=-4)})
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        longest = max(longest, time.monotonic() - began)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"inputs": found.total() + len(faults), **found, "longest": longest, "MiB": most, "faults": faults}


def _child(border: str, count: int, seed: str) -> None:
    from tests.fuzz.borders import BORDERS, FOLDER  # noqa: PLC0415 (in the child)
    from tests.fuzz.inputs import made  # noqa: PLC0415

    def too_long(_number: int, _frame: object) -> NoReturn:
        raise _TooLong

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, too_long)
    total: dict[str, Any] = {}
    try:
        for number in range(0, count, 500):
            inputs = made(BORDERS[border].seeds, min(500, count - number), f"{seed} {border} {number}")
            for key, value in play(border, inputs).items():
                larger = key in ("longest", "MiB")
                total[key] = max(total.get(key, 0), value) if larger else total[key] + value if key in total else value
    finally:
        shutil.rmtree(FOLDER)
    sys.stdout.write(json.dumps(total))


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=50_000, help="in all")
    parser.add_argument("--seed", default="1", help="another one makes other inputs")
    parser.add_argument("--only", metavar="BORDER", help="this border alone")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(given.only, given.inputs, given.seed)
        return 0
    from tests.fuzz.borders import BORDERS, FOLDER  # noqa: PLC0415 (not for --help)

    shutil.rmtree(FOLDER)
    names = [given.only] if given.only else list(BORDERS)
    each = -(-given.inputs // len(names))
    sys.stdout.write(f"{'border':<18}{'inputs':>8}{'read':>8}{'refused':>9}{'faults':>8}{'longest':>10}{'memory':>9}\n")
    bad = 0
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz", "--child", "--only", name, "--inputs", str(each)]
        done = subprocess.run([*command, "--seed", given.seed], capture_output=True, text=True, check=False)
        if done.returncode:
            bad += 1
            sys.stdout.write(f"{name:<18} the process ended with {done.returncode}: {done.stderr[-500:]}\n")
            continue
        told = json.loads(done.stdout)
        bad += len(told["faults"])
        sys.stdout.write(
            f"{name:<18}{told['inputs']:>8}{told.get('read', 0):>8}{told.get('refused', 0):>9}{len(told['faults']):>8}"
            f"{told['longest'] * 1000:>7.0f} ms{told['MiB']:>5} MiB\n"
        )
        for fault in told["faults"][:SHOWN]:
            sys.stdout.write(f"  {fault['input'][:300]}\n  {fault['error']}\n")
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
