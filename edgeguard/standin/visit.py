"""One request's way through a node of the edge: Fastly's subroutines in Fastly's order, around the cache.

Every step runs one subroutine and names the step that follows (Fastly: reference/vcl/request-lifecycle):

    recv → hash → lookup → hit → deliver
                         → miss → fetch → deliver          deliver_stale: from miss, fetch and error
                → pass → fetch → deliver                   error: from anywhere before deliver, then deliver
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeguard.standin import delivery, vcl_variables
from edgeguard.standin.cache import Freshness, Stored, refreshed
from edgeguard.standin.conditional import validators
from edgeguard.standin.lookup import Lookup
from edgeguard.standin.origin import Unreachable
from edgeguard.standin.vcl import Headers
from edgeguard.standin.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgeguard.standin.node import Loaded, Node, Purge
    from edgeguard.standin.wire import Pairs, Received

    Step = Callable[[], Awaitable["Step | None"]]

MAX_RESTARTS = 3
"""Fastly: reference/vcl/constraints-and-limitations."""
PURGE = "FASTLYPURGE"
"""The method of a request to purge a URL, as VCL sees it (Fastly: reference/api/purging)."""
NOTHING_STALE = "No stale object available"


async def serve(node: Node, received: Received, visits: int = 0) -> Answer:
    """Answer a request on a node. `visits` counts the nodes of the service that it passed before (0: a visitor's)."""
    if node.loaded is None:
        return Answer(500, [("Content-Type", "text/html")], b"Fastly error: unknown domain\n", "Domain Not Found")
    node.replica.catch_up(time.monotonic())
    visit = Visit(node, node.loaded, received, visits, clustered=node.next_is_clustered())
    with contextlib.closing(visit):
        return await visit.answer()


class Visit:
    """The state of one request. `close` gives back its turn to fetch, also when the request was cancelled."""

    def __init__(self, node: Node, loaded: Loaded, received: Received, visits: int, *, clustered: bool) -> None:
        self._node = node
        self._loaded = loaded
        self._received = received
        self._visits = visits
        self._clustered = clustered
        self._began = time.monotonic()
        self._request = vcl_variables.new_request(node, loaded, received, visits)
        self._served: Stored | None = None
        self._body = b""
        self._length: int | None = None
        self._begin()

    def _begin(self) -> None:
        """Set what a restart sets anew."""
        self._lookup = Lookup(self._node, self._request)
        self._passing = False
        self._before_neighbour: Headers | None = None
        """The request's headers before a neighbour in the cluster took it over; None where no neighbour did."""

    async def answer(self) -> Answer:
        """Walk the steps to the end."""
        step: Step | None = self._recv
        while step is not None:
            step = await step()
        served = self._served
        assert served is not None  # noqa: S101 - every way to the end serves something; this tells mypy
        return delivery.finished(
            self._request,
            self._received,
            served,
            self._node,
            length=self._length,
            passed=self._passing,
            holds=self._lookup.kept and self._before_neighbour is None,
        )

    def close(self) -> None:
        """Let other requests fetch."""
        self._lookup.give_back_turn()

    # -- the steps -----------------------------------------------------------------------------------------------

    async def _recv(self) -> Step | None:
        state = self._run("recv")
        if state == "restart":
            return self._restart()
        error = self._request.error
        self._run("hash")
        self._request.error = error
        self._lookup.key = (self._node.cache.generation, str(self._request.values["req.hash"]))
        if state != "error" and self._received.method == PURGE and self._node.purge is not None:
            return self._purged(self._node.purge)
        return {"lookup": self._look_up, "pass": self._pass}.get(state, self._error)

    def _purged(self, purge: Purge) -> Step:
        """Purge the URL, if the request may: VCL can demand a token."""
        req = self._request.req
        url = f"{req.get('Host') or ''}{self._request.values['req.url']}"
        demanded, soft = "Fastly-Purge-Requires-Auth" in req, "Fastly-Soft-Purge" in req
        if purge(url, self._received.header("fastly-key"), soft=soft, demanded=demanded):
            status, reason, body = 200, "OK", b'{"status":"ok"}'
        else:
            status, reason, body = 401, "Unauthorized", b'{"msg":"Provided credentials are missing or invalid"}'
        headers = (("Content-Type", "application/json"),)
        return self._serve(Stored(url, status, reason, headers, body, self._node.controls.now(), 0.0), "NONE")

    async def _look_up(self) -> Step | None:
        lookup, controls = self._lookup, self._node.controls
        lookup.begin()
        if self._clustered and int(self._request.values["req.restarts"] or 0) == 0:
            self._before_neighbour = self._request.req.copy()
        if lookup.find() is not Freshness.FRESH and controls.beliefs.collapse_before_miss:
            await lookup.take_turn()
        if lookup.find() is Freshness.FRESH or (controls.sick and lookup.stale() is not None):
            self.close()
            return self._hit
        return self._miss

    async def _hit(self) -> Step | None:
        stored = self._lookup.stored
        assert stored is not None  # noqa: S101 - only a lookup that found an object leads here; this tells mypy
        vcl_variables.set_obj(self._request, stored, self._node)
        state = self._run("hit")
        if state == "deliver":
            return self._serve(stored, "HIT" if self._lookup.find() is Freshness.FRESH else "HIT-STALE")
        return self._pass if state == "pass" else self._elsewhere(state)

    async def _miss(self) -> Step | None:
        vcl_variables.set_bereq(self._request, "GET", self._received.client, passing=False)
        conditions = validators(self._lookup.stored)
        if conditions and not self._node.controls.beliefs.vcl_miss_before_conditional_fetch:
            return self._fetch
        state = self._run("miss")
        if state == "deliver_stale":
            return self._serve_stale(self._fetch)
        if state == "pass":
            self.close()
            return self._pass
        return self._fetch if state == "fetch" else self._elsewhere(state)

    async def _pass(self) -> Step | None:
        self._passing = True
        self.close()
        method = str(self._request.values["req.method"])
        vcl_variables.set_bereq(self._request, method, self._received.client, passing=True)
        state = self._run("pass")
        return self._fetch if state in {"pass", "fetch"} else self._elsewhere(state)

    async def _fetch(self) -> Step | None:
        lookup, controls = self._lookup, self._node.controls
        conditions: Pairs = []
        if not self._passing:
            await lookup.take_turn()
            if lookup.find() is Freshness.FRESH:
                self.close()
                return self._hit
            conditions = validators(lookup.stored)
        if controls.sick:
            self._request.error = (503, "All backends failed or unhealthy")
            return self._error
        try:
            answer = await self._ask_upstream(conditions)
        except Unreachable as exc:
            self._request.error = (503, str(exc))
            return self._error
        self._node.replica.catch_up(time.monotonic())
        if answer.status == 304 and conditions and lookup.stored is not None:  # noqa: PLR2004 - Not Modified
            stored = refreshed(lookup.stored, answer.headers, controls.now(), controls.beliefs)
            lookup.keep(stored)
            self.close()
            return self._serve(stored, "MISS")
        return self._fetched(answer)

    async def _ask_upstream(self, conditions: Pairs) -> Answer:
        """Ask the origin or the shield. Raises Unreachable."""
        values, bereq = self._request.values, self._request.bereq
        assert bereq is not None  # noqa: S101 - miss and pass made it; this tells mypy
        headers = [*bereq.items(), *conditions]
        body = self._received.body if self._passing else b""
        upstream = self._node.upstream(int(values["req.restarts"] or 0))
        return await upstream.ask(str(values["bereq.method"]), str(values["bereq.url"]), headers, body)

    def _fetched(self, answer: Answer) -> Step | None:
        """Run vcl_fetch on the upstream's answer."""
        vcl_variables.set_beresp(self._request, answer, self._node.controls.now(), passing=self._passing)
        self._body, self._length = answer.body, answer.length
        state = self._run("fetch")

        async def deliver() -> Step | None:
            return self._deliver_fetched(may_store=state == "deliver" and not self._passing)

        if state in {"deliver", "pass", "hit_for_pass"}:
            return deliver
        return self._serve_stale(deliver) if state == "deliver_stale" else self._elsewhere(state)

    def _deliver_fetched(self, *, may_store: bool) -> Step | None:
        """Deliver the upstream's answer, and store it if that is allowed."""
        stored = vcl_variables.fetched(self._request, self._body, self._node.controls.now())
        if may_store and self._request.values["beresp.cacheable"] and stored.ttl > 0:
            self._lookup.keep(stored)
        self.close()
        return self._serve(stored, "PASS" if self._passing else "MISS")

    async def _error(self) -> Step | None:
        """Run vcl_error. The upstream's answer is lost."""
        request, lookup = self._request, self._lookup
        status, text = request.error or (503, "Internal error")
        request.error, request.body = None, None
        request.obj, request.beresp = Headers([]), None
        request.values.update({"obj.status": status, "obj.response": text, "obj.ttl": 0.0})
        request.values["fastly_info.state"] = "ERROR"
        if not lookup.began and self._node.controls.beliefs.error_before_lookup_sees_stale:
            lookup.begin()
            lookup.find()
        state = self._run("error")

        async def deliver() -> Step | None:
            return self._deliver_synthetic()

        if state == "deliver_stale" and not (text == NOTHING_STALE and lookup.stale() is None):
            return self._serve_stale(deliver)
        return self._restart() if state == "restart" else deliver

    def _deliver_synthetic(self) -> Step | None:
        made = vcl_variables.synthetic(self._request, self._node.controls.now())
        self.close()
        return self._serve(made, "ERROR" if made.status >= 500 else "HIT-SYNTH")  # noqa: PLR2004 - server errors

    async def _deliver(self) -> Step | None:
        served, values = self._served, self._request.values
        assert served is not None  # noqa: S101 - _serve set it; this tells mypy
        if self._before_neighbour is not None:
            self._request.req = self._before_neighbour
            if not self._node.controls.beliefs.stale_told_after_cluster_hop:
                values["resp.stale"] = values["resp.stale.is_error"] = False
        delivery.set_resp(self._request, served, self._node, time.monotonic() - self._began)
        if self._run("deliver") == "restart":
            return self._restart()
        self._run("log")
        return None

    # -- between the steps ---------------------------------------------------------------------------------------

    def _run(self, subroutine: str) -> str:
        """Run a subroutine. It sees the time, and whether something stale could be delivered, as they are now."""
        values = self._request.values
        values["now"] = self._node.controls.now()
        neighbour = self._before_neighbour is not None and subroutine in {"hit", "miss", "fetch", "error"}
        values["fastly.ff.visits_this_service"] = self._visits + neighbour
        values["stale.exists"] = "1" if self._lookup.stale(for_exists=True) is not None else None
        return self._loaded.program.run(subroutine, self._request)

    def _elsewhere(self, state: str) -> Step | None:
        """The step to which `error` and `restart` lead."""
        return self._restart() if state == "restart" else self._error

    def _restart(self) -> Step | None:
        self.close()
        if self._before_neighbour is not None:
            self._request.req = self._before_neighbour
        restarts = int(self._request.values["req.restarts"] or 0) + 1
        self._begin()
        self._request.values["req.restarts"] = restarts
        return self._recv if restarts <= MAX_RESTARTS else self._deliver_limit

    async def _deliver_limit(self) -> Step | None:
        """End a loop of restarts. No further subroutine runs."""
        reason = "Max restarts limit reached"
        self._request.error = (503, reason)
        self._request.resp = Headers([])
        self._request.values["resp.status"] = 503
        self._served = Stored("", 503, reason, (), b"max restarts limit reached\n", 0.0, 0.0)
        return None

    def _serve(self, stored: Stored, info: str) -> Step:
        """Choose the object to deliver. `info` is fastly_info.state."""
        values = self._request.values
        stale = info == "HIT-STALE"
        values["fastly_info.state"] = info
        values["resp.stale"] = values["resp.stale.is_error"] = stale
        values["resp.stale.is_revalidating"] = False
        if info.startswith("HIT") and self._lookup.holds(stored):
            self._lookup.keep(replace(stored, hits=stored.hits + 1))
        if info not in {"MISS", "PASS"}:
            self._length = None
        self._served = stored
        return self._deliver

    def _serve_stale(self, otherwise: Step) -> Step | None:
        """Deliver the stale object. Where there is none, the step is `otherwise`, or an error (see Beliefs)."""
        stale = self._lookup.stale()
        if stale is not None:
            self.close()
            return self._serve(stale, "HIT-STALE")
        if self._node.controls.beliefs.deliver_stale_with_nothing_is_error:
            self._request.error = (503, NOTHING_STALE)
            return self._error
        return otherwise
