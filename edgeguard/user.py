"""The home of the user who runs edgeguard, which not every user has: containers run as a uid that no list names."""

from __future__ import annotations

import os
from pathlib import Path

from edgeguard.errors import UsageError


def home() -> Path | None:
    """HOME where it is an absolute path, else what the system's list of users says. None: there is neither."""
    said = os.environ.get("HOME", "")
    if not said.startswith("/"):
        import pwd  # noqa: PLC0415 (rarely needed)

        try:
            said = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            return None
    return Path(said) if said.startswith("/") else None


def expanded(path: Path, named: str) -> Path:
    """The path with its `~` or `~user` written out. `named` is the setting that has it.

    Raises:
        UsageError: that user has no home.
    """
    own = home()
    if path.parts[:1] == ("~",) and own is not None:
        return own.joinpath(*path.parts[1:])
    try:
        if path.parts[:1] == ("~",):
            raise RuntimeError  # noqa: TRY301 (as pathlib does for a user who is not known)
        return path.expanduser()
    except RuntimeError as exc:
        raise UsageError(f"{named}: {path} is in a home that is not known here", "Write the whole path.") from exc
