"""A way out of the lab's network: builds fetch packages through it, from this machine's registries.

It is an HTTP proxy whose port is in the lab's network and whose connections begin on this machine. Nothing of this
machine can be reached through it that this machine could not reach itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab import background

_PORT = 3128
VARIABLES = {
    **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), f"http://127.0.0.1:{_PORT}"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost,10.91.0.0/16,10.92.0.0/16"),
}
"""What tells programs of it."""


def start(folder: Path, keeper: int) -> None:
    """Start the proxy of a lab. It ends when its lab does."""
    pid = background.start([sys.executable, "-P", "-m", "tests.lab.way_out", str(keeper)], folder / "way-out.log")
    (folder / "way-out.pid").write_text(str(pid), encoding="ascii")


def end(folder: Path) -> None:
    """End it. It has ended by itself where its lab has."""
    with suppress(OSError, ValueError):
        pid = int((folder / "way-out.pid").read_text(encoding="ascii"))
        if b"tests.lab.way_out" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)


async def _serve(keeper: int) -> None:
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(os.pidfd_open(keeper), gone.set)
    async with await asyncio.start_server(_client, sock=_inside(keeper)):
        await gone.wait()


def _inside(keeper: int) -> socket.socket:
    """A socket that listens in the lab's network: a socket stays in the namespace in which it was made."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open("rb") as here, Path(f"/proc/{keeper}/ns/net").open("rb") as there:
        if libc.setns(there.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
        listening = socket.create_server(("127.0.0.1", _PORT))
        if libc.setns(here.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
    return listening


async def _client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            there = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:  # plain http: the target is the whole address, and the head goes on as it is
            parts = urlsplit(target)
            there = await asyncio.open_connection(parts.hostname, parts.port or 80)
            there[1].write(head)
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
    writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while content := await reader.read(65536):
            writer.write(content)
            await writer.drain()
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
