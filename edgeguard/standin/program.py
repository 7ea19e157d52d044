"""The stand-in as a program: three ports on loopback, in one process, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeguard.errors import UsageError
from edgeguard.standin.account import Account
from edgeguard.standin.api import Api
from edgeguard.standin.control_port import ControlPort
from edgeguard.standin.controls import Controls
from edgeguard.standin.network import Network
from edgeguard.standin.origin import Origin
from edgeguard.standin.own_page import page
from edgeguard.standin.plants import Plants
from edgeguard.standin.service import Service
from edgeguard.standin.tokens import Tokens
from edgeguard.standin.version import new_id
from edgeguard.standin.wire import Listener

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Options:
    """The options. With port 0 the system chooses one; without a token a new one is made.

    Without an origin, a page of the stand-in's own is behind the edge.
    """

    origin: str | None = None
    api_port: int = 0
    edge_port: int = 0
    control_port: int = 0
    propagation: float = 1.0
    token: str = ""
    service_name: str = "stand-in"


@dataclass(frozen=True)
class Ready:
    """The addresses and ids of a stand-in that serves."""

    api_url: str
    edge_url: str
    control_url: str
    service_id: str
    token: str

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(vars(self))

    def as_text(self) -> str:
        """Lines for people."""
        return (
            f"API      {self.api_url}   (FASTLY_API_TOKEN={self.token})\n"
            f"edge     {self.edge_url}\ncontrol  {self.control_url}\nservice  {self.service_id}\nCtrl-C ends it."
        )


def run(
    origin: str | None = None,
    *,
    json_output: bool = False,
    api_port: int = 0,
    edge_port: int = 0,
    control_port: int = 0,
    propagation: float = 1.0,
    token: str = "",
) -> None:
    """Serve until SIGTERM or SIGINT. Once it serves, it prints its addresses: one line of JSON, or lines for people.

    Raises UsageError for an origin that isn't http://host[:port], and for a port that is taken.
    """
    options = Options(origin, api_port, edge_port, control_port, propagation, token)

    def announce(ready: Ready) -> None:
        sys.stdout.write((ready.as_json() if json_output else ready.as_text()) + "\n")
        sys.stdout.flush()

    asyncio.run(serve(options, announce))


async def serve(options: Options, announce: Callable[[Ready], None]) -> None:
    """Serve until SIGTERM or SIGINT, or until cancelled; `announce` is called once, when all ports are open."""
    async with contextlib.AsyncExitStack() as stack:
        url = options.origin
        if url is None:
            own = Listener(page)
            await own.open(0, "own page")
            stack.push_async_callback(own.close)
            url = own.url
        await _serve(options, _address(url), announce, stack)


async def _serve(
    options: Options, address: tuple[str, int], announce: Callable[[Ready], None], stack: contextlib.AsyncExitStack
) -> None:
    controls, origin = Controls(), Origin(*address)
    service = _begun(options.service_name, *address)
    token = options.token or secrets.token_urlsafe(24)
    tokens = Tokens(token, service.id)
    network = Network(origin, controls, options.propagation, tokens.may_purge)
    account = Account(service, network, tokens, controls)
    account.load()
    control_port = ControlPort(controls, network, Plants(account), token)
    ports = (
        (Listener(Api(account).answer), options.api_port, "API"),
        (Listener(network.answer), options.edge_port, "edge"),
        (Listener(control_port.answer), options.control_port, "control"),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stack.push_async_callback(origin.close)
    for listener, wanted, purpose in ports:
        await listener.open(wanted, purpose)
        stack.push_async_callback(listener.close)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
        stack.callback(loop.remove_signal_handler, number)
    api, edge, control = (listener.url for listener, _, _ in ports)
    with service.planting():  # the service's one domain; a real domain has no port, and leads to Fastly
        service.add_object(max(service.versions), "domain", {"name": urlsplit(edge).netloc})
    announce(Ready(api, edge, control, service.id, token))
    await stop.wait()


def _begun(name: str, host: str, port: int) -> Service:
    """A service with one active version, which has one backend."""
    service = Service(name, new_id())
    service.add_object(1, "backend", {"name": "origin", "address": host, "port": str(port)})
    service.activate(1)
    return service


def _address(origin: str) -> tuple[str, int]:
    remedy = "Give it as http://HOST:PORT."
    try:
        parts = urlsplit(origin)
        port = parts.port or 80
    except ValueError as exc:
        raise UsageError(f"the origin {origin!r} is not a URL", remedy) from exc
    if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise UsageError(f"the origin {origin!r} is not one the stand-in can ask", remedy)
    return parts.hostname, port
