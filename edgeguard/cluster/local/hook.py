"""Runs one hook and writes down how it ended: `python -m edgeguard.cluster.local.hook <ledger> <descriptor>`.

The ledger says what to run. The command that starts this has written it durably, as *started*. This process goes on in
the background, in a session of its own, so it writes *done* even if the command dies. The descriptor is of a locked
file: the lock shows that the hook runs, and the file gets this process's id. SIGTERM ends the hook early.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from edgeguard.cluster.local import generations, host
from edgeguard.errors import UsageError
from edgeguard.machine import process


def main() -> None:
    """Run the hook of this ledger to its end."""
    ledger, lock = Path(sys.argv[1]), int(sys.argv[2])
    if os.fork():
        os._exit(0)  # the command that started this goes on; the child has the lock, too
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    said = host.read(ledger) or {}
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    environment = {**generations.variables(ledger.parent), **said["environment"]}
    began = time.monotonic()
    code: int | None = None
    descriptor = os.open(said["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", buffering=1) as log:
        try:
            code = process.run(
                said["argv"],
                cwd=Path(said["cwd"]),
                env=environment,
                limit=said["limit"],
                cancelled=lambda: bool(asked),
                inherit=(lock,),  # if this process is killed, the lock still shows that the hook runs
                output=lambda line: print(line, file=log),
            )
            ended = "by itself"
        except process.TimedOut:
            ended = "at its limit"
        except process.Cancelled:
            ended = "on request"
        except (OSError, UsageError) as exc:
            code, ended = 127, "before it began"
            print(exc, file=log)
    host.write(ledger, {**said, "done": True, "code": code, "ended": ended, "seconds": time.monotonic() - began})


if __name__ == "__main__":
    main()
