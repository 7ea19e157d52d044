"""What an edge is: it keeps pages, serves them stale within the grace in force, and can be told of claims.

`Edge` is all that the rest of edgeguard knows of it; `VisibleEdge` is the part that needs no token. An edge's headers,
limits, calls and errors are known to its classes alone: those of Fastly are in `edge/fastly`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeguard.findings import Finding
    from edgeguard.settings import ClaimSettings

CONFLICTS = (
    "no-macros",
    "serve-stale",
    "cache-settings",
    "request-settings",
    "grace-in-vcl",
    "early-return",
)
"""Names of findings of `ActiveVersion.conflicts` that a person may accept. "compute-service" is one more that nobody
can: such a service carries nothing of edgeguard's."""
SHORTENS = "shortens"
"""The name of what `Edge.shortened` finds, which a person may accept too."""


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
class Copy:
    """What a page's answer says of the edge's copy of it. Seconds; None where it says nothing.

    `hit`: the answer came from a copy. `told`: a node has told of its copy; `node` is its name, and `ttl` (what is left
    of it) and `stale_if_error` are the copy's, if this node holds it. `stale`: why the copy is a stale one ("hold",
    "error"). `existed`: there was a copy, fresh or stale, when this answer was fetched, which was at `fetched_at` (Unix
    time, the edge's clock).
    """

    hit: bool
    told: bool = False
    node: str | None = None
    ttl: float | None = None
    stale_if_error: float | None = None
    stale: str | None = None
    existed: bool | None = None
    fetched_at: int | None = None


@dataclass(frozen=True)
class Freshness:
    """What an answer's headers ask of this edge. Seconds; None where they don't say.

    `refusal`: why the answer can't be a copy for others (a finding's name, and the evidence; never a cookie's value).
    `lifetime`: its TTL. `promised`: its own stale-if-error. `stated`: the headers say anything of a TTL, so an answer
    304 with them renews what was stored. `keyed`: they name surrogate keys.
    """

    refusal: tuple[str, str] | None
    lifetime: int | None
    promised: int | None
    stated: bool
    keyed: bool


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
class Granted:
    """What the installed policy grants, in seconds, and the dictionary in which it looks for claims (None: the active
    version has no such dictionary). Where no policy is installed, these are the values of the environment's file."""

    base: int
    ceiling: int
    dictionary: str | None


@dataclass(frozen=True)
class Purged:
    """One purge call that was answered: how many keys it carried, and the edge's ids, which its support asks for."""

    keys: int
    ids: tuple[str, ...]


class Answer(Protocol):
    """An HTTP answer."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The content, whole."""


class Ask(Protocol):
    """Ask a URL once, over a new connection. Raises OriginsUnhealthy where there is no HTTP answer in time."""

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float) -> Answer:
        """`timeout` in seconds."""


class ActiveVersion(Protocol):
    """The service's active version, as it was at one look. It answers several questions and asks nobody anything."""

    @property
    def number(self) -> int:
        """The version's number."""

    @property
    def fit(self) -> bool:
        """Whether the service is of a kind that can carry the policy."""

    def conflicts(self) -> tuple[Finding, ...]:
        """Everything in it that fights what `install` puts there; () where there is nothing. For names: CONFLICTS."""

    def health_checks(self, *, closure: float, green_path: str | None, patience: float) -> tuple[Finding, ...]:
        """What the edge's own health checks would make of a closure of `closure` seconds.

        `green_path` is answered while the cluster is closed; a deploy waits `patience` seconds for a healthy answer.
        """

    def granted(self) -> Granted:
        """What the policy in it grants."""


class VisibleEdge(Protocol):
    """An edge as anybody sees it: for a monitor, which has no token."""

    @property
    def claims(self) -> bool:
        """Whether the grace can be raised by claims, which the edge then shows."""

    @property
    def base(self) -> int:
        """The grace that is in force without any claim, in seconds."""

    @property
    def revision(self) -> str:
        """The revision of what `install` puts into the service; `Status.revision` and `Policy.revision` tell it."""

    @property
    def asking(self) -> Mapping[str, str]:
        """The headers with which a page is asked for, so that its answer tells of the copy."""

    def status(self, *, timeout: float = 5.0) -> Status:
        """Ask the status request once, over a new connection, through the front door. `timeout` in seconds.

        Raises EdgeUnavailable also when what answers isn't our policy's status.
        """

    def copy(self, headers: Mapping[str, str]) -> Copy:
        """Read what an answer to `asking` says of the copy. Names of headers are in lower case."""

    def freshness(self, headers: Mapping[str, str]) -> Freshness:
        """Read what an answer, of the edge or of an origin, says of its freshness. Names are in lower case."""

    def keeps(self, status: int) -> bool:
        """Whether pages with this HTTP status are kept for long."""


class Edge(VisibleEdge, Protocol):
    """An edge service. Every call is bounded in time and, where repeating is harmless, repeated a few times.

    All calls raise EdgeUnauthorized, EdgeUnavailable or EdgeError.
    """

    # -- what is in the service ----------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """The policy in the service's active version, compared with what `install` would put there."""

    def active_version(self) -> ActiveVersion:
        """Everything in the service's active version that may concern the policy. EdgeError where none is active."""

    def install(self, reason: str, *, expecting: int | None = None) -> Policy:
        """Clone the active version, put the policy and its dictionary there, validate, activate. Idempotent: with
        no difference nothing is written. ActiveChanged where another version than `expecting` is, or gets, active."""

    def remove(self, reason: str, *, dictionary: bool = False, expecting: int | None = None) -> Policy:
        """The same way, take the policy out; its dictionary, which holds claims and the audit, only if asked to."""

    def shortened(self, url: str, headers: Mapping[str, str]) -> Finding | None:
        """Find that a page is promised a longer stale-if-error now than it would have once the policy is installed.

        `headers` are those of the page's answer, their names in lower case. None where nothing is shortened.
        """

    def token_findings(self, *, now: float, lasting: float) -> tuple[Finding, ...]:
        """What is wrong with the token, if it is to be used for `lasting` more seconds; () where it is fit."""

    def shielded(self) -> bool | None:
        """Whether nodes of this service may fetch from each other (None: the token may not know)."""

    # -- claims --------------------------------------------------------------------------------------------------

    def require_claims(self) -> None:
        """Raise UsageError, which says why, where nothing can be claimed."""

    def items(self, dictionary: str | None = None) -> Mapping[str, str]:
        """The dictionary as the API holds it: slots and audit lines. With a name, that one's of the active version."""

    def write(self, items: Mapping[str, str | None]) -> None:
        """Set these items (None: remove it if it is there) in one versionless write. Repeating it is harmless."""

    # -- purges --------------------------------------------------------------------------------------------------

    @property
    def slices(self) -> tuple[tuple[str, ...], ...]:
        """Every page, slice by slice: the keys of one call each. () where pages have no groups."""

    def batches(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """The keys, each once, in as few calls as the limits allow.

        Raises UsageError where one can't be a surrogate key, before the first batch is given.
        """

    def purge(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """Purge by surrogate key, in `batches`. A soft purge is repeated where its answer was lost, a hard one is not:
        it would take away what was fetched since."""

    def purge_url(self, url: str, *, soft: bool = True) -> Purged:
        """Purge one page by its address, as its visitors give it to their browsers. Repeated likewise."""

    def purge_everything(self) -> Purged:
        """Purge all there is, at once. Fastly can't do this softly: no page can be served stale afterwards."""

    # -- in words ------------------------------------------------------------------------------------------------

    def in_words(self, policy: Policy) -> str:
        """The thing that is installed, for people: "policy 0123456789ab", "no policy"."""

    @property
    def left_by_remove(self) -> str:
        """What `remove` leaves as it is, a sentence for people; "" where it leaves nothing."""

    def explain(self, phase: str, *, slot: str, claim: ClaimSettings) -> tuple[str, ...]:
        """The calls that a phase of a deploy makes, a line each, for `plan`; () where it makes none.

        `slot` is the slot of the deploy's claim.
        """
