"""The deploy hook: a small stand-in for a migration. It takes a while, and it leaves a line in a ledger.

The ledger is on a mount, so it outlives releases; its lines show that each deploy ran the hook once.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

LEDGER = Path(__file__).parent / "var" / "hooks.log"


def note(what: str) -> None:
    """Append one line, in one write."""
    now = dt.datetime.now(dt.timezone.utc).isoformat()
    server, tree = os.environ.get("EDGEGUARD_SERVER", "-"), os.environ.get("PLATFORM_TREE_ID", "-")[:12]
    with LEDGER.open("a", encoding="utf-8") as ledger:
        ledger.write(f"{now} {what} on {server} for {tree}\n")


def main() -> None:
    """Take HOOK_SECONDS (5 by default)."""
    seconds = float(os.environ.get("HOOK_SECONDS", "5"))
    note("started")
    print(f"migrating for {seconds:g} s", flush=True)
    time.sleep(seconds)
    note("done")
    print("migrated", flush=True)


if __name__ == "__main__":
    main()
