"""Small inputs that were a fault once, or are the worst of their kind, by border."""

from __future__ import annotations

from tests.fuzz.borders import JOURNAL, LEDGER, PAGE, STATUS, lines

_END = b'{"event":"end","at":1,"exit_code":0,"error":null,"remedy":null,"servers":%s}\n'
_BEGUN = b"".join(JOURNAL.splitlines(keepends=True)[:-1])
_DEEP = b"[" * 100_000

CORPUS: dict[str, tuple[bytes, ...]] = {
    "settings": (_DEEP, b"a = " + _DEEP, b"[edge]\nceiling = 1e300\n", b"\xff", b"a = " + b"9" * 5000),
    "application file": (
        b"{" * 5000,
        b"a: &a [*a]\n",
        b"name: " + b"9" * 5000,
        b"\x00",
        b"variables: {a: {b: 1e300}}\n",
    ),
    "record": (_DEEP, b'{"version":1,"environment":"production","history":[5,{"id":[]}]}', b"{}", b'{"epoch":NaN}'),
    "journal": (
        *(_BEGUN + _END % servers for servers in (b'[{"name":"web1","open":true}]', b"[[]]", b"5", b'[{"name":5}]')),
        JOURNAL + _DEEP + b"\n",
        JOURNAL + b'{"event":"done","at":1e300,"step":"claim","until":1e300}\n',
        JOURNAL + b'{"event":"done","at":1,"step":"claim","until":9000000000000000000}\n',
        JOURNAL + b'{"event":"done","at":1,"step":"purge","reasons":[5],"requests":1}\n',
        b'{"event":"begin","at":1,"step":"close"}\n',
    ),
    "samples": (_DEEP, b"[]\n5\n{}\n", b'[1e300,"anonymous",200,0.1]\n', b'[1,"nobody",200,1]\n', b"[1,[],200,1]\n"),
    "order files": (
        _DEEP,
        lines({**LEDGER, "code": None}),
        lines({**LEDGER, "session": {}}),
        lines({**LEDGER, "strays": None}),
    ),
    "release.json": (_DEEP, b"{}", b'{"application":{}}', b'{"application":5}'),
    "manifest": (_DEEP, b'["0444","file","d","app/a"', b"[]\n", b'["","","",""]\n', b"[1,2,3,4]\n"),
    "API answers": (_DEEP, b'{"msg":[{}],"title":5}', b"", b"[" + b"[]," * 600_000 + b"0]", b'{"a":1,"a":2}'),
    "status answers": (STATUS.replace(b"60", b"9" * 4000), STATUS.replace(b"cache", b"\x1b"), b"node", b"\xff"),
    "audit items": (_DEEP, b'{"until":1e300}', b'{"who":[],"did":{}}', b'{"at":"x"}', b"\xed\xa0\x80"),
    "pages": (
        PAGE.replace(b"59.1", b"9" * 500),
        PAGE.replace(b"2026-", b"9999-"),
        b"Content-Encoding: gzip\n\nx",
        b"a: b\n" * 200,
    ),
    "sitemap": (
        b"<a>" * 100_000,
        b'<!DOCTYPE a [<!ENTITY b "c">]><urlset/>',
        b"<urlset>" + b"<url><loc>a</loc></url>" * 60_000 + b"</urlset>",
        b"\x1f\x8b",
    ),
    "ranges": (b"9" * 5000, b"1e300:", "\uff11m".encode(), b"\xff", b"@"),
    "durations": (b"9" * 5000 + b"d", b"1e300d", b"nans", "\uff11m".encode(), b"-1s"),
    "gate heads": (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"\x00", b""),
    "servers' heads": (
        b"HTTP/1.1 999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"",
    ),
}
