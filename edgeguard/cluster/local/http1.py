"""HTTP/1.1 for the gate (RFC 9112): heads are parsed strictly, and bodies are passed on piece by piece."""

from __future__ import annotations

import re
from asyncio import IncompleteReadError, LimitOverrunError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import AsyncIterator

HEAD_LIMIT = 65_536
PIECE = 65_536
HEADERS = 100  # in one head, as HAProxy allows
TRAILER_LIMIT = 8_192  # bytes of all trailers of a body

Headers = list[tuple[bytes, bytes, bytes]]  # name in lower case, name as it came, value
Body = int | Literal["chunked", "until-close"]  # an int is a length

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/(\d)\.(\d)")
_STATUS_LINE = re.compile(rb"HTTP/1\.(\d) (\d{3})(?: ([^\x00\r\n]*))?")
_HEADER_LINES = re.compile(rb"(?:" + _TOKEN + rb":[^\x00\r\n]*\r\n)*")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(rb"[^\s/?#@\\]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]{0,1024})?\r\n")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@\\]+)((?:[/?].*)?)")
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_KEPT = frozenset((b"authorization", b"content-length", b"cookie", b"host"))  # whatever Connection says


class Malformed(Exception):
    """A message that can't be passed on. `status` is the answer to its sender."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class Request:
    """A request's head."""

    method: bytes
    target: bytes
    headers: Headers  # without those of this connection alone
    body: Body
    keep_alive: bool
    chunks: bool  # whether the client understands chunks
    expects: bool
    upgrade: bytes  # the protocol that the client asks for, b"" for none

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again if its connection turns out to be closed (RFC 9110, 9.2.2)."""
        return self.body == 0 and not self.upgrade and self.method in (b"GET", b"HEAD", b"OPTIONS")


@dataclass(slots=True)
class Response:
    """A response's head; `body` is what follows it for the request that it answers."""

    status: int
    reason: bytes
    headers: Headers
    body: Body
    keep_alive: bool
    upgrade: bytes  # the protocol that a 101 switches to


async def read_head(reader: StreamReader) -> bytes:
    """The next head, with its empty line; b"" at the connection's end.

    Raises:
        Malformed: the head is cut off, or longer than HEAD_LIMIT.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except IncompleteReadError as exc:
        if exc.partial.strip():
            raise Malformed(400, "the head is cut off") from exc
        return b""
    except LimitOverrunError as exc:
        raise Malformed(431, "the head is too long") from exc
    return head


def request(head: bytes) -> Request:
    """Parse a request's head. Raises Malformed."""
    line, _, rest = head.lstrip(b"\r\n").partition(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise Malformed(400, "this is not an HTTP request")
    method, target, major, minor = found.groups()
    if major != b"1":
        raise Malformed(505, "only HTTP/1.0 and 1.1 are spoken here")
    modern = minor != b"0"
    headers = _headers(rest)
    if any(_CONTROL.search(value) for _, _, value in headers):
        raise Malformed(400, "a header has a control character")
    if len(headers) > HEADERS:
        raise Malformed(431, "the head has too many headers")
    named = _values(headers)
    target, headers = _target(method, target, headers, named.get(b"host", []), modern=modern)
    body = _body(named)
    if body == "chunked" and not modern:
        raise Malformed(400, "HTTP/1.0 has no chunks")
    options = _options(named)
    return Request(
        method=method,
        target=target,
        headers=_end_to_end(headers, options),
        body=0 if body is None else body,
        keep_alive=modern and b"close" not in options,
        chunks=modern,
        expects=any(value.lower() == b"100-continue" for value in named.get(b"expect", ())),
        upgrade=_upgrade(named, options) if modern and body in (None, 0) else b"",
    )


def _target(
    method: bytes, target: bytes, headers: Headers, hosts: list[bytes], *, modern: bool
) -> tuple[bytes, Headers]:
    """The target as a path, and the headers with the host that is asked for. Raises Malformed."""
    if len(hosts) > 1 or (modern and not hosts):
        raise Malformed(400, "exactly one Host is needed")
    if any(_HOST.fullmatch(host) is None for host in hosts):
        raise Malformed(400, "this is not a Host")
    if b"#" in target:
        raise Malformed(400, "a fragment is no part of a target")
    if absolute := _ABSOLUTE.fullmatch(target):
        if any(host.lower() != absolute[1].lower() for host in hosts):
            raise Malformed(400, "Host and the target name different hosts")
        headers = [(b"host", b"Host", absolute[1]), *(header for header in headers if header[0] != b"host")]
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    elif not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
        raise Malformed(400, "this target can't be asked for here")
    return target, headers


def response(head: bytes, method: bytes) -> Response:
    """Parse the head of the response to a request with this method. Raises Malformed."""
    line, _, rest = head.partition(b"\r\n")
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise Malformed(502, "the server's answer is not HTTP")
    status = int(found[2])
    headers = _headers(rest)
    named = _values(headers)
    options = _options(named)
    body = _body(named)
    if method == b"HEAD" or status in (204, 304) or status < 200:  # noqa: PLR2004 (RFC 9112, 6.3)
        body = 0
    elif body == "chunked":
        headers = [header for header in headers if header[0] != b"content-length"]
    return Response(
        status=status,
        reason=found[3] or b"",
        headers=_end_to_end(headers, options),
        body="until-close" if body is None else body,
        keep_alive=found[1] != b"0" and b"close" not in options and body is not None,
        upgrade=b", ".join(named.get(b"upgrade", ())),
    )


async def pieces(reader: StreamReader, body: Body) -> AsyncIterator[bytes]:
    """A body's content, without its framing, as it arrives.

    Raises:
        Malformed, IncompleteReadError: the body is not what its head says.
    """
    if body == "chunked":
        async for piece in _chunks(reader):
            yield piece
    elif body == "until-close":
        while piece := await reader.read(PIECE):
            yield piece
    elif isinstance(body, int):
        async for piece in _exactly(reader, body):
            yield piece


async def _exactly(reader: StreamReader, length: int) -> AsyncIterator[bytes]:
    while length:
        piece = await reader.read(min(PIECE, length))
        if not piece:
            raise IncompleteReadError(b"", length)
        length -= len(piece)
        yield piece


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            found = _CHUNK.fullmatch(await reader.readuntil(b"\r\n"))
        except LimitOverrunError as exc:
            raise Malformed(400, "a chunk's line is too long") from exc
        if found is None:
            raise Malformed(400, "this is not a chunk")
        length = int(found[1], 16)
        if length == 0:
            break
        async for piece in _exactly(reader, length):
            yield piece
        if await reader.readexactly(2) != b"\r\n":
            raise Malformed(400, "a chunk is longer than it says")
    await _skip_trailers(reader)


async def _skip_trailers(reader: StreamReader) -> None:
    """Read the trailers, which are not passed on. Raises Malformed."""
    left = TRAILER_LIMIT
    while left > 0:
        try:
            line = await reader.readuntil(b"\r\n")
        except LimitOverrunError as exc:
            raise Malformed(400, "a trailer is too long") from exc
        if line == b"\r\n":
            return
        if _HEADER_LINES.fullmatch(line) is None:
            raise Malformed(400, "this is not a trailer")
        left -= len(line)
    raise Malformed(400, "the trailers are too long")


def chunk(piece: bytes) -> bytes:
    """A piece of a body as a chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"


def head(first: bytes, headers: Headers, *more: bytes) -> bytes:
    """A head: its first line, headers, and more headers as whole lines without their ends."""
    lines = [first, *(name + b": " + value for _, name, value in headers), *more, b"\r\n"]
    return b"\r\n".join(lines)


def _headers(lines: bytes) -> Headers:
    lines = lines[:-2]  # the empty line
    if _HEADER_LINES.fullmatch(lines) is None:
        raise Malformed(400, "these are not headers")
    found = []
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        found.append((name.lower(), name, value.strip(b" \t")))
    return found


def _values(headers: Headers) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, _, value in headers:
        found.setdefault(name, []).append(value)
    return found


def _options(named: dict[bytes, list[bytes]]) -> set[bytes]:
    return {option.strip().lower() for value in named.get(b"connection", ()) for option in value.split(b",")}


def _upgrade(named: dict[bytes, list[bytes]], options: set[bytes]) -> bytes:
    """The protocol to change to. HTTP/2 is not passed on: its requests would pass a gate that closes later."""
    protocol = b", ".join(named.get(b"upgrade", ()))
    return b"" if b"upgrade" not in options or b"h2c" in protocol.lower() else protocol


def _end_to_end(headers: Headers, options: set[bytes]) -> Headers:
    """The headers without those of this connection. A message whose length were dropped would be read as two."""
    dropped = _HOP_BY_HOP | (options - _KEPT)
    return [header for header in headers if header[0] not in dropped]


def _body(named: dict[bytes, list[bytes]]) -> int | Literal["chunked"] | None:
    """The body's length by the headers; None where they state none.

    Ambiguous headers are refused: where two readers disagree on a head, requests can be smuggled (RFC 9112, 6.1, 6.3).
    """
    codings, lengths = named.get(b"transfer-encoding"), named.get(b"content-length")
    if codings is not None:
        if lengths is not None:
            raise Malformed(400, "Content-Length beside Transfer-Encoding")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise Malformed(501, "no other transfer coding than chunked is known here")
        return "chunked"
    if lengths is None:
        return None
    if len(lengths) != 1 or re.fullmatch(rb"[0-9]{1,18}", lengths[0]) is None:
        raise Malformed(400, "this is not a Content-Length")
    return int(lengths[0])
