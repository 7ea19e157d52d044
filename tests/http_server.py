"""A real HTTP server in this process, for as long as a block runs; and the ways in which a server may be hostile."""

from __future__ import annotations

import http.server
import threading
import zlib
from contextlib import contextmanager, suppress
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Request(http.server.BaseHTTPRequestHandler):
    """A request. `over` is set when its server ends."""

    over: threading.Event


@contextmanager
def serving(answer: Callable[[Request], None]) -> Iterator[str]:
    """A server on a free port of this machine; its URL, without a slash at its end. `answer` answers one request."""

    class Asked(Request):
        over = threading.Event()

        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            answer(self)

        def do_PUT(self) -> None:
            answer(self)

        def do_CONNECT(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            Asked.over.set()
            server.shutdown()
            thread.join()


HEAD = b"HTTP/1.1 200 OK\r\n"
HOSTILE: dict[str, tuple[bytes, Iterable[bytes], float]] = {
    "drips its head": (HEAD + b"A: ", repeat(b"a"), 0.05),
    "drips its body": (HEAD + b"\r\n", repeat(b"a"), 0.05),
    "drips its chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", repeat(b"1\r\na\r\n"), 0.05),
    "never answers": (b"", repeat(b""), 0.05),
    "sends without end": (HEAD + b"\r\n", repeat(b"0" * 65_536), 0),
    "has 10,000 headers": (HEAD, [*(b"X-%d: a\r\n" % number for number in range(10_000)), b"\r\n"], 0),
    "has a header of 1 MB": (HEAD + b"A: ", [*([b"a" * 1000] * 1000), b"\r\n\r\n"], 0),
}
"""What a hostile server sends first, what it goes on with, and the seconds between two pieces of that."""


def hostile(first: bytes, pieces: Iterable[bytes], pause: float) -> Callable[[Request], None]:
    """An answer for `serving` that goes on until the other side has had enough."""

    def answer(asked: Request) -> None:
        with suppress(ConnectionError):
            asked.wfile.write(first)
            for piece in pieces:
                asked.wfile.write(piece)
                if asked.over.wait(pause):
                    break
        asked.close_connection = True

    return answer


@cache
def bomb(mebibytes: int) -> bytes:
    """Nothing but zeros, packed with gzip to a thousandth."""
    packer = zlib.compressobj(wbits=31)
    return b"".join([*(packer.compress(bytes(2**20)) for _ in range(mebibytes)), packer.flush()])
