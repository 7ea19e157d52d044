"""The control face: what the API was asked, how it is to misbehave, which beliefs hold. JSON in, JSON out.

    GET    /history       [{"at": Unix time, "method", "path", "status": code or null where no answer was given,
                            "keys": […] and "soft": bool for a purge by keys}, …], oldest first
    DELETE /history       from now on it begins anew
    POST   /faults        {"api": FAULT}: adds one; the first that matches a request, and isn't used up, acts on it
    GET    /faults        [FAULT, …] with the `times` that are left
    DELETE /faults        no more faults
    POST   /switches      {"name": bool, …}, the fields of `beliefs.Beliefs` and `vcl.Semantics`; GET shows all
    POST   /propagation   {"seconds": s}: for dictionary writes from now on
    POST   /clock         {"skew": s}: the edge's clock is ahead of this machine's by so much
    POST   /plants        PLANT: changes the service past the API's rules; {"active": n, "draft": n or null}
    DELETE /plants        the service and the tokens as they were before the first plant; versions made since are gone
    POST   /nodes         {"edges": 1 or 2, "shield": bool, "clustered": bool, "lag": s}, each optional; GET shows all.
                          What a Layout says of them

A FAULT, every key optional:

    {"status": 503,              answer so, and do nothing
     "headers": {"name": "v"},   with these headers, e.g. Retry-After beside a 429
     "body": "text",             with this body (every character up to U+00FF is one byte); without a status, as 200
     "apply": true,              do what was asked first, then wait, and answer as it says here
     "delay": s,                 wait before anything else
     "drop": "before"|"after"|"within",    close the connection without an answer, before or after doing what was asked;
                                 or do it, and close when half of the answer's body is sent
     "skip": n,                  let so many requests pass first
     "times": n,                 act on so many requests (absent or null: on all)
     "match": {"method": "PATCH", "path_prefix": "/service/"}}

A PLANT, every key optional; what concerns a version is put into the active one, where it acts at once:

    {"type": "vcl"|"wasm",                                      of the service; "wasm" is Compute
     "comment": "…",                                            the active version's
     "settings": {"general.stale_if_error": true, …},
     "remove": {KIND: [name, …]},
     "change": {KIND: {name: {field: value}}},                  not for dictionaries
     "add": {KIND: [{"name": "…", field: value}, …]},           the fields that the API's form has
     "draft": {"comment": "…", "locked": false},                a clone of the active version, of somebody else's
     "sick": true,                                              health checks fail; until they are told not to, or a
                                                                version is activated
     "tokens": {secret: {"scopes": ["global"], "services": [id], "expires_at": RFC 3339 or null, "name": "…",
                         "sees_itself": bool}}}                 adds a token, or replaces that of the same secret

KIND is snippet, dictionary, backend, healthcheck, request_settings, cache_settings, header or vcl. A custom VCL file
with "main": true takes the place of Fastly's boilerplate: snippets are only where it has their macro (#FASTLY recv).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeguard.standin.beliefs import Beliefs
from edgeguard.standin.plants import Plant
from edgeguard.standin.vcl import Semantics
from edgeguard.standin.wire import Answer

if TYPE_CHECKING:
    from edgeguard.standin.network import Network
    from edgeguard.standin.plants import Plants
    from edgeguard.standin.wire import Received


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Match(_Strict):
    """Which requests a fault is for."""

    method: str | None = None
    path_prefix: str = "/"


class Fault(_Strict):
    """One way for the API to misbehave."""

    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = Field(default=None, pattern="^[\x00-\xff]*$")
    apply: bool = False
    delay: float = Field(default=0.0, ge=0)
    drop: Literal["before", "after", "within"] | None = None
    skip: int = Field(default=0, ge=0)
    times: int | None = Field(default=None, ge=1)
    match: Match = Field(default_factory=Match)


class _Faults(_Strict):
    api: Fault


class _Propagation(_Strict):
    seconds: float = Field(ge=0)


class _Clock(_Strict):
    skew: float


class Layout(_Strict):
    """Which nodes serve."""

    edges: int = Field(default=1, ge=1, le=2)
    """Nodes that visitors meet, each with a cache of its own; connections take turns."""
    shield: bool = False
    """These nodes ask another one, which runs the same VCL, instead of the origin."""
    clustered: bool = False
    """Every second request of a node is answered out of the cache of a neighbour: what vcl_hit, vcl_miss, vcl_fetch and
    vcl_error set on the request does not come back, fastly.ff.visits_this_service is one more there, and
    Fastly-Debug-TTL knows no times."""
    lag: float = Field(default=0.0, ge=0)
    """Seconds by which the last edge node sees dictionary writes later than the others, from now on."""


@dataclass
class Entry:
    """One request to the API. `status` is None until it is answered, and stays so where no answer is given."""

    at: float
    method: str
    path: str
    status: int | None = None
    keys: list[str] | None = None
    soft: bool | None = None

    def json(self) -> dict[str, Any]:
        """`keys` and `soft` only for a purge."""
        optional = {"keys", "soft"}
        return {key: value for key, value in asdict(self).items() if value is not None or key not in optional}


@dataclass
class Controls:
    """What the control face sets and the other faces obey."""

    beliefs: Beliefs = field(default_factory=Beliefs)
    semantics: Semantics = field(default_factory=Semantics)
    skew: float = 0.0
    sick: bool = False
    layout: Layout = field(default_factory=Layout)
    faults: list[Fault] = field(default_factory=list)
    history: list[Entry] = field(default_factory=list)

    def now(self) -> float:
        """The edge's clock."""
        return time.time() + self.skew

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that acts on this request; counts it."""
        for place, fault in enumerate(self.faults):
            if fault.match.method in {None, method} and path.startswith(fault.match.path_prefix):
                if fault.skip:
                    self.faults[place] = fault.model_copy(update={"skip": fault.skip - 1})
                    continue
                if fault.times == 1:
                    del self.faults[place]
                elif fault.times is not None:
                    self.faults[place] = fault.model_copy(update={"times": fault.times - 1})
                return fault
        return None

    def switches(self) -> dict[str, bool]:
        """Every open question, and which side is taken."""
        return {**asdict(self.beliefs), **asdict(self.semantics)}

    def switch(self, wanted: object) -> None:
        """Take sides. Raises ValueError, and changes nothing, for what is not a switch."""
        known = self.switches()
        if not isinstance(wanted, dict) or not all(name in known and type(on) is bool for name, on in wanted.items()):
            raise ValueError(f"switches are true or false, and named {', '.join(sorted(known))}")
        own = asdict(self.beliefs).keys()
        self.beliefs = replace(self.beliefs, **{name: on for name, on in wanted.items() if name in own})
        self.semantics = replace(self.semantics, **{name: on for name, on in wanted.items() if name not in own})


class ControlFace:
    """Answers on the control port. It asks for no token: it is for tests, on loopback."""

    def __init__(self, controls: Controls, network: Network, plants: Plants) -> None:
        self._plants = plants
        self._controls = controls
        self._network = network

    async def answer(self, received: Received) -> Answer:
        """400 with what is wrong for what it can't take, 404 for what it doesn't know."""
        try:
            match received.method:
                case "GET":
                    result = self._show(received.target)
                case "POST":
                    result = self._set(received.target, received.body)
                case "DELETE":
                    result = self._forget(received.target)
                case _:
                    result = None
        except ValueError as exc:  # pydantic's and json's are ValueErrors
            return _json(400, {"msg": str(exc)})
        return _json(404, {"msg": "Not found"}) if result is None else _json(200, result)

    def _show(self, path: str) -> object:
        match path:
            case "/history":
                return [entry.json() for entry in self._controls.history]
            case "/faults":
                return [fault.model_dump() for fault in self._controls.faults]
            case "/switches":
                return self._controls.switches()
            case "/nodes":
                return self._controls.layout.model_dump()
        return None

    def _set(self, path: str, body: bytes) -> object:
        controls = self._controls
        match path:
            case "/faults":
                controls.faults.append(_Faults.model_validate_json(body).api)
            case "/switches":
                controls.switch(json.loads(body))
                return controls.switches()
            case "/propagation":
                self._network.propagation = _Propagation.model_validate_json(body).seconds
            case "/nodes":
                changed = Layout.model_validate_json(body).model_dump(exclude_unset=True)
                controls.layout = controls.layout.model_copy(update=changed)
                return controls.layout.model_dump()
            case "/clock":
                controls.skew = _Clock.model_validate_json(body).skew
            case "/plants":
                return self._plants.plant(Plant.model_validate_json(body))
            case _:
                return None
        return _OK

    def _forget(self, path: str) -> object:
        match path:
            case "/history":
                self._controls.history.clear()
            case "/faults":
                self._controls.faults.clear()
            case "/plants":
                self._plants.clear()
            case _:
                return None
        return _OK


_OK = {"status": "ok"}


def _json(status: int, content: object) -> Answer:
    return Answer(status, [("Content-Type", "application/json")], json.dumps(content).encode())
