"""This package as a program: `python ARCHIVE WORD …`."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:  # noqa: C901 (a branch for each word)
    """Do what the first word says.

    `hook LEDGER DESCRIPTOR ROOM` runs a hook to its end, and so does `hook-waits DESCRIPTOR`, once it gets an order
    (wrapper.py). `session FOLDER` serves a caller over standard
    input and output (session.py), and `run FOLDER` runs a caller's command (foreground.py). `offer IMAGE` and `room
    IMAGE` read an offer of an image on standard input, and `receive IMAGE` its contents (receive.py). `reach USER`
    tries what a user can reach (reach.py). `web FOLDER` becomes the server's web process, and `web-ended FOLDER` counts
    its deaths (web.py). `tasks FOLDER` starts the server's background tasks, `crons FOLDER` those that are due, `task
    FOLDER ID` becomes one, `task-stop FOLDER ID` asks it to end, and `task-ended FOLDER ID` notes its end (tasks.py).
    """
    word, *rest = sys.argv[1:] or [""]
    if word == "hook":
        from edgeguard.cluster.host import wrapper  # noqa: PLC0415 (a program imports what its word needs)

        wrapper.main(Path(rest[0]), int(rest[1]), Path(rest[2]))
    elif word == "hook-waits":
        from edgeguard.cluster.host import wrapper  # noqa: PLC0415

        wrapper.wait(int(rest[0]))
    elif word == "session":
        from edgeguard.cluster.host import acts, serving_acts, session  # noqa: PLC0415

        session.main(Path(rest[0]), {**acts.ACTS, **serving_acts.ACTS})
    elif word in ("offer", "room", "receive"):
        from edgeguard.cluster.host import receive  # noqa: PLC0415

        receive.main(word, Path(rest[0]))
    elif word == "run":
        from edgeguard.cluster.host import foreground  # noqa: PLC0415

        foreground.main(Path(rest[0]))
    elif word == "reach":
        from edgeguard.cluster.host import reach  # noqa: PLC0415

        reach.main(rest[0])
    elif word == "login":
        from edgeguard.cluster.host import logins  # noqa: PLC0415

        logins.login(Path(rest[0]))
    elif word == "web":
        from edgeguard.cluster.host import web  # noqa: PLC0415

        web.start(Path(rest[0]))
    elif word == "web-ended":
        from edgeguard.cluster.host import units, web  # noqa: PLC0415

        web.ended(Path(rest[0]), dict(os.environ), stopping=units.stopping)
    elif word in ("tasks", "crons", "task", "task-stop", "task-ended"):
        from edgeguard.cluster.host import tasks  # noqa: PLC0415

        tasks.main(word, Path(rest[0]), *rest[1:])
    else:
        sys.exit(f"usage: {sys.argv[0]} WORD …; the words are in {__name__}")


if __name__ == "__main__":
    main()
