"""A purge that was made by hand, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.purge import listed

if TYPE_CHECKING:
    from edgeguard.purge import Purge


def purged(asked: Purge, done: dict[str, Any]) -> str:
    """What was purged, how, and the ids of the calls, which Fastly's support asks for."""
    what = [_counted(len(asked.keys), "key")] if asked.keys else []
    what += [_counted(len(asked.urls), "URL")] if asked.urls else []
    what += ["every page"] if asked.groups or asked.everything else []
    twice = ", twice as the service may be shielded" if done["second_pass"] else ""
    how = f"in {_counted(done['requests'], 'request')}{twice}"
    ids = f"; ids {listed(done['ids'])}" if done["ids"] else ""
    return f"{'soft' if asked.soft else 'hard'}-purged {' and '.join(what)} {how}{ids}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
