"""Odd requests, byte by byte, sent to our gates, to HAProxy and to nginx, side by side, open and closed.

`python -m tests.cluster.odd_requests` writes docs/odd-requests.md anew. The path of a request begins with /x, which is
replaced by a number: so the application's requests are told apart, also those that were smuggled.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host.haproxy_rules import configuration
from edgeguard.cluster.local.doorway import Doorway
from edgeguard.cluster.local.rules import Limits, Rules
from edgeguard.testing.local import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DOCUMENT = Path(__file__).parents[2] / "docs" / "odd-requests.md"
PROXIES = ("gate", "host's gate", "HAProxy", "nginx")
SHORT = Limits(head=2, patience=2, answer=5, tunnel=2, linger=1)

G = b"GET /x HTTP/1.1\r\nHost: a\r\n"
P = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CL, TE = b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"4\r\nabcd\r\n0\r\n\r\n"
NEXT = b"GET /x/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return P + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def get(*lines: bytes) -> bytes:
    return G + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def chunked(body: bytes) -> bytes:
    return P + TE + b"\r\n" + body


ODD: dict[str, bytes] = {
    # Two requests that are well made
    "a plain request": get(),
    "two requests at once": get() + NEXT,
    "a body by length, then a request": post(CL[:-2], body=b"abcd") + NEXT,
    "a body in chunks, then a request": chunked(CHUNKS) + NEXT,
    "an empty line before the request": b"\r\n" + get(),
    "HTTP/1.0 without Host": b"GET /x HTTP/1.0\r\n\r\n",
    # Lengths
    "Content-Length beside chunked": post(CL[:-2], TE[:-2], body=CHUNKS),
    "chunked beside Content-Length": post(TE[:-2], CL[:-2], body=CHUNKS),
    "two different lengths": post(CL[:-2], b"Content-Length: 5", body=b"abcde"),
    "the same length twice": post(CL[:-2], CL[:-2], body=b"abcd"),
    "a list of the same length": post(b"Content-Length: 4, 4", body=b"abcd"),
    "a list of two lengths": post(b"Content-Length: 4, 5", body=b"abcde"),
    "a signed length": post(b"Content-Length: +4", body=b"abcd"),
    "a negative length": post(b"Content-Length: -4", body=b"abcd"),
    "a hexadecimal length": post(b"Content-Length: 0x4", body=b"abcd"),
    "a length with a space in it": post(b"Content-Length: 4 0", body=b"abcd"),
    "an empty length": post(b"Content-Length:", body=b"abcd"),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551620", body=b"abcd"),
    "a length with leading zeros": post(b"Content-Length: 0004", body=b"abcd"),
    "a length in a GET": get(CL[:-2]) + b"abcd",
    "a body that ends too early": post(b"Content-Length: 9", body=b"abcd"),
    "bytes left over after a body": post(CL[:-2], body=b"abcdXXXX"),
    # Codings
    "chunked twice": post(TE[:-2], TE[:-2], body=CHUNKS),
    "chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "identity": post(b"Transfer-Encoding: identity", body=b"abcd"),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "chunked, gzip": post(b"Transfer-Encoding: chunked, gzip", body=CHUNKS),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "quoted chunked": post(b'Transfer-Encoding: "chunked"', body=CHUNKS),
    "CHUNKED in capitals": post(b"Transfer-Encoding: CHUNKED", body=CHUNKS),
    "chunked after a tab": post(b"Transfer-Encoding:\tchunked", body=CHUNKS),
    "chunked after a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "an empty coding": post(b"Transfer-Encoding:", body=CHUNKS),
    "chunked and a second, empty coding": post(TE[:-2], b"Transfer-Encoding:", body=CHUNKS),
    "a space before the colon of Transfer-Encoding": post(b"Transfer-Encoding : chunked", body=CHUNKS),
    "Transfer_Encoding": post(b"Transfer_Encoding: chunked", CL[:-2], body=b"abcd"),
    "chunked in HTTP/1.0": P.replace(b"1.1", b"1.0") + TE + b"\r\n" + CHUNKS,
    "Connection names Content-Length": post(b"Connection: Content-Length", CL[:-2], body=b"abcd"),
    "Connection names Transfer-Encoding": post(b"Connection: Transfer-Encoding", TE[:-2], body=CHUNKS),
    # Chunks
    "a chunk's extension": chunked(b"4;a=b\r\nabcd\r\n0\r\n\r\n"),
    "a chunk's extension with a bare line feed": chunked(b"4;a\nabcd\r\n0\r\n\r\n"),
    "a long chunk's extension": chunked(b"4;" + b"a" * 9000 + b"\r\nabcd\r\n0\r\n\r\n"),
    "a chunk's size with 0x": chunked(b"0x4\r\nabcd\r\n0\r\n\r\n"),
    "a signed chunk's size": chunked(b"+4\r\nabcd\r\n0\r\n\r\n"),
    "a chunk's size beyond 64 bits": chunked(b"10000000000000004\r\nabcd\r\n0\r\n\r\n"),
    "a chunk's size after a space": chunked(b" 4\r\nabcd\r\n0\r\n\r\n"),
    "a chunk's size before a space": chunked(b"4 \r\nabcd\r\n0\r\n\r\n"),
    "no size of a chunk": chunked(b"\r\nabcd\r\n0\r\n\r\n"),
    "a chunk that is longer than it says": chunked(b"3\r\nabcd\r\n0\r\n\r\n"),
    "chunks with bare line feeds": chunked(b"4\nabcd\n0\n\n"),
    "a trailer": chunked(b"4\r\nabcd\r\n0\r\nX: y\r\n\r\n"),
    "a trailer that is a length": chunked(b"4\r\nabcd\r\n0\r\nContent-Length: 9\r\n\r\n"),
    "a trailer that is no header": chunked(b"4\r\nabcd\r\n0\r\nnonsense\r\n\r\n"),
    # Lines and names
    "bare line feeds": b"GET /x HTTP/1.1\nHost: a\n\n",
    "one bare line feed between headers": b"GET /x HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "a bare carriage return in a value": get(b"X: a\rb"),
    "a carriage return twice": b"GET /x HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "a folded header": get(b"X: a", b" b"),
    "a first header that is folded": b"GET /x HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
    "a space before a colon": get(b"X : y"),
    "a header without a colon": get(b"nonsense"),
    "a header without a name": get(b": y"),
    "a NUL in a value": get(b"X: a\x00b"),
    "a NUL in a name": get(b"X\x00: b"),
    "a control character in a value": get(b"X: a\x01b"),
    "letters beyond ASCII in a value": get(b"X: \xe4"),
    "letters beyond ASCII in a name": get(b"\xe4: x"),
    "a head of 70 000 bytes": get(b"X: " + b"y" * 70_000),
    "a thousand headers": get(*[b"X: y"] * 1000),
    # The first line
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "HTTP/1.2": get().replace(b"1.1", b"1.2", 1),
    "HTTP/2.0": get().replace(b"1.1", b"2.0", 1),
    "HTTP/1.10": get().replace(b"1.1", b"1.10", 1),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version in small letters": get().replace(b"HTTP", b"http", 1),
    "two spaces in the first line": get().replace(b" /x", b"  /x", 1),
    "a tab in the first line": get().replace(b" /x", b"\t/x", 1),
    "a space in the target": get().replace(b"/x", b"/x y", 1),
    "a fragment in the target": get().replace(b"/x", b"/x#y", 1),
    "a NUL in the target": get().replace(b"/x", b"/x\x00", 1),
    "a control character in the target": get().replace(b"/x", b"/x\x01", 1),
    "letters beyond ASCII in the target": get().replace(b"/x", b"/x\xe4", 1),
    "an absolute target": get().replace(b"/x", b"http://a/x", 1),
    "an absolute target with another Host": get().replace(b"/x", b"http://b/x", 1),
    "userinfo in an absolute target": get().replace(b"/x", b"http://u@a/x", 1),
    "a target without a slash": get().replace(b"/x", b"x/x", 1),
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "a method that is no token": get().replace(b"GET", b"G(T", 1),
    "TRACE": get().replace(b"GET", b"TRACE", 1),
    # Host
    "no Host": b"GET /x HTTP/1.1\r\n\r\n",
    "two Hosts": get(b"Host: b"),
    "the same Host twice": get(b"Host: a"),
    "an empty Host": b"GET /x HTTP/1.1\r\nHost:\r\n\r\n",
    "userinfo in Host": b"GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "a path in Host": b"GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "two names in Host": b"GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n",
    # Others
    "Expect: 100-continue": post(CL[:-2], b"Expect: 100-continue", body=b"abcd"),
    "another expectation": post(CL[:-2], b"Expect: 200-ok", body=b"abcd"),
    "an upgrade to h2c": get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "an upgrade with a body": post(b"Connection: Upgrade", b"Upgrade: websocket", CL[:-2], body=b"abcd"),
}


@dataclass(frozen=True)
class Outcome:
    """The final statuses that the client got, how many whole requests the application got, and their heads."""

    statuses: tuple[int, ...]
    passed: int
    heads: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        said = ", ".join(map(str, self.statuses)) or "no answer"
        return f"**{said}**" if self.passed else said


@dataclass
class Application:
    """A lax application: it notes every request that it got whole, by the number in its path."""

    got: Counter[int] = field(default_factory=Counter)
    heads: dict[int, tuple[bytes, ...]] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._body(reader, head.lower())
                if found := re.search(rb"/(\d+)", head):
                    number = int(found[1])
                    self.got[number] += 1
                    self.heads[number] = (*self.heads.get(number, ()), head)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: bytes) -> None:
        if re.search(rb"\ntransfer-encoding:[^\n]*chunked", head):
            while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                await reader.readexactly(size + 2)
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
        elif found := re.search(rb"\ncontent-length: *(\d+)", head):
            await reader.readexactly(int(found[1]))


async def ask(port: int, number: int, sent: bytes) -> tuple[int, ...]:
    """Send a request, and read until the proxy ends the connection. Returns the final statuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with suppress(OSError):
        writer.write(sent.replace(b"/x", b"/%d" % number))
        while piece := await asyncio.wait_for(reader.read(65_536), 60):
            answer += piece
    writer.close()
    statuses = re.findall(rb"(?:^|\n|ok|closed)HTTP/1\.[01] (\d{3}) ", answer)
    return tuple(int(status) for status in statuses if status != b"100")


HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 2s
    timeout server 5s
    timeout http-request 2s
    timeout http-keep-alive 1s
frontend site
    bind 127.0.0.1:{port}
    {closed}
    default_backend application
backend application
    server application 127.0.0.1:{application}
"""
NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/log crit; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 1s; lingering_timeout 1s;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{port}; location / {{ {serve} }} }}
}}
"""


@asynccontextmanager
async def started(proxy: str, application: int, *, opened: bool) -> AsyncIterator[int]:
    """A proxy in front of the application. Gives its port."""
    if proxy == "gate":
        doorway = Doorway(Rules(open=opened, addresses=(application,), status=503), lambda: None, SHORT)
        listener = await asyncio.start_server(doorway.serve, "127.0.0.1", 0, limit=65_536)
        yield listener.sockets[0].getsockname()[1]
        doorway.cut(everything=True)
        listener.close()
        return
    port = free_port()
    with another(proxy, port, application, opened=opened) as process:
        await listening(port, process)
        yield port


@contextmanager
def another(proxy: str, port: int, application: int, *, opened: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A host's gate, HAProxy or nginx, with short limits, while it runs."""
    with tempfile.TemporaryDirectory(prefix="eg-") as folder:
        file = Path(folder, "configuration")
        if proxy == "HAProxy":
            closed = "" if opened else 'http-request return status 503 content-type text/plain string "closed"'
            file.write_text(HAPROXY.format(port=port, application=application, closed=closed), encoding="utf-8")
            argv = ["haproxy", "-db", "-f", str(file)]
        elif proxy == "host's gate":
            ours = configuration(Path(folder), app_port=application, listen=f"127.0.0.1:{port}", closed_status=503)
            file.write_text(
                re.sub(r"(timeout (?:client|http-request|http-keep-alive)) 75s", r"\1 2s", ours), encoding="utf-8"
            )
            Path(folder, "state").write_text("gate open one\n" if opened else "", encoding="utf-8")
            argv = ["haproxy", "-db", "-f", str(file)]
        else:
            serve = f"proxy_pass http://127.0.0.1:{application};" if opened else "return 503;"
            file.write_text(NGINX.format(port=port, folder=folder, serve=serve), encoding="utf-8")
            argv = ["nginx", "-e", f"{folder}/log", "-c", str(file)]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


async def listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens on a port."""
    for _ in range(2000):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        assert process.poll() is None, "it does not start"
        await asyncio.sleep(0.01)
    raise AssertionError("nobody listens")


async def play(proxy: str, *, opened: bool) -> dict[str, Outcome]:
    """All the odd requests, sent to one proxy at the same time."""
    application = Application()
    server = await asyncio.start_server(application.serve, "127.0.0.1", 0, limit=1 << 20)
    async with started(proxy, server.sockets[0].getsockname()[1], opened=opened) as port:
        at_once = asyncio.Semaphore(40)

        async def one(number: int, sent: bytes) -> tuple[int, ...]:
            async with at_once:
                return await ask(port, number, sent)

        answers = await asyncio.gather(*(one(number, sent) for number, sent in enumerate(ODD.values(), 100)))
    server.close()
    await asyncio.sleep(0.1)  # the connections close
    return {
        name: Outcome(statuses, application.got[number], application.heads.get(number, ()))
        for number, (name, statuses) in enumerate(zip(ODD, answers, strict=True), 100)
    }


def played() -> dict[tuple[str, bool], dict[str, Outcome]]:
    """What every proxy made of every odd request, open and closed."""

    async def all_of_them() -> dict[tuple[str, bool], dict[str, Outcome]]:
        return {(proxy, opened): await play(proxy, opened=opened) for opened in (True, False) for proxy in PROXIES}

    return asyncio.run(all_of_them())


def versions() -> str:
    """HAProxy's and nginx's versions on this machine."""
    haproxy = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return f"HAProxy {haproxy.split()[2].partition('-')[0]} and nginx {nginx.strip().rpartition('/')[2]}"


def page(found: dict[tuple[str, bool], dict[str, Outcome]]) -> str:
    """The page of the manual."""
    said = {True: "open", False: "closed"}
    columns = [(proxy, opened) for opened in (True, False) for proxy in PROXIES]
    rows = [f"| {name} | {' | '.join(str(found[column][name]) for column in columns)} |" for name in ODD]
    return "\n".join(
        [
            "# Odd requests",
            "",
            f"The gate is [the gate of `local`](gate.md); {versions()} stand beside it.",
            "The host's gate is HAProxy with [rules of ours](decisions/haproxy.md): it refuses what it can, and passes",
            "the rest on in a form that has one reading.",
            "In bold: the application got a whole request (or two, where there are two answers).",
            "No gate of ours passes anything that HAProxy refuses; closed, they pass nothing.",
            "`python -m tests.cluster.odd_requests` plays these requests, and writes this page.",
            "",
            f"| request | {' | '.join(f'{proxy}, {said[opened]}' for proxy, opened in columns)} |",
            "|" + "---|" * (len(columns) + 1),
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    DOCUMENT.write_text(page(played()), encoding="utf-8")
