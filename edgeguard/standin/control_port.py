"""The control port: tests read what the API was asked, and set faults, beliefs, clock and nodes. JSON in, JSON out.

Reading is free. A change needs the stand-in's own token in the header Fastly-Key, whatever was planted: 401 without.

    GET    /history       [{"at": Unix time, "method", "path", "status": code or null where no answer was given,
                            "keys": […] and "soft": bool for a purge by keys}, …], oldest first
    DELETE /history       the history begins anew
    POST   /faults        {"api": FAULT}: adds a fault; the first that matches a request, and isn't used up, acts on it
    GET    /faults        [FAULT, …] with the `times` that are left
    DELETE /faults        no more faults
    POST   /switches      {"name": bool, …}, the fields of `beliefs.Beliefs` and `vcl.Semantics`; GET shows all
    POST   /propagation   {"seconds": s}: for dictionary writes from now on
    POST   /clock         {"skew": s}: the edge's clock is ahead of this machine's by so much
    POST   /plants        PLANT: changes the service past the API's rules; {"active": n, "draft": n or null}
    DELETE /plants        the service and the tokens as they were before the first plant; versions made since are gone
    POST   /nodes         {"edges": 1 or 2, "shield": bool, "clustered": bool, "lag": s}, each optional; GET shows all.
                          `controls.Layout` explains them

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
     "customer": "…",                                           the id of the customer whose account it is
     "comment": "…",                                            the active version's
     "settings": {"general.stale_if_error": true, …},
     "remove": {KIND: [name, …]},
     "change": {KIND: {name: {field: value}}},                  not for dictionaries
     "add": {KIND: [{"name": "…", field: value}, …]},           the fields that the API's form has
     "draft": {"comment": "…", "locked": false},                a clone of the active version, of somebody else's
     "sick": true,                                              health checks fail; until they are told not to, or a
                                                                version is activated
     "tokens": {secret: {"scopes": ["global"], "services": [id], "expires_at": RFC 3339 or null, "name": "…",
                         "id": "…", "sees_itself": bool}}}      adds a token, or replaces that of the same secret

KIND is snippet, dictionary, backend, healthcheck, condition, domain, request_settings, cache_settings, header or vcl. A
custom VCL file with "main": true takes the place of the generated VCL: snippets are only where it has their macro
(#FASTLY recv).
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from edgeguard.standin import problems
from edgeguard.standin.controls import Fault, Layout
from edgeguard.standin.plants import Plant
from edgeguard.standin.problems import Problem
from edgeguard.standin.wire import Answer

if TYPE_CHECKING:
    from edgeguard.standin.controls import Controls
    from edgeguard.standin.network import Network
    from edgeguard.standin.plants import Plants
    from edgeguard.standin.wire import Received


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Faults(_Strict):
    api: Fault


class _Propagation(_Strict):
    seconds: float = Field(ge=0)


class _Clock(_Strict):
    skew: float


class ControlPort:
    """Answers on the control port."""

    def __init__(self, controls: Controls, network: Network, plants: Plants, token: str) -> None:
        self._token = token
        self._plants = plants
        self._controls = controls
        self._network = network

    async def answer(self, received: Received) -> Answer:
        """Answer a request: 400 says what is wrong with the content, 404 that there is no such path."""
        given = received.header("fastly-key") or ""
        if received.method != "GET" and not hmac.compare_digest(given.encode(), self._token.encode()):
            refused = problems.body(Problem(401, "A change needs the stand-in's token in the header Fastly-Key"))
            return Answer(401, [("Content-Type", "application/json")], refused)
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
        except ValueError as exc:  # the errors of pydantic and json are ValueErrors
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
