"""People who may log in on the servers, for drivers that let them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgeguard.cluster.host.generations import User
from edgeguard.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgeguard.cluster import Cluster
    from edgeguard.settings import UserSettings


@dataclass(frozen=True)
class Logins:
    """The people of one server: `keys` are those by which somebody may log in, each with its owner's name; `open` has
    how many processes people's logins have, by their names."""

    keys: tuple[tuple[str, str], ...]
    open: Mapping[str, int]

    @property
    def names(self) -> list[str]:
        """Those who may log in."""
        return sorted({name for name, _ in self.keys})


@runtime_checkable
class LetsIn(Protocol):
    """What a driver may do beyond the Protocol of clusters: let a generation's users log in while it is current.

    A swap changes at one moment who may log in, and ends the open logins of those who may not any more, with all that
    they have started. A copy of an earlier generation lets those in who may log in with that one.
    """

    def logins(self, generation: str | None = None) -> Mapping[str, Logins]:
        """Who may log in on each server now, or while this generation is current; and who is logged in now. Raises
        ClusterError."""

    def let_in(self, epoch: int, users: Sequence[User]) -> None:
        """Let these people log in on every server, and nobody else, from now on, whatever is current later: other
        generations that are on the servers lose people, and gain none. Ends the open logins of the others. May be
        repeated. Raises Fenced, and ClusterError once the other servers are done."""


def named(users: Iterable[UserSettings]) -> tuple[User, ...]:
    """The users of the environment's file, as a generation has them."""
    return tuple(User(user.name, user.keys, user.role) for user in users)


def able(cluster: Cluster, environment: str) -> LetsIn:
    """The driver, if it lets people in. Raises UsageError where it does not."""
    if not isinstance(cluster, LetsIn):
        raise UsageError(
            f"the driver of {environment} lets nobody log in", "Its users are kept with each release, and that is all."
        )
    return cluster


def changes(logins: Mapping[str, Logins], wanted: Iterable[User]) -> dict[str, dict[str, list[str]]]:
    """What letting in these people would change on each server: `added` and `removed` are names, with the kinds and the
    ends of their keys. Servers on which nothing changes are left out."""
    keys = {(user.name, _content(key)) for user in wanted for key in user.keys}
    found = {}
    for server, there in logins.items():
        now = {(name, _content(key)) for name, key in there.keys}
        if now != keys:
            found[server] = {"added": _told(keys - now), "removed": _told(now - keys)}
    return found


def not_named(cluster: Cluster, generation: str, users: Iterable[UserSettings]) -> str | None:
    """A sentence about those who may log in with this generation, though the environment's file does not name them, or
    not that key; None where there is nobody. This never raises: it is only information."""
    if not isinstance(cluster, LetsIn):
        return None
    try:
        found = changes(cluster.logins(generation), named(users))
    except ClusterError as exc:
        return f"it is not known who may log in now: {exc.message}"
    people = sorted({who for change in found.values() for who in change["removed"]})
    if not people:
        return None
    return (
        f"{', '.join(people)} may log in again, as with that release, though the environment's file does not say so; "
        "`edgeguard users apply` lets in the people of the file alone"
    )


def _told(keys: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name} ({key.split()[0]} …{key[-8:]})" for name, key in sorted(keys)]


def _content(key: str) -> str:
    return " ".join(key.split()[:2])
