"""One request's way through a node of the edge: Fastly's subroutines in Fastly's order, around the cache.

Every step runs one subroutine and names the step that follows (Fastly: reference/vcl/request-lifecycle):

    recv → hash → lookup → hit → deliver
                         → miss → fetch → deliver          deliver_stale: from miss, fetch and error
                → pass → fetch → deliver                   error: from anywhere before deliver, then deliver
"""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from edgeguard.standin.cache import (
    CACHEABLE,
    UNLIMITED,
    UNSTATED_TTL,
    Freshness,
    Limits,
    Stored,
    freshness,
    lifetime,
    refreshed,
    surrogate_keys,
)
from edgeguard.standin.origin import Unreachable
from edgeguard.standin.vcl import Headers, Request
from edgeguard.standin.wire import Answer, end_to_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgeguard.standin.node import Loaded, Node
    from edgeguard.standin.vcl import Value
    from edgeguard.standin.wire import Pairs, Received

    Step = Callable[[], Awaitable["Step | None"]]

MAX_RESTARTS = 3
"""Fastly: reference/vcl/constraints-and-limitations."""
CONDITIONAL = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range")
"""A visitor's conditions are judged at the edge, not by the origin, when the answer may be stored."""


class Visit:
    """The state of one request. `close` gives back what it holds, also when it was cancelled on its way."""

    def __init__(self, node: Node, loaded: Loaded, received: Received, visits: int, *, clustered: bool) -> None:
        self._node = node
        self._loaded = loaded
        self._received = received
        self._visits = visits
        self._clustered = clustered
        self._began = time.monotonic()
        self._forget()
        self._holds_turn = False
        self._served: Stored | None = None
        self._bodies: bytes = b""
        self._length: int | None = None
        self._request = self._begin()

    def _begin(self) -> Request:
        values: dict[str, Value] = {
            "req.url": self._received.target,
            "req.method": self._received.method,
            "req.proto": "HTTP/1.1",
            "req.restarts": 0,
            "req.hash": "",
            "req.vcl.generation": self._node.cache.generation,
            "req.vcl.version": self._loaded.number,
            "req.max_stale_if_error": UNLIMITED,
            "req.max_stale_while_revalidate": UNLIMITED,
            "client.ip": self._received.client,
            "server.identity": self._node.identity,
            "fastly_info.state": "NONE",
            "stale.exists": None,
            "resp.stale": False,
            "resp.stale.is_error": False,
            "resp.stale.is_revalidating": False,
        }
        pairs = end_to_end(self._received.headers)
        if self._visits == 0:  # only what another node says of itself counts
            pairs = [(key, value) for key, value in pairs if key.lower() != "fastly-ff"]
        return Request(
            tables=self._loaded.tables,
            req=Headers(pairs),
            values=values,
            semantics=self._node.controls.semantics,
        )

    def _forget(self) -> None:
        """What a restart begins anew."""
        self._key: tuple[int, str] | None = None
        self._stored: Stored | None = None
        self._passing = False
        self._at_lookup: Limits | None = None
        self._looked_up = False
        self._kept = False
        self._sent: Headers | None = None

    async def answer(self) -> Answer:
        """Walk the steps to the end."""
        step: Step | None = self._recv
        while step is not None:
            step = await step()
        return self._finished()

    def close(self) -> None:
        """Let others fetch."""
        if self._holds_turn and self._key is not None:
            self._holds_turn = False
            self._node.turns.give_back(self._key)

    # -- the steps -----------------------------------------------------------------------------------------------

    async def _recv(self) -> Step | None:
        state = self._run("recv")
        if state == "restart":
            return self._restart()
        failed = self._request.error
        self._request.values["req.hash"] = ""
        self._run("hash")
        self._request.error = failed
        self._key = (self._node.cache.generation, str(self._request.values["req.hash"]))
        return {"lookup": self._lookup, "pass": self._pass}.get(state, self._error)

    async def _lookup(self) -> Step | None:
        self._looked_up = True
        self._at_lookup = self._limits()
        if self._clustered and int(self._request.values["req.restarts"] or 0) == 0:
            self._sent = self._request.req.copy()
        if self._find() is not Freshness.FRESH and self._node.controls.beliefs.collapse_before_miss:
            await self._take_turn()
        if self._find() is Freshness.FRESH or (self._node.controls.sick and self._stale() is not None):
            self.close()
            return self._hit
        return self._miss

    async def _hit(self) -> Step | None:
        stored = self._stored
        assert stored is not None  # noqa: S101 - only an object to deliver leads here; this tells mypy
        self._describe(stored)
        state = self._run("hit")
        if state == "deliver":
            return self._serve(stored, "HIT" if self._find() is Freshness.FRESH else "HIT-STALE")
        return self._pass if state == "pass" else self._elsewhere(state)

    async def _miss(self) -> Step | None:
        self._ask_back("GET")
        if self._validators() and not self._node.controls.beliefs.vcl_miss_before_conditional_fetch:
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
        self._ask_back(str(self._request.values["req.method"]))
        state = self._run("pass")
        return self._fetch if state in {"pass", "fetch"} else self._elsewhere(state)

    async def _fetch(self) -> Step | None:
        conditions: Pairs = []
        if not self._passing:
            await self._take_turn()
            if self._find() is Freshness.FRESH:
                self.close()
                return self._hit
            conditions = self._validators()
        values, bereq = self._request.values, self._request.bereq
        assert bereq is not None  # noqa: S101 - _ask_back made it; this tells mypy
        headers = [*bereq.items(), *conditions]
        body = self._received.body if self._passing else b""
        if self._node.controls.sick:
            self._request.error = (503, "All backends failed or unhealthy")
            return self._error
        try:
            asked = self._node.upstream()
            answer = await asked.ask(str(values["bereq.method"]), str(values["bereq.url"]), headers, body)
        except Unreachable as exc:
            self._request.error = (503, str(exc))
            return self._error
        self._node.replica.catch_up(time.monotonic())
        if answer.status == 304 and conditions and self._stored is not None and self._key is not None:  # noqa: PLR2004 - Not Modified
            stored = refreshed(self._stored, answer.headers, self._node.controls.now(), self._node.controls.beliefs)
            self._node.cache.put(self._key, stored)
            self._kept = True
            self.close()
            return self._serve(stored, "MISS")
        return self._judge(answer)

    def _judge(self, answer: Answer) -> Step | None:
        """Run vcl_fetch on the origin's answer."""
        request, values = self._request, self._request.values
        said = lifetime(answer.headers, self._node.controls.now())
        request.beresp = Headers(answer.headers)
        values.update(
            {
                "beresp.status": answer.status,
                "beresp.response": answer.reason,
                "beresp.ttl": UNSTATED_TTL if said.ttl is None else said.ttl,
                "beresp.stale_while_revalidate": said.swr or 0.0,
                "beresp.stale_if_error": said.sie or 0.0,
                "beresp.cacheable": answer.status in CACHEABLE and not self._passing,
                "fastly_info.state": "PASS" if self._passing else "MISS",
            },
        )
        self._bodies, self._length = answer.body, answer.length
        state = self._run("fetch")

        async def deliver() -> Step | None:
            return self._deliver_fetched(may_store=state == "deliver" and not self._passing)

        if state in {"deliver", "pass", "hit_for_pass"}:
            return deliver
        return self._serve_stale(deliver) if state == "deliver_stale" else self._elsewhere(state)

    def _deliver_fetched(self, *, may_store: bool) -> Step | None:
        """Store what the origin sent, if it may be, and deliver it."""
        request, values = self._request, self._request.values
        beresp = request.beresp
        assert beresp is not None  # noqa: S101 - _judge made it; this tells mypy
        now = self._node.controls.now()
        headers = tuple(beresp.items())
        ttl = float(values["beresp.ttl"] or 0.0)
        stored = Stored(
            url=f"{request.req.get('Host') or ''}{values['req.url']}",
            status=int(values["beresp.status"] or 0),
            reason=str(values["beresp.response"] or ""),
            headers=tuple((key, value) for key, value in headers if key.lower() != "age"),
            body=self._bodies,
            stored_at=now,
            ttl=ttl,
            swr=float(values["beresp.stale_while_revalidate"] or 0.0),
            sie=float(values["beresp.stale_if_error"] or 0.0),
            age=lifetime(list(headers), now).age,
            surrogate_keys=surrogate_keys(beresp.get("Surrogate-Key") or ""),
        )
        if may_store and values["beresp.cacheable"] and ttl > 0 and self._key is not None:
            self._node.cache.put(self._key, stored)
            self._kept = True
        self.close()
        return self._serve(stored, "PASS" if self._passing else "MISS")

    async def _error(self) -> Step | None:
        """Run vcl_error. What the origin said is lost."""
        request = self._request
        status, text = request.error or (503, "Internal error")
        request.error, request.body = None, None
        request.obj, request.beresp = Headers([]), None
        request.values.update({"obj.status": status, "obj.response": text, "obj.ttl": 0.0})
        request.values["fastly_info.state"] = "ERROR"
        if not self._looked_up and self._node.controls.beliefs.error_before_lookup_sees_stale:
            self._looked_up = True
            self._at_lookup = self._limits()
            self._find()
        state = self._run("error")

        async def deliver() -> Step | None:
            return self._deliver_synthetic()

        if state == "deliver_stale" and not (text == NOTHING_STALE and self._stale() is None):
            return self._serve_stale(deliver)
        return self._restart() if state == "restart" else deliver

    def _deliver_synthetic(self) -> Step | None:
        request, values = self._request, self._request.values
        obj = request.obj
        assert obj is not None  # noqa: S101 - _error made it; this tells mypy
        status, reason = int(values["obj.status"] or 503), str(values["obj.response"] or "")
        body = request.body
        if body is None:
            body = f"<html><head><title>{status} {reason}</title></head><body>{status} {reason}</body></html>\n"
        headers = tuple(obj.items())
        made = Stored("", status, reason, headers, body.encode(), self._node.controls.now(), 0.0)
        self.close()
        return self._serve(made, "ERROR" if status >= 500 else "HIT-SYNTH")  # noqa: PLR2004 - server errors

    async def _deliver(self) -> Step | None:
        served, values = self._served, self._request.values
        assert served is not None  # noqa: S101 - _serve set it; this tells mypy
        if self._sent is not None:
            self._request.req = self._sent
            if not self._node.controls.beliefs.stale_told_after_cluster_hop:
                values["resp.stale"] = values["resp.stale.is_error"] = False
        resp = Headers(served.headers)
        info = str(values["fastly_info.state"])
        hit = info.startswith("HIT") and info != "HIT-SYNTH"
        resp.set("Age", str(int(served.age_at(self._node.controls.now()))))
        resp.set("Via", "1.1 varnish")
        for name, value in (
            ("X-Served-By", self._node.identity),
            ("X-Cache", "HIT" if hit else "MISS"),
            ("X-Cache-Hits", str(served.hits + 1 if hit else 0)),
        ):  # after what the node behind this one said
            before = resp.get(name)
            resp.set(name, value if before is None else f"{before}, {value}")
        resp.set("X-Timer", f"S{time.time():.6f},VS0,VE{int((time.monotonic() - self._began) * 1000)}")
        self._request.resp = resp
        values["resp.status"], values["resp.response"] = served.status, served.reason
        if self._run("deliver") == "restart":
            return self._restart()
        self._run("log")
        return None

    # -- between the steps ---------------------------------------------------------------------------------------

    def _run(self, subroutine: str) -> str:
        """With what the node knows at this moment: the time, and whether something stale could be delivered."""
        values = self._request.values
        values["now"] = self._node.controls.now()
        neighbour = self._sent is not None and subroutine in {"hit", "miss", "fetch", "error"}
        values["fastly.ff.visits_this_service"] = self._visits + neighbour
        values["stale.exists"] = "1" if self._stale(for_exists=True) is not None else None
        return self._loaded.program.run(subroutine, self._request)

    def _elsewhere(self, state: str) -> Step | None:
        """Where `error` and `restart` lead."""
        return self._restart() if state == "restart" else self._error

    def _restart(self) -> Step | None:
        self.close()
        if self._sent is not None:
            self._request.req = self._sent
        values = self._request.values
        restarts = int(values["req.restarts"] or 0) + 1
        self._forget()
        values["req.restarts"] = restarts
        if restarts > MAX_RESTARTS:
            self._request.error = (503, "Max restarts limit reached")
            return self._deliver_limit
        return self._recv

    async def _deliver_limit(self) -> Step | None:
        """The end of a loop of restarts: no subroutine gets another chance."""
        self._request.resp = Headers([])
        self._request.values["resp.status"] = 503
        self._served = Stored("", 503, "Max restarts limit reached", (), b"max restarts limit reached\n", 0.0, 0.0)
        return None

    def _serve(self, stored: Stored, info: str) -> Step:
        values = self._request.values
        stale = info == "HIT-STALE"
        values["fastly_info.state"] = info
        values["resp.stale"] = values["resp.stale.is_error"] = stale
        values["resp.stale.is_revalidating"] = False
        if info.startswith("HIT") and self._key is not None and self._node.cache.get(self._key) is stored:
            self._node.cache.put(self._key, replace(stored, hits=stored.hits + 1))
            self._kept = True
        if info not in {"MISS", "PASS"}:
            self._length = None
        self._served = stored
        return self._deliver

    def _serve_stale(self, otherwise: Step) -> Step | None:
        stale = self._stale()
        if stale is not None:
            self.close()
            return self._serve(stale, "HIT-STALE")
        if self._node.controls.beliefs.deliver_stale_with_nothing_is_error:
            self._request.error = (503, NOTHING_STALE)
            return self._error
        return otherwise

    def _find(self) -> Freshness | None:
        """Look the key up, now."""
        assert self._key is not None  # noqa: S101 - _recv set it; this tells mypy
        self._stored = self._node.cache.get(self._key)
        if self._stored is None:
            return None
        return freshness(self._stored, Limits(), self._node.controls.now(), self._node.controls.beliefs)

    def _stale(self, *, for_exists: bool = False) -> Stored | None:
        """The object, if it may be delivered although it is stale."""
        if not self._looked_up or self._stored is None:
            return None
        beliefs = self._node.controls.beliefs
        limits = self._limits() if beliefs.limit_set_after_lookup_counts else self._at_lookup or self._limits()
        if for_exists and not beliefs.stale_exists_obeys_limit:
            limits = Limits()
        dead = freshness(self._stored, limits, self._node.controls.now(), beliefs) is Freshness.DEAD
        return None if dead else self._stored

    def _limits(self) -> Limits:
        values = self._request.values
        return Limits(
            swr=float(values["req.max_stale_while_revalidate"] or 0.0),
            sie=float(values["req.max_stale_if_error"] or 0.0),
        )

    async def _take_turn(self) -> None:
        if not self._holds_turn and self._key is not None:
            await self._node.turns.take(self._key)
            self._holds_turn = True

    def _ask_back(self, method: str) -> None:
        """Make the request to the origin from the visitor's."""
        request = self._request
        pairs = list(request.req.items())
        dropped = {"fastly-ff"} if self._passing else {"fastly-ff", *CONDITIONAL}
        pairs = [(key, value) for key, value in pairs if key.lower() not in dropped]
        request.bereq = Headers(pairs)
        request.bereq.set("X-Forwarded-For", self._received.client)
        request.bereq.set("Fastly-Client-IP", self._received.client)
        request.bereq.set("CDN-Loop", "Fastly")
        request.values.update(
            {"bereq.url": request.values["req.url"], "bereq.method": method},
        )

    def _validators(self) -> Pairs:
        """The conditions under which a stale object can be confirmed by a 304."""
        if self._stored is None:
            return []
        etag, modified = self._stored.header("etag"), self._stored.header("last-modified")
        return [
            *([("If-None-Match", etag)] if etag else []),
            *([("If-Modified-Since", modified)] if modified else []),
        ]

    def _describe(self, stored: Stored) -> None:
        """The object that was hit, for vcl_hit."""
        now = self._node.controls.now()
        self._request.obj = Headers(stored.headers)
        self._request.values.update(
            {
                "obj.status": stored.status,
                "obj.response": stored.reason,
                "obj.ttl": stored.expires_at(self._node.controls.beliefs) - now,
                "obj.age": stored.age_at(now),
                "obj.hits": stored.hits,
                "obj.stale_if_error": stored.sie,
                "obj.stale_while_revalidate": stored.swr,
            },
        )

    def _finished(self) -> Answer:
        """The answer as the visitor gets it."""
        served, resp, values = self._served, self._request.resp, self._request.values
        assert served is not None  # noqa: S101 - every way here delivered something; these tell mypy
        assert resp is not None  # noqa: S101
        status, headers = int(values["resp.status"] or 0), list(resp.items())
        if any(key.lower() == "fastly-debug" for key, _ in self._received.headers):
            before = resp.get("Fastly-Debug-TTL") or ""
            headers = [pair for pair in headers if pair[0].lower() != "fastly-debug-ttl"]
            headers.append(("Fastly-Debug-TTL", f"{self._debug_ttl(served)} {before}".strip()))
        headers = end_to_end(headers)
        judged = headers if self._node.controls.beliefs.conditions_judged_after_deliver else list(served.headers)
        if not self._passing and status == 200 and _not_modified(self._received, judged):  # noqa: PLR2004 - OK
            told = self._node.controls.beliefs.surrogates_told_in_304
            return Answer(304, [pair for pair in headers if told or pair[0].lower() != "surrogate-control"])
        return Answer(status, headers, served.body, str(values.get("resp.response") or served.reason), self._length)

    def _debug_ttl(self, served: Stored) -> str:
        """`(H|M server ttl sie age)`, the times "-" where this node does not hold the object itself.

        Fastly: reference/http/http-headers/Fastly-Debug-TTL. The brackets are of the answers themselves: behind a
        shield there are two pairs, this node's first.
        """
        now, info = self._node.controls.now(), str(self._request.values["fastly_info.state"])
        found = "H" if info.startswith("HIT") else "M"
        times = "- -"
        if self._kept and self._sent is None:
            remaining = max(0.0, served.expires_at(self._node.controls.beliefs) - now)
            times = f"{remaining:.3f} {served.sie:.3f}"
        return f"({found} {self._node.identity} {times} {int(served.age_at(now))})"


NOTHING_STALE = "No stale object available"


def _not_modified(received: Received, headers: Pairs) -> bool:
    """Whether what the visitor has is what would be sent (RFC 9110, 13.2.2)."""
    if received.method not in {"GET", "HEAD"}:
        return False
    ours = {key.lower(): value for key, value in headers}
    theirs = received.header("if-none-match")
    if theirs is not None:
        etag = ours.get("etag", "").removeprefix("W/")
        return bool(etag) and (theirs == "*" or etag in {tag.strip().removeprefix("W/") for tag in theirs.split(",")})
    since, modified = received.header("if-modified-since"), ours.get("last-modified")
    try:
        return bool(since and modified) and parsedate_to_datetime(modified or "") <= parsedate_to_datetime(since or "")
    except (ValueError, TypeError):
        return False
