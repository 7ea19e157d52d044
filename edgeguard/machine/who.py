"""Who runs this process."""

from __future__ import annotations

import getpass
import os
import socket


def this_holder() -> str:
    """The user, host and pid of this process, for people: user@host pid N."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # an unknown uid, as in many containers
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()} pid {os.getpid()}"
