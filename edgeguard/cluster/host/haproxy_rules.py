"""The configuration of a host's gate: HAProxy in front of the one application on this host.

One key of one map says everything: `gate` is `open RELEASE`, or `closed TEXT`, where TEXT is the value of
Edgeguard-Closed. So one write is one switch, and nobody meets a half of it. A missing key, or any other value, is
closed.

The map is asked twice. The frontend refuses nearly all requests of a closed gate. The backend asks once more, when it
has counted the request already: so whoever sees the gate closed, and then counts none, knows that none is under way
between the two.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

NEVER_OPENED = "none; until=1970-01-01T00:00:00Z"
"""What a gate tells that nobody has closed, and nobody opened."""
BACKEND = "application"
MARK = "edgeguard-"
"""The description of a process with our configuration: this, and the configuration's digest."""

_UNKNOWN = "0" * 64
_FILES = 50_000  # HAProxy takes memory for every file that it may open, and a host may allow a thousand million
_LONGEST = 90  # of a socket's 107 bytes: HAProxy binds it under a longer name first
_DIGEST = re.compile(rf"(?m)^    description {MARK}([0-9a-f]{{64}})$")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/@+=:-]+")
_ADDRESS = re.compile(r"[A-Za-z0-9.:*_\[\]-]+:[0-9]{1,5}")
_CHECK_PATH = re.compile(r"/[!-&(-~]*")  # no ', which ends a word of HAProxy's
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

_SETTLED = """\
defaults
    mode http
    # Each request has a connection of its own to the application: an idle one would reach a process that was replaced.
    option http-server-close
    http-reuse never
    option disable-h2-upgrade
    retries 0
    # An answer that was cut must not look like one.
    errorfile 502 /dev/null
    timeout connect 5s
    timeout client 75s
    timeout http-request 75s
    timeout http-keep-alive 75s
    timeout server 600s
    timeout tunnel 1h
"""

_REFUSED = r"""
    # What two readers could read in two ways.
    http-request deny deny_status 400 if METH_CONNECT
    http-request deny deny_status 400 if !{ req.ver -m beg 1. }
    http-request deny deny_status 400 if { req.fhdr_cnt(host) gt 1 }
    http-request deny deny_status 400 if !{ req.ver 1.0 } { req.fhdr_cnt(host) eq 0 }
    http-request deny deny_status 400 if { req.fhdr(host) -m reg '[[:space:]/?#@\\]' }
    http-request deny deny_status 400 if { req.ver 1.0 } { req.fhdr(transfer-encoding) -m found }
    http-request deny deny_status 400 if { req.fhdr_cnt(transfer-encoding) gt 1 }
    http-request deny deny_status 400 if { url -m reg '^[^/?#]+://[^/?#]*@' }
    http-request deny deny_status 400 if { req.hdrs -m reg '[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]' }
    # Requests over HTTP/2 would pass a gate that closes later.
    http-request del-header HTTP2-Settings if { req.hdr(upgrade) -m sub -i h2c }
    http-request del-header Upgrade if { req.hdr(upgrade) -m sub -i h2c }
""".lstrip("\n")

_ANNOUNCED = """\
    http-request set-var(txn.gate) str(none)
    http-request set-var(txn.gate) str(gate),map({state})
    http-request set-var(txn.closed) str("{never}")
    http-request set-var(txn.closed) var(txn.gate),bytes(7) if {{ var(txn.gate) -m beg "closed " }}
"""

_CLOSED = """\
    http-request return status {status} content-type "text/plain; charset=utf-8" string "closed\\n" \
hdr Retry-After {retry_after} hdr Cache-Control no-store hdr Edgeguard-Closed "%[var(txn.closed)]" \
if {check}!{{ var(txn.gate) -m beg "open " }}
"""

_ADDED = """\
    http-request set-header {name} "%[req.fhdr({name})], {value}" if {{ req.fhdr_cnt({name}) eq 1 }}
    http-request add-header {name} "{value}" if {{ req.fhdr_cnt({name}) gt 1 }}
    http-request set-header {name} "{value}" if {{ req.fhdr_cnt({name}) eq 0 }}
"""

_MARKED = """\
    http-response del-header Edgeguard-Closed
    http-response set-header Edgeguard-Release "%[var(txn.gate),bytes(5)]"
"""

# As `local` has it (edgeguard/cluster/local/surrogate.py): an edge keeps what a 304 renewed as long as the 304 says.
_LASTING = r"""
    http-response set-var(txn.kept) bool(true) if {{ status 200 304 }} !{{ res.fhdr(set-cookie) -m found }} \
!{{ res.fhdr(cache-control) -m reg -i '{refusal}' }} !{{ res.fhdr(surrogate-control) -m reg -i '{refusal}' }}
    http-response set-var(txn.derived) bool(true) if {{ var(txn.kept) -m bool }} \
!{{ res.fhdr(surrogate-control) -m reg -i '{max_age}' }} {{ res.fhdr(cache-control) -m reg -i '{lifetime}' }}
    http-response replace-header Surrogate-Control '(?i)(.*{max_age}.*)' '\1, stale-if-error={ceiling}' \
if {{ var(txn.kept) -m bool }} !{{ var(txn.derived) -m bool }}
    http-response set-header Surrogate-Control \
"%[res.fhdr(cache-control,1)], %[res.fhdr(cache-control,2)], %[res.fhdr(cache-control,3)]" \
if {{ var(txn.derived) -m bool }}
    http-response replace-header Surrogate-Control '(?i)^(?:.*?[\s,])?s-maxage{seconds}.*' \
'max-age=\1, stale-if-error={ceiling}' if {{ var(txn.derived) -m bool }}
    http-response replace-header Surrogate-Control '(?i)^(?:.*?[\s,])?max-age{seconds}.*' \
'max-age=\1, stale-if-error={ceiling}' if {{ var(txn.derived) -m bool }}
""".lstrip("\n")


def configuration(
    folder: Path,
    *,
    app_port: int,
    listen: str = "*:80",
    closed_status: int = 500,
    retry_after: int = 30,
    check_path: str | None = None,
    ceiling: int = 0,
    user: str | None = None,
    hard_stop: int = 60,
) -> str:
    """The whole haproxy.cfg of the gate whose files are in `folder`. It forwards to 127.0.0.1:`app_port` alone.

    `ceiling`, `closed_status`, `retry_after` and `check_path` are as the settings have them. Processes that serve are
    `user`'s where that is given, and this user's else. An old process of a reload ends after `hard_stop` seconds.

    Raises:
        HostError: a value can't stand in the configuration.
    """
    for name, value, fits in (
        ("cluster.root", str(folder), _PLAIN_PATH),
        ("options.listen", listen, _ADDRESS),
        ("cluster.edge_check_path", check_path, _CHECK_PATH),
        ("the gate's user", user, _USER),
    ):
        if value is not None and not fits.fullmatch(value):
            raise HostError(f"{name}: {value!r} can't stand in HAProxy's configuration", "Choose a plainer one.")
    if len(f"{folder}/master") > _LONGEST:
        raise HostError(f"cluster.root is too long for a socket in {folder}", "Choose a shorter one.")
    gate = _asked(f"{folder}/state", closed_status, retry_after, check_path)
    text = "".join(
        [
            "# edgeguard wrote this for a gate of its own. A changed file is refused: see its description.\n",
            f"global\n    description {MARK}{_UNKNOWN}\n",
            f"    hard-stop-after {hard_stop:d}s\n    fd-hard-limit {_FILES}\n",
            "" if user is None else f"    user {user}\n",
            _SETTLED,
            f"frontend site\n    bind {listen}\n",
            _REFUSED,
            gate,
            f"    default_backend {BACKEND}\n",
            f"backend {BACKEND}\n",
            gate,
            _ADDED.format(name="Via", value="1.1 edgeguard-gate"),
            _ADDED.format(name="X-Forwarded-For", value="%[src]"),
            _MARKED,
            _lasting(ceiling) if ceiling else "",
            f"    server {BACKEND} 127.0.0.1:{app_port:d}\n",
        ]
    )
    return text.replace(_UNKNOWN, _digest(text))


def digest(text: str) -> str | None:
    """The digest of a configuration that `configuration` made; None where somebody changed it since."""
    found = _DIGEST.search(text)
    return found[1] if found is not None and _digest(text) == found[1] else None


def _digest(text: str) -> str:
    return hashlib.sha256(_DIGEST.sub(f"    description {MARK}{_UNKNOWN}", text).encode()).hexdigest()


def _asked(state: str, status: int, retry_after: int, check_path: str | None) -> str:
    """The rules that ask the map, and refuse."""
    rules = _ANNOUNCED.format(state=state, never=NEVER_OPENED)
    if check_path is not None:
        rules += _CLOSED.format(status=200, retry_after=retry_after, check=f"{{ path '{check_path}' }} ")
    return rules + _CLOSED.format(status=status, retry_after=retry_after, check="")


def _lasting(ceiling: int) -> str:
    seconds = r'\s*=\s*"?0*([0-9]{1,10})'
    rules = _LASTING.replace("\\\n", "")  # HAProxy has no long lines
    return rules.format(
        refusal=r"\b(private|no-store|no-cache|stale-if-error)\b",
        max_age=r'(?:^|[\s,])max-age\s*=\s*"?[0-9]',
        lifetime=r'(?:^|[\s,])(s-maxage|max-age)\s*=\s*"?[0-9]',
        seconds=seconds,
        ceiling=ceiling,
    )
