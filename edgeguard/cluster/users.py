"""People who may log in on the servers, for drivers that let them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.host.generations import User

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeguard.settings import UserSettings


def named(users: Iterable[UserSettings]) -> tuple[User, ...]:
    """The users of the environment's file, as a generation has them."""
    return tuple(User(user.name, user.keys, user.role) for user in users)
