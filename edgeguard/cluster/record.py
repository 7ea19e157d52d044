"""The types of the record. It is a JSON object with the truth about an environment, and each server holds a copy.

Each type is parsed once from its JSON object and keeps that object as `json`. The other attributes are its parsed
values. `also` makes a changed copy. So a write changes only the keys that it names.

The rule for the records of older and newer edgeguards: within one `version`, a record only gains optional keys.

- An absent key, or null, has the meaning that it had for edgeguards that did not know the key yet. The parsing below
  states that meaning beside each key. The key stays absent until a process changes it.
- A key that this edgeguard does not know is kept in each object, and written back as it was.
- An older edgeguard may write in between, since it keeps this one's keys, too. The record with the highest epoch
  counts, and within it the highest serial, whichever edgeguard wrote it.
- A record of another `version` is refused.
"""

from __future__ import annotations

import json as text
from dataclasses import dataclass
from enum import Enum
from functools import total_ordering
from typing import TYPE_CHECKING, Self

from edgeguard.cluster.parts import (
    Nonsense,
    Part,
    numbers_by_name,
    optional,
    part,
    parts,
    required,
    texts,
    texts_by_name,
    whole_parts,
    words,
)
from edgeguard.cluster.time_closed import TimeClosed
from edgeguard.errors import ClusterError
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.cluster.parts import JSON

VERSION = 1


@total_ordering
class Phase(Enum):
    """The phases of a deploy that matter to another process, in the order of its story. A phase is reached before its
    first act."""

    LOCK = "lock"  # no visitor can notice anything yet
    CLOSE = "close"
    HOOK = "hook"
    OPEN = "open"
    COMMITTED = "committed"  # only the clean-up is left

    @classmethod
    def of(cls, name: str) -> Phase:
        """The phase of this name. Raises Nonsense."""
        try:
            return cls(name)
        except ValueError as exc:
            raise Nonsense(f"phase is none of {', '.join(each.value for each in cls)}") from exc

    def __lt__(self, other: Phase) -> bool:
        order = list(Phase)
        return order.index(self) < order.index(other)


class Damaged(ClusterError):
    """A server's record is not a JSON object, or one of its keys has a value that makes no sense.

    The message names the key, but not the value, and not the server: the caller adds the server's name.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"its record is damaged: {what}",
            "Put back the right one (another server may have the same), or remove it if nothing is under way.",
        )


@dataclass(frozen=True)
class Lock(Part):
    """The lock, as its holder wrote it."""

    deploy: str  # the id of the deploy, or of the act by hand
    by_hand: bool  # `cluster close` or `cluster open` took it
    holder: str  # user, machine and process, for people
    since: str  # RFC 3339, for people
    counter: int  # the holder counts it up while it lives

    @classmethod
    def of(cls, json: JSON) -> Self:
        """As Part.of."""
        return cls(
            json,
            deploy=required(json, "deploy", str),
            by_hand=optional(json, "by_hand", bool, False),
            holder=words(json, "holder"),
            since=words(json, "since"),
            counter=required(json, "counter", int),
        )


@dataclass(frozen=True)
class StartedHook(Part):
    """The claim on the one start of a deploy hook. It is on every server before the hook starts."""

    server: str  # the server on which it starts

    @classmethod
    def of(cls, json: JSON) -> Self:
        """As Part.of."""
        return cls(json, server=required(json, "server", str))


@dataclass(frozen=True)
class Unfinished(Part):
    """A deploy that is under way or was left unfinished, with all facts that another machine needs to go on with it."""

    id: str
    phase: Phase
    ref: str | None
    release: str | None  # the digest of its image
    variables: str | None  # as in Opened
    users: str  # as in Opened
    guarded: bool  # whether it claims grace
    purge_keys: tuple[str, ...]
    changed: bool  # a person has accepted that its image is not as it was built
    hook: StartedHook | None  # the start of its own hook
    after_hook: bool  # the hook of a deploy that it supersedes had begun
    was_open: bool  # whether the cluster was open before this deploy, or before the first one that it supersedes
    pages: Mapping[str, int]  # the status of each page that was asked before the close
    time_closed: TimeClosed | None  # None: it has closed nothing yet, or nobody wrote it down
    replaced: Opened | None  # the generation that it has replaced, once it has committed
    held: bool  # the cluster stays closed on purpose until a person decides
    without: tuple[str, ...]  # the servers that it leaves out
    superseded: Unfinished | None  # the unfinished deploy that it supersedes

    @classmethod
    def of(cls, json: JSON) -> Self:
        """As Part.of."""
        return cls(
            json,
            id=required(json, "id", str),
            phase=Phase.of(required(json, "phase", str)),
            ref=optional(json, "ref", str, None),
            release=optional(json, "release", str, None),
            variables=optional(json, "variables", str, None),
            users=optional(json, "users", str, ""),
            guarded=optional(json, "guarded", bool, True),
            purge_keys=texts(json, "purge_keys"),
            changed=optional(json, "changed", bool, False),
            hook=part(json, "hook", StartedHook),
            after_hook=optional(json, "after_hook", bool, False),
            was_open=optional(json, "was_open", bool, True),
            pages=numbers_by_name(json, "pages"),
            time_closed=part(json, "time_closed", TimeClosed),
            replaced=part(json, "replaced", Opened),
            held=optional(json, "held", bool, False),
            without=texts(json, "without"),
            superseded=part(json, "superseded", Unfinished),
        )

    @property
    def back(self) -> str:
        """The options with which `rollback` takes this deploy back. Without any it finishes one that has committed."""
        return f" --deploy {self.id}" if self.phase is Phase.COMMITTED else ""

    @property
    def hook_begun(self) -> bool:
        """Whether the hook of this deploy, or of one that it supersedes, has begun."""
        return self.hook is not None or self.after_hook


@dataclass(frozen=True)
class Opened(Part):
    """A generation that was opened on the servers."""

    generation: str
    release: str  # the digest of its image
    variables: str | None  # the fingerprint of its variables; None: nobody wrote it down
    users: str  # the fingerprint of its users; "": it has none, as before edgeguard knew users

    @classmethod
    def of(cls, json: JSON) -> Self:
        """As Part.of."""
        return cls(
            json,
            generation=required(json, "generation", str),
            release=required(json, "release", str),
            variables=optional(json, "variables", str, None),
            users=optional(json, "users", str, ""),
        )

    @property
    def parts(self) -> tuple[str | None, ...]:
        """The parts that make a release, always in this order. None: nobody wrote this part down."""
        return (self.release, self.variables, self.users)

    def differs(self, other: Opened) -> bool:
        """Whether two generations are of different releases. A part that one of them lacks tells nothing."""
        return any(None not in pair and pair[0] != pair[1] for pair in zip(self.parts, other.parts, strict=True))


@dataclass(frozen=True)
class ClosedByHand(Part):
    """A closure by hand: the person, the reason, its beginning, and the planned end."""

    id: str
    who: str
    why: str
    since: str | None  # RFC 3339, by the edge's clock as in TimeClosed; None: nobody wrote it down
    until: str  # RFC 3339, likewise

    @classmethod
    def of(cls, json: JSON) -> Self:
        """As Part.of."""
        return cls(
            json,
            id=required(json, "id", str),
            since=optional(json, "since", str, None),
            who=words(json, "who"),
            why=words(json, "why"),
            until=words(json, "until"),
        )


@dataclass(frozen=True)
class Ended(Part):
    """The end of a run of `deploy`, `resume` or `rollback`: a line of the history."""

    id: str
    command: str
    who: str
    started: str  # RFC 3339
    outcome: str
    error: str | None
    release: str | None
    closed_seconds: float | None  # over all runs, as TimeClosed; None: nothing was closed
    still_closed: bool  # the cluster was closed when the run ended
    closed_before: bool  # an earlier run had closed the cluster

    @classmethod
    def of(cls, json: JSON) -> Self:
        """As Part.of."""
        return cls(
            json,
            id=optional(json, "id", str, ""),
            command=optional(json, "command", str, ""),
            who=on_one_line(optional(json, "who", str, "")),
            started=optional(json, "started", str, ""),
            outcome=optional(json, "outcome", str, ""),
            error=optional(json, "error", str, None),
            release=optional(json, "release", str, None),
            closed_seconds=optional(json, "closed_seconds", float, None),
            still_closed=optional(json, "still_closed", bool, False),
            closed_before=optional(json, "closed_before", bool, False),
        )


@dataclass(frozen=True)
class Record(Part):
    """The whole record. Before the first deploy there is none, which is `Record.new()`, with epoch 0."""

    epoch: int  # counts the holders of the lock
    serial: int  # counts the writes: of two copies with one epoch, the higher serial is the newer
    lock: Lock | None
    deploy: Unfinished | None
    closure: ClosedByHand | None
    opened: Opened | None  # the generation that serves
    before: Opened | None  # the generation of the last release that differs from it
    kept: tuple[Opened, ...]  # as it was written; `releases` says what is true
    without: tuple[str, ...]  # the servers that were left out when `opened` was opened; a deploy has its own
    beneath: Mapping[str, str]  # slot and value of the pipelines' claims over which a deploy wrote its own
    history: tuple[Ended, ...]  # the last runs, the newest last

    @classmethod
    def of(cls, json: JSON) -> Self:
        """Parse a record.

        Raises:
            Damaged: it is not a JSON object, or a key's value makes no sense.
        """
        _refuse_other_than_json(json)
        try:
            return cls(
                json,
                epoch=optional(json, "epoch", int, 0),
                serial=optional(json, "serial", int, 0),
                lock=part(json, "lock", Lock),
                deploy=part(json, "deploy", Unfinished),
                closure=part(json, "closure", ClosedByHand),
                opened=part(json, "opened", Opened),
                before=part(json, "before", Opened),
                kept=parts(json, "releases", Opened),
                without=texts(json, "without"),
                beneath=texts_by_name(json, "beneath"),
                history=whole_parts(json, "history", Ended),
            )
        except RecursionError as exc:
            raise Damaged("it is nested too deeply") from exc
        except Nonsense as exc:
            raise Damaged(str(exc)) from exc

    @classmethod
    def on(cls, server: str, json: JSON, environment: str) -> Self:
        """Parse the record that a server holds.

        Raises:
            Damaged: as `of`.
            ClusterError: it is of another version, or of another environment.
        """
        _refuse_other_than_json(json)
        if (version := json.get("version")) != VERSION:
            raise ClusterError(
                f"{server}: its record has version {version!r}, this edgeguard knows {VERSION}",
                "Use the edgeguard that wrote it, or a newer one.",
            )
        if (name := json.get("environment")) != environment:
            raise ClusterError(
                f"{server}: its record is of the environment {name!r}",
                "Two environments' files name the same servers; mend cluster.servers or cluster.root.",
            )
        return cls.of(json)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The servers that are left out: by the deploy that is under way, else since the last opening."""
        return (self.deploy or self).without

    @property
    def releases(self) -> tuple[Opened, ...]:
        """The last releases that differ, the newest first, each with its newest generation. The first one serves, and
        all are kept on the servers.

        An older edgeguard knows `opened` and `before` alone. Where it has opened another generation, it has also pruned
        all but these two.
        """
        if self.opened is None:
            return ()
        if self.kept and self.kept[0].generation == self.opened.generation:
            return self.kept
        return (self.opened, self.before) if self.before and self.before.differs(self.opened) else (self.opened,)

    def opening(self, target: Opened, *, keep: int) -> JSON:
        """The facts about releases once `target` has been opened, of which `keep` stay on the servers."""
        kept = [target, *(release for release in self.releases if release.differs(target))][:keep]
        return {"opened": target, "before": kept[1] if len(kept) > 1 else None, "releases": kept}

    def taken(self, environment: str, lock: Lock, deploy: Unfinished | None) -> Record:
        """The record of the next holder of the lock."""
        return Record.of({"opened": None, "before": None, **self.json}).also(
            version=VERSION,
            environment=environment,
            epoch=self.epoch + 1,
            serial=self.serial + 1,
            deploy=deploy,
            lock=lock,
        )


def _refuse_other_than_json(found: object) -> None:
    if not isinstance(found, dict):
        raise Damaged("it is not a JSON object")
    try:
        text.dumps(found, allow_nan=False)  # NaN is unequal to itself: a lock with one would look alive for ever
    except RecursionError as exc:
        raise Damaged("it is nested too deeply") from exc
    except (TypeError, ValueError) as exc:
        raise Damaged("it has a value that is not JSON") from exc
