"""The edge keeps copies of pages, serves them stale within the grace in force, and takes claims that raise the grace.

`Edge` is all that the rest of edgeguard knows of it. `VisibleEdge` is the part that needs no token. Only the classes
behind these protocols know an edge's headers, limits, calls and errors: those for Fastly are in `edge/fastly`.
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
    "stale-off",
)
"""Names of findings of `ActiveVersion.conflicts` that a person may accept. The finding "compute-service" is not among
them: such a service can't carry the policy."""
REMARKS = ("restarts", "segmented-caching", "open-purges")
"""Names of findings of `ActiveVersion.remarks`."""
SHORTENS = "shortens"
"""The name of the finding of `Edge.shortened`. A person may accept it, too."""


@dataclass(frozen=True)
class Status:
    """One edge node's answer to the policy's status request. Durations are in seconds.

    `slots` has the value of every slot exactly as the node sees it ("" if the item does not exist). `now` is the node's
    clock (Unix time). `grace` and `hold` are in force on that node at that moment.
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
    """The facts in a page's answer about the edge's copy of the page. Times are in seconds; None is unknown.

    `hit`: the answer came from a copy. `told`: a node has reported on its copy. `node` is that node's name; `ttl` (the
    remaining one) and `stale_if_error` are the copy's, if this node holds the copy. `stale`: the reason why the answer
    is a stale copy ("hold", "error"). `existed`: there was a copy, fresh or stale, when this answer was fetched, at
    `fetched_at` (Unix time, the edge's clock).
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
    """The wishes in an answer's headers about its copy at this edge. Times are in seconds; None is not said.

    `refusal`: the reason why the answer can't be a copy for others (a finding's name, and the evidence without a
    cookie's value). `lifetime`: its TTL. `promised`: its own stale-if-error. `stated`: the headers state a TTL or an
    expiry, so a 304 with them sets the copy's times anew. `keyed`: the headers name surrogate keys.
    """

    refusal: tuple[str, str] | None
    lifetime: int | None
    promised: int | None
    stated: bool
    keyed: bool


@dataclass(frozen=True)
class Policy:
    """The policy in the active version: its revision (None: not installed), and its differences from the wanted one.

    `differences` has a few words for each. `diff` has all of them as a unified diff, from the active version to the
    wanted state. After a change, `diff` is the change, and `notes` are remarks, such as on drafts left behind. If
    `edge.mechanism` is "settings", `revision` is that word.
    """

    version: int | None
    revision: str | None
    differences: tuple[str, ...] = ()
    diff: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Granted:
    """The base grace and the ceiling of the installed policy, in seconds, and the dictionary with its claims (None: the
    active version has no such dictionary). If no policy is installed, these are the values of the environment's file.
    """

    base: int
    ceiling: int
    dictionary: str | None


@dataclass(frozen=True)
class Purged:
    """One purge call that was answered: the number of its keys, and the edge's ids for it. Fastly's support asks for
    these ids."""

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
    """Ask a URL once, over a new connection. Raises OriginsUnhealthy if there is no HTTP answer in time."""

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float) -> Answer:
        """`timeout` in seconds."""


class ActiveVersion(Protocol):
    """The service's active version, as it was at one reading. It answers questions without any further request."""

    @property
    def number(self) -> int:
        """The version's number."""

    @property
    def fit(self) -> bool:
        """Whether this kind of service can carry the policy."""

    def conflicts(self) -> tuple[Finding, ...]:
        """Everything in it that works against the policy (or the setting) of `install`; () if nothing does. The names
        are in CONFLICTS."""

    def remarks(self) -> tuple[Finding, ...]:
        """Everything in it that conflicts with nothing, but leaves something open; () if there is nothing. The names
        are in REMARKS."""

    def health_checks(self, *, closure: float, green_path: str | None, patience: float) -> tuple[Finding, ...]:
        """The findings on how the edge's own health checks would judge a closure of `closure` seconds.

        `green_path` is answered while the cluster is closed. A deploy waits `patience` seconds for a healthy answer.
        """

    def granted(self) -> Granted:
        """The grace that the policy in it grants, and the place of its claims."""


class VisibleEdge(Protocol):
    """An edge as anybody can see it without a token. A monitor has none."""

    @property
    def claims(self) -> bool:
        """Whether claims can raise the grace. Then the edge shows them."""

    @property
    def base(self) -> int:
        """The grace that is in force without any claim, in seconds."""

    @property
    def revision(self) -> str:
        """The revision that `install` would put into the service, to compare with `Status.revision` and
        `Policy.revision`."""

    @property
    def asking(self) -> Mapping[str, str]:
        """The headers for a request for a page, with which the answer tells about the edge's copy."""

    def status(self, *, timeout: float = 5.0) -> Status:
        """Ask the status request once, over a new connection, through the front door. `timeout` in seconds.

        Raises EdgeUnavailable, also if the answer is not a status of our policy.
        """

    def copy(self, headers: Mapping[str, str]) -> Copy:
        """Read the facts about the copy in an answer to `asking`. Names of headers are in lower case."""

    def freshness(self, headers: Mapping[str, str]) -> Freshness:
        """Read the freshness in the headers of an answer of the edge or of an origin. Names are in lower case."""

    def keeps(self, status: int) -> bool:
        """Whether pages with this HTTP status are kept for long."""


class Edge(VisibleEdge, Protocol):
    """An edge service. Every call is bounded in time. It is repeated a few times if repeating is harmless.

    All calls raise EdgeUnauthorized, EdgeUnavailable or EdgeError.
    """

    # -- the service ---------------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """The policy in the service's active version, compared with the one that `install` would put there."""

    def active_version(self) -> ActiveVersion:
        """Everything in the service's active version that may concern the policy. EdgeError if no version is active."""

    def install(self, reason: str, *, expecting: int | None = None) -> Policy:
        """Clone the active version, put the policy and its dictionary there, validate, activate.

        Idempotent: without a difference nothing is written. Raises ActiveChanged if another version than `expecting`
        is active, or becomes active meanwhile.
        """

    def remove(self, reason: str, *, dictionary: bool = False, expecting: int | None = None) -> Policy:
        """Take the policy out in the same way. Its dictionary with the claims and the audit stays, unless `dictionary`
        is true."""

    def shortened(self, url: str, headers: Mapping[str, str]) -> Finding | None:
        """The finding that a page's own stale-if-error is longer than the one that it would have under the policy.

        `headers` are those of the page's answer, with names in lower case. None: nothing would be shortened.
        """

    def token_findings(self, *, now: float, lasting: float) -> tuple[Finding, ...]:
        """The findings on a token that has to last for `lasting` more seconds; () if it is fit."""

    def shielded(self) -> bool | None:
        """Whether nodes of this service may fetch from each other (None: the token may not read that)."""

    # -- claims --------------------------------------------------------------------------------------------------

    def require_claims(self) -> None:
        """Raise UsageError with the reason if this edge takes no claims."""

    def items(self, dictionary: str | None = None) -> Mapping[str, str]:
        """The dictionary's items as the API has them: slots and audit lines. With a name, the items of the active
        version's dictionary of that name."""

    def item(self, key: str) -> str:
        """One item as the API has it at this moment, asked for by its key; "" if it is not there."""

    def write(self, items: Mapping[str, str | None]) -> None:
        """Set these items in one versionless write (None: remove the item if it is there). Repeating is harmless."""

    # -- purges --------------------------------------------------------------------------------------------------

    @property
    def slices(self) -> tuple[tuple[str, ...], ...]:
        """All pages in slices: each slice has the keys of one purge call. () if pages have no groups."""

    def batches(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """The keys without repetition, in batches for as few calls as the limits allow.

        Raises UsageError before the first batch if one can't be a surrogate key.
        """

    def purge(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """Purge by surrogate key, in `batches`.

        A soft purge is repeated if its answer was lost. A hard one is not: it would remove pages that were fetched
        since.
        """

    def purge_url(self, url: str, *, soft: bool = True) -> Purged:
        """Purge one page by its address, as visitors type it into a browser. Repeated as `purge` is."""

    def purge_everything(self) -> Purged:
        """Purge all pages at once. Fastly can't do this softly: no page can be served stale afterwards."""

    # -- in words ------------------------------------------------------------------------------------------------

    def in_words(self, policy: Policy) -> str:
        """The installed policy in words for people: "policy 0123456789ab", "no policy"."""

    @property
    def left_by_remove(self) -> str:
        """A sentence for people on what `remove` does not undo; "" if it undoes everything."""

    def explain(self, phase: str, *, slot: str, claim: ClaimSettings) -> tuple[str, ...]:
        """The calls to the edge in a phase of a deploy, a line each, for `plan`; () if there are none.

        `slot` is the slot of the deploy's claim.
        """
