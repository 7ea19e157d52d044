"""The borders at which texts of others, and files that a disk may have damaged, come in: each with texts that it reads,
and with the errors by which it refuses others. Any other error is a fault."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from edgeguard import settings
from edgeguard.cluster.host import files, generations, hooks, images, manifest, strict_json
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.local import http1
from edgeguard.cluster.record import Record
from edgeguard.deploy import report
from edgeguard.deploy.report.text import history, render
from edgeguard.edge import marks
from edgeguard.edge.claim import live, parse_all
from edgeguard.edge.fastly import api, headers, policy
from edgeguard.edge.fastly.answers import SHAPES, flaw
from edgeguard.errors import EdgeguardError
from edgeguard.grace import audit
from edgeguard.monitor import ranges
from edgeguard.release import application_file, image
from edgeguard.release.application import Application
from edgeguard.site import bounds, sitemap
from edgeguard.times import duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = Path(__file__).parents[2] / "config" / "production.toml"
FOLDER = Path(tempfile.mkdtemp(prefix="edgeguard-fuzz-"))
"""One for each process; who runs this removes it."""


@dataclass(frozen=True)
class Border:
    """`read` takes a text in; `refuses` are the errors that say why it does not; `seeds` are texts that are read."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = (EdgeguardError, HostError)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _file(name: str, content: bytes) -> Path:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _settings(content: bytes) -> None:
    _file("production.toml", content)
    settings.load("production", FOLDER)


def _record(content: bytes) -> None:
    found = files.read(_file("record.json", content)) or {}
    record = Record.on("web1", found, "production")
    _ = record.releases, record.left_out
    history("production", record.history, record.releases)


def _journal(content: bytes) -> None:
    render(report.load(_file("run/journal.jsonl", content).parent))


def _samples(content: bytes) -> None:
    _file("sampled/journal.jsonl", JOURNAL)
    render(report.load(_file("sampled/samples.jsonl", content).parent))


def _orders(content: bytes) -> None:
    server = FOLDER / "web1"
    _file("web1/hooks/one/deploy.json", content)
    _file("web1/generations/one/generation.json", content)
    for act in (lambda: hooks.result(server, "one", "deploy"), lambda: hooks.running(server)):
        try:
            act()
        except HostError:
            continue
    (server / "generations/one/image").unlink(missing_ok=True)
    (server / "generations/one/image").symlink_to("/nowhere")
    generations.find(server, "one")


def _image(content: bytes) -> None:
    image.load(_file("image/release.json", content).parent)


def _manifest(content: bytes) -> None:
    _file("whole/release.json", b'{"digest": "d"}')
    images.verify(_file("whole/manifest", content).parent)
    manifest.changed(_text(content), _text(content), "app")


def _answer(content: bytes) -> None:
    api._said(content)  # noqa: SLF001 (a whole call would fuzz urllib3)
    found = strict_json.read(content, most=api.BYTES)
    for shape in SHAPES.values():
        flaw(shape, found)


def _status(content: bytes) -> None:
    found = policy.read_status(content.decode("utf-8"))
    claims = live(parse_all(found.slots), now=found.now, ceiling=86_400)
    _ = duration(found.grace), rfc3339(found.now), [rfc3339(claim.until) for claim in claims]


def _audit(content: bytes) -> None:
    items = {"audit-1795864926289-abcd": _text(content), "support1": _text(content), _text(content): "x"}
    audit.unreadable(items)
    for said in audit.lines(items):
        _ = rfc3339(said["at"]), rfc3339(said.get("until", 0)), duration(said.get("grace", 0))
    live(parse_all(items), now=1_795_864_926, ceiling=86_400)


def _page(content: bytes) -> None:
    head, _, body = content.partition(b"\n\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\n"))
    found = bounds.joined((name.strip(), value.strip()) for name, _, value in lines)
    headers.copy(found)
    headers.freshness(found)
    if (closed := marks.closed_until(marks.closed(found) or "")) is not None:
        rfc3339(closed.until)
    bounds.body([body], found, 2**20)


def _sitemap(content: bytes) -> None:
    sitemap._parse(sitemap._unpacked(content))  # noqa: SLF001 (without a server)


def _gate(content: bytes) -> None:
    http1.request(content)


def _answered(content: bytes) -> None:
    http1.response(content, b"GET")


def lines(*entries: object) -> bytes:
    """These as JSON lines."""
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


JOURNAL = lines(
    {"event": "deploy", "at": 1000.0, "deploy": "d1", "command": "deploy", "environment": "production", "ref": None},
    {"event": "begin", "at": 1000.0, "step": "close", "before": {}},
    {"event": "done", "at": 1001.0, "step": "build", "release": "b" * 64, "ref": "main", "serves": False},
    {"event": "done", "at": 1001.5, "step": "claim", "until": 1180, "base": 60, "claimed": 180, "nodes": ["n1"]},
    {"event": "done", "at": 1002.0, "step": "purge", "keys": 5, "requests": 1, "ids": ["i"], "reasons": ["all"]},
    {"event": "done", "at": 1003.0, "step": "close"},
    {"event": "found", "at": 1003.0, "phase": "hook", "servers": ["web1"], "will": "go on", "closed": True},
    {
        "event": "end",
        "at": 1100.0,
        "exit_code": 0,
        "error": None,
        "remedy": None,
        "closed_seconds": 1.5,
        "servers": [{"name": "web1", "release": "b" * 64, "open": True}],
    },
)
RELEASE = {"generation": "d1", "release": "b" * 64, "variables": "v"}
RECORD: dict[str, Any] = {
    "version": 1,
    "environment": "production",
    "epoch": 3,
    "serial": 7,
    "opened": RELEASE,
    "releases": [RELEASE],
    "lock": {
        "deploy": "d2",
        "by_hand": False,
        "holder": "root@vm pid 5",
        "since": "2026-01-01T00:00:00Z",
        "counter": 4,
    },
    "deploy": {"id": "d2", "phase": "hook", "hook": {"server": "web1"}, "pages": {"/": 200}, "without": ["web2"]},
    "closure": {"id": "d2", "who": "a", "why": "b", "since": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z"},
    "history": [{"id": "d1", "command": "deploy", "outcome": "deployed", "closed_seconds": 1.5, "release": "b" * 64}],
}
LEDGER = {
    "done": True,
    "nonce": "n",
    "argv": ["true"],
    "cwd": "/",
    "code": 0,
    "ended": "by itself",
    "seconds": 1.5,
    "session": {"id": 1, "started": 2, "boot": "b"},
    "strays": [],
    "bytes": 5,
    "release": "d",
    "start": ["x"],
    "hooks": {"deploy": ["x"]},
    "folders": ["/a"],
    "users": [{"name": "a", "keys": ["k"], "role": "r"}],
}
IMAGE = {
    "digest": "d",
    "inputs": "i",
    "ref": "r",
    "commit": "c",
    "tree": "t",
    "lacks": ["p"],
    "application": Application("site", "python:3.12", "start", hooks={"deploy": "x"}).to_json(),
}
STATUS = b"node=cache-fra1 revision=abc now=1795864926 base=60 grace=3600 hold=0 " + b" ".join(
    slot.encode() + b"=" for slot in ("deploy0", "deploy1", *(f"support{number}" for number in range(1, 9)))
)
PAGE = (
    b"Fastly-Debug-TTL: (H cache-fra1 59.1 3600.0 5)\nEdgeguard-Copy: stale 1795864926\nVary: Cookie\nAge: 5\n"
    b'Edgeguard-Closed: d1; until=2026-01-01T00:00:00Z\nCache-Control: max-age=60, stale-if-error="5"\n\nbody'
)
URLS = b'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>https://a/b</loc></url></urlset>'
HEAD = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n"
ANSWERS = (
    lines({"type": "vcl", "active_version": {"number": 5, "snippets": [{"name": "a", "type": "recv"}]}}),
    lines([{"item_key": "support1", "item_value": "1795864926:60:abcd"}]),
    lines({"msg": "Bad", "detail": "no", "status": "ok"}),
)

BORDERS = {
    "settings": Border(_settings, (CONFIG.read_bytes(),)),
    "application file": Border(
        lambda content: application_file.parse(content, include=lambda _: content),
        (
            b"name: site\ntype: python:3.12\nweb: {commands: {start: a}}\nmounts: {a: {source: local}}\n",
            b"name: &a x\ntype: python:3.12\nweb: {commands: {start: *a}}\nvariables: {env: {A: 1}}\n",
        ),
    ),
    "record": Border(_record, (lines(RECORD),)),
    "journal": Border(_journal, (JOURNAL,)),
    "samples": Border(_samples, (lines([1.0, "anonymous", 200, 0.1, "", "b"], [1.5, "origin", None, 5]),)),
    "order files": Border(_orders, (lines(LEDGER),)),
    "release.json": Border(_image, (lines(IMAGE),)),
    "manifest": Border(_manifest, (lines(["0444", "file", "d", "app/a"], ["-", "link", "x", "app/b"]),), (ValueError,)),
    "API answers": Border(_answer, ANSWERS, (strict_json.Fault,)),
    "status answers": Border(_status, (STATUS,), (ValueError,)),
    "audit items": Border(_audit, (lines({"did": "extend", "id": "support1", "who": "a", "why": "b", "until": 5}),)),
    "pages": Border(
        _page, (PAGE, b"Content-Encoding: gzip\n\n" + gzip.compress(b"a" * 999)), (bounds.TooMuch, ValueError)
    ),
    "sitemap": Border(_sitemap, (URLS, gzip.compress(URLS)), (ExpatError, zlib.error, ValueError)),
    "ranges": Border(lambda content: str(ranges.parse(_text(content))), (b"10m:2h", b"@0:10m", b"~:5s"), (ValueError,)),
    "durations": Border(
        lambda content: duration(settings.seconds(_text(content))), (b"90s", b"2h", b"7d"), (ValueError,)
    ),
    "gate heads": Border(_gate, (HEAD,), (http1.Malformed,)),
    "servers' heads": Border(_answered, (HEAD.replace(b"POST /a?b HTTP/1.1", b"HTTP/1.1 200 OK"),), (http1.Malformed,)),
}
