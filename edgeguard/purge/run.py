"""Purging, call by call, at a pace. A second pass covers shields, and calls are repeated while the API has no time."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.edge.purging import address
from edgeguard.errors import EdgeguardError, EdgeNotDone, EdgeUnavailable, Interrupted
from edgeguard.machine.signals import pause
from edgeguard.purge.origin import Origin
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.edge import Edge, Purged
    from edgeguard.purge import Purge
    from edgeguard.settings import EdgeSettings, PurgeSettings

SECOND_PASS, SECOND_PASS_OF_ALL = 2.0, 30.0
"""Seconds until the second pass. By then the shield is purged too, so no node fetches an old page from it any more.
Purges by key take 0.15 s as a rule; those of everything take up to 20 s or more (Fastly:
guides/full-site-delivery/purging)."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0


@dataclass(frozen=True)
class _Call:
    """One call of the API. `first` is the first thing that it purges; an error names it, so a person can go on there.

    `gauged`: the origin has to be well before the call.
    """

    ask: Callable[[], tuple[Purged, ...]]
    first: str
    keys: int = 0
    again_after: float = SECOND_PASS
    gauged: bool = False


class Run:
    """One purge under way.

    `check` is called before every call, and raises where purging has to stop. `told` hears how far the purge is, and
    why it waits. Errors of `sleep` pass through.
    """

    def __init__(
        self,
        edge: Edge,
        settings: PurgeSettings,
        front: EdgeSettings,
        *,
        sleep: Callable[[float], None] = pause,
        told: Callable[[str], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._edge = edge
        self._settings = settings
        self._sleep = sleep
        self._told = told
        self._check = check
        self._origin = Origin(front, patience=settings.patience, sleep=sleep, told=told)
        self._again: deque[tuple[float, _Call]] = deque()
        self._ids: list[str] = []
        self._requests = 0
        self._waited = 0.0
        self._under_way = False

    def purge(self, wanted: Purge) -> dict[str, Any]:
        """Purge. Returns {"keys", "urls": how many, "requests": calls of the API, "ids": for Fastly's support,
        "second_pass": whether everything was purged twice}.

        Raises:
            UsageError: something can't be purged. This is raised before anything is purged.
            EdgeError: the API failed for longer than `purge.patience`.
            OriginsUnhealthy: the origin can't keep up (where every page is purged softly).
            Each says how far the purge came.
        """
        calls = self._calls(wanted)
        shielded = bool(calls) and self._settings.second_pass != 0 and self._edge.shielded() is not False
        twice = bool(self._settings.second_pass) or shielded
        done = 0
        try:
            if any(call.gauged for call in calls):
                self._origin.begin()
            for call in calls:
                if done:
                    self._between(call, soft=wanted.soft)
                self._do(call, soft=wanted.soft)
                done += 1
                if twice:
                    wait = call.again_after if self._settings.second_pass is None else self._settings.second_pass
                    self._again.append((time.monotonic() + wait, call))
                if len(calls) > 1:
                    self._told(f"{done} of {len(calls)} calls")
            while self._again:
                due, call = self._again.popleft()
                self._sleep(max(0.0, due - time.monotonic()))
                self._do(call, soft=wanted.soft)
        except EdgeguardError as exc:
            unknown = isinstance(exc, Interrupted) and self._under_way
            raise exc.with_more(_how_far(calls, done, unknown=unknown)) from exc
        keys, urls = sum(call.keys for call in calls), len(wanted.urls)
        return {"keys": keys, "urls": urls, "requests": self._requests, "ids": self._ids, "second_pass": twice}

    def _calls(self, wanted: Purge) -> list[_Call]:
        """All calls, in their order. Raises UsageError for what can't be purged."""
        edge, soft = self._edge, wanted.soft
        for url in wanted.urls:
            address(url)
        calls = [_Call(partial(edge.purge, keys, soft=soft), keys[0], len(keys)) for keys in edge.batches(wanted.keys)]
        calls += [_Call(partial(_alone, edge.purge_url, url, soft=soft), url) for url in wanted.urls]
        if wanted.groups:
            calls += [_Call(partial(edge.purge, keys), keys[0], len(keys), gauged=True) for keys in edge.slices]
        if wanted.everything:
            calls.append(_Call(partial(_alone, edge.purge_everything), "everything", again_after=SECOND_PASS_OF_ALL))
        return calls

    def _between(self, call: _Call, *, soft: bool) -> None:
        """Pause between two calls. Second passes that are due come first, and the origin may catch up."""
        self._sleep(self._settings.pace)
        while self._again and self._again[0][0] <= time.monotonic():
            self._do(self._again.popleft()[1], soft=soft)
        if call.gauged:
            self._origin.wait_until_well()

    def _do(self, call: _Call, *, soft: bool) -> None:
        """Make one call, and repeat it while the API has no time, for `purge.patience` seconds in all.

        A call without an answer may have purged all the same, so it is repeated only if it is soft.
        """
        wait = FIRST_WAIT
        while True:
            self._check()
            self._under_way = True
            try:
                for purged in call.ask():
                    self._ids += purged.ids
                self._requests += 1
                self._under_way = False
            except EdgeUnavailable as exc:
                pause = wait if exc.wait is None else max(exc.wait, FIRST_WAIT)
                if not (soft or isinstance(exc, EdgeNotDone)) or self._waited + pause > self._settings.patience:
                    raise
                self._under_way = False
                self._told(f"{exc.message}; again in {duration(pause)}")
                self._sleep(pause)
                self._waited += pause
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                return


def _alone(ask: Callable[..., Purged], *arguments: str, **options: bool) -> tuple[Purged, ...]:
    return (ask(*arguments, **options),)


def _how_far(calls: list[_Call], done: int, *, unknown: bool) -> str:
    """How far a purge came. `unknown`: a call was under way, and nobody knows whether it was done."""
    if unknown and done < len(calls):
        said = f"{done} of {len(calls)} calls are made" if done else "no call is surely made"
        return f"{said}, and the next, which may be made too, was under way: {calls[done].first}"
    if done == 0:
        return "nothing is purged"
    if done == len(calls):
        return "all of it is purged, but not yet a second time, as a shielded service needs"
    return f"{done} of {len(calls)} calls are made, and what comes next is {calls[done].first}"
