"""Who runs this process."""

from __future__ import annotations

import getpass
import os
import socket


def this_person() -> str:
    """The user and host of this process, for people: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # an unknown uid, as in many containers
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def this_holder() -> str:
    """The user, host and pid of this process, for people: user@host pid N."""
    return f"{this_person()} pid {os.getpid()}"
