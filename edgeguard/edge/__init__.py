"""What an edge is: it keeps pages, serves them stale within the grace in force, and can be told of claims."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Status:
    """One edge node's answer to the policy's status request. Durations in seconds.

    `slots` holds every slot exactly as the node sees it ("" where the item does not exist); `now` is the node's clock
    (Unix time); `grace` and `hold` are what is in force on that node at that moment.
    """

    node: str
    revision: str
    now: int
    base: int
    grace: int
    hold: bool
    slots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """The policy in the active version: its revision (None: not installed), and what differs from what is wanted.

    `differences` are a few words each, `diff` is all of them as a unified diff, from the active version to what is
    wanted. After a change `diff` is what was changed, `notes` what else there is to know, such as drafts left behind.
    Where `edge.mechanism` is "settings", `revision` is that word.
    """

    version: int | None
    revision: str | None
    differences: tuple[str, ...] = ()
    diff: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ActiveVersion:
    """What the service's active version holds. Rows are Fastly's own JSON, in which some numbers are strings.

    `kind` is the service's type: "vcl", or "wasm" (Compute), of which nothing else is looked at. A dynamic snippet's
    row has its content. `files` are VCL files of the service's own; `generated` is the whole VCL that Fastly runs.
    """

    number: int
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    snippets: tuple[Mapping[str, Any], ...] = ()
    dictionaries: tuple[Mapping[str, Any], ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()
    cache_settings: tuple[Mapping[str, Any], ...] = ()
    request_settings: tuple[Mapping[str, Any], ...] = ()
    backends: tuple[Mapping[str, Any], ...] = ()
    healthchecks: tuple[Mapping[str, Any], ...] = ()
    generated: str = ""


@dataclass(frozen=True)
class Purged:
    """One purge call that was answered: how many keys it carried, and the edge's ids, which its support asks for."""

    keys: int
    ids: tuple[str, ...]


class Edge(Protocol):
    """An edge service. Every call is bounded in time and, where repeating is harmless, repeated a few times.

    All calls raise EdgeUnauthorized, EdgeUnavailable or EdgeError.
    """

    def policy(self) -> Policy:
        """The policy in the service's active version, compared with what `install` would put there."""

    def active_version(self) -> ActiveVersion:
        """Everything in the service's active version that may concern the policy. EdgeError where none is active."""

    def token(self) -> Mapping[str, Any] | None:
        """What the token says of itself (scopes, services, end); None where it may not be asked."""

    def install(self, reason: str, *, expecting: int | None = None) -> Policy:
        """Clone the active version, put the policy and its dictionary there, validate, activate. Idempotent: with
        no difference nothing is written. ActiveChanged where another version than `expecting` is, or gets, active."""

    def remove(self, reason: str, *, dictionary: bool = False, expecting: int | None = None) -> Policy:
        """The same way, take the policy out; its dictionary, which holds claims and the audit, only if asked to."""

    def items(self, dictionary: str | None = None) -> Mapping[str, str]:
        """The dictionary as the API holds it: slots and audit lines. With a name, that one's of the active version."""

    def write(self, items: Mapping[str, str | None]) -> None:
        """Set these items (None: remove it if it is there) in one versionless write. Repeating it is harmless."""

    def status(self) -> Status:
        """Ask the status request once, over a new connection, through the front door.

        Raises EdgeUnavailable also when what answers isn't our policy's status.
        """

    def shielded(self) -> bool | None:
        """Whether nodes of this service may fetch from each other (None: the token may not know)."""

    def purge(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """Purge by surrogate key, at most 256 keys a call. A soft purge is repeated where its answer was lost, a hard
        one is not: it would take away what was fetched since."""

    def purge_url(self, url: str, *, soft: bool = True) -> Purged:
        """Purge one page by its address, as its visitors give it to their browsers. Repeated likewise."""

    def purge_everything(self) -> Purged:
        """Purge all there is, at once. Fastly can't do this softly: no page can be served stale afterwards."""
