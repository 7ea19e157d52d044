"""The one table of the variables, functions, states and typing rules that this stand-in knows. It refuses the rest.

From Fastly: reference/vcl/variables/…, reference/vcl/functions/…, reference/vcl/request-lifecycle, reference/vcl/types,
reference/vcl/operators, reference/vcl/statements/…
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeguard.standin.vcl.syntax import Type

Scopes = frozenset[str]

SUBROUTINES = ("recv", "hash", "hit", "miss", "pass", "fetch", "error", "deliver", "log")
ALL: Scopes = frozenset(SUBROUTINES)
NOWHERE: Scopes = frozenset()
_BACKEND: Scopes = frozenset({"miss", "pass", "fetch"})
_FETCH: Scopes = frozenset({"fetch"})
_OBJECT: Scopes = frozenset({"hit", "error"})
_RESPONSE: Scopes = frozenset({"deliver", "log"})

STATES: dict[str, tuple[str, ...]] = {
    # subroutine: what may stand in return(…); the first is what the generated VCL returns
    "recv": ("lookup", "pass", "error", "restart"),
    "hash": ("hash",),
    "hit": ("deliver", "pass", "error", "restart"),
    "miss": ("fetch", "deliver_stale", "pass", "error"),
    "pass": ("pass",),
    "fetch": ("deliver", "deliver_stale", "hit_for_pass", "pass", "error", "restart"),
    "error": ("deliver", "deliver_stale", "restart"),
    "deliver": ("deliver", "restart"),
    "log": ("deliver",),
}

STATEMENT_SCOPES: dict[str, Scopes] = {
    "error": frozenset({"recv", "hit", "miss", "pass", "fetch"}),
    "restart": frozenset({"recv", "hit", "fetch", "error", "deliver"}),
    "synthetic": frozenset({"error"}),
}

LOCAL_TYPES = frozenset({Type.BOOL, Type.FLOAT, Type.INTEGER, Type.RTIME, Type.STRING, Type.TIME})


@dataclass(frozen=True)
class VariableRule:
    """A variable: its type, the scopes that may read it, and the scopes that may set it."""

    type: Type
    read: Scopes = ALL
    set: Scopes = NOWHERE


HEADERS = {
    # all STRING, and the only ones that can be unset
    "req": VariableRule(Type.STRING, ALL, ALL),
    "bereq": VariableRule(Type.STRING, _BACKEND, _BACKEND),
    "beresp": VariableRule(Type.STRING, _FETCH, _FETCH),
    "obj": VariableRule(Type.STRING, _OBJECT, _OBJECT),
    "resp": VariableRule(Type.STRING, _RESPONSE, _RESPONSE),
}
HEADER = re.compile(r"(req|bereq|beresp|obj|resp)\.http\.([A-Za-z0-9_.-]+)")

PROTECTED_HEADERS = frozenset(
    {  # readable, never changed; from the page reference/vcl/special-headers
        "content-length",
        "content-range",
        "expect",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

GROUP = re.compile(r"re\.group\.([0-9]|1[0-9])")

VARIABLES: dict[str, VariableRule] = {
    "client.ip": VariableRule(Type.IP),
    "fastly.ff.visits_this_service": VariableRule(Type.INTEGER),
    "fastly_info.state": VariableRule(Type.STRING),
    "now": VariableRule(Type.TIME),
    "now.sec": VariableRule(Type.STRING),
    "server.datacenter": VariableRule(Type.STRING),
    "server.hostname": VariableRule(Type.STRING),
    "server.identity": VariableRule(Type.STRING),
    "server.pop": VariableRule(Type.STRING),
    "server.region": VariableRule(Type.STRING),
    "stale.exists": VariableRule(Type.STRING),
    "req.hash": VariableRule(Type.STRING, frozenset({"hash", "error"}), frozenset({"hash"})),
    "req.enable_segmented_caching": VariableRule(Type.BOOL, ALL, frozenset({"recv"})),
    "req.grace": VariableRule(Type.RTIME, ALL, ALL),
    "req.hash_always_miss": VariableRule(Type.BOOL, ALL, ALL),
    "req.hash_ignore_busy": VariableRule(Type.BOOL, ALL, ALL),
    "req.is_background_fetch": VariableRule(Type.BOOL),
    "req.is_ssl": VariableRule(Type.BOOL),
    "req.max_stale_if_error": VariableRule(Type.RTIME, ALL, ALL),
    "req.max_stale_while_revalidate": VariableRule(Type.RTIME, ALL, ALL),
    "req.method": VariableRule(Type.STRING, ALL, ALL),
    "req.proto": VariableRule(Type.STRING),
    "req.request": VariableRule(Type.STRING, ALL, ALL),
    "req.restarts": VariableRule(Type.INTEGER),
    "req.service_id": VariableRule(Type.STRING),
    "req.url": VariableRule(Type.STRING, ALL, ALL),
    "req.url.basename": VariableRule(Type.STRING),
    "req.url.dirname": VariableRule(Type.STRING),
    "req.url.ext": VariableRule(Type.STRING),
    "req.url.path": VariableRule(Type.STRING),
    "req.url.qs": VariableRule(Type.STRING),
    "req.vcl.generation": VariableRule(Type.INTEGER),
    "req.vcl.version": VariableRule(Type.INTEGER),
    "bereq.method": VariableRule(Type.STRING, _BACKEND, _BACKEND),
    "bereq.request": VariableRule(Type.STRING, _BACKEND, _BACKEND),
    "bereq.url": VariableRule(Type.STRING, _BACKEND, _BACKEND),
    "beresp.cacheable": VariableRule(Type.BOOL, _FETCH, _FETCH),
    "beresp.grace": VariableRule(Type.RTIME, _FETCH, _FETCH),
    "beresp.response": VariableRule(Type.STRING, _FETCH, _FETCH),
    "beresp.stale_if_error": VariableRule(Type.RTIME, _FETCH, _FETCH),
    "beresp.stale_while_revalidate": VariableRule(Type.RTIME, _FETCH, _FETCH),
    "beresp.status": VariableRule(Type.INTEGER, _FETCH, _FETCH),
    "beresp.ttl": VariableRule(Type.RTIME, _FETCH, _FETCH),
    "obj.age": VariableRule(Type.RTIME, frozenset({"hit", "deliver", "error", "log"})),
    "obj.cacheable": VariableRule(Type.BOOL, _OBJECT),
    "obj.grace": VariableRule(Type.RTIME, frozenset({"hit", "error", "log"})),
    "obj.hits": VariableRule(Type.INTEGER, frozenset({"hit", "deliver", "log"})),
    "obj.response": VariableRule(Type.STRING, _OBJECT, frozenset({"error"})),
    "obj.stale_if_error": VariableRule(Type.RTIME, frozenset({"hit", "error", "log"})),
    "obj.stale_while_revalidate": VariableRule(Type.RTIME, frozenset({"hit", "error", "log"})),
    "obj.status": VariableRule(Type.INTEGER, _OBJECT, frozenset({"error"})),
    "obj.ttl": VariableRule(Type.RTIME, frozenset({"hit", "error", "log"}), _OBJECT),
    "resp.response": VariableRule(Type.STRING, _RESPONSE, _RESPONSE),
    "resp.stale": VariableRule(Type.BOOL),
    "resp.stale.is_error": VariableRule(Type.BOOL),
    "resp.stale.is_revalidating": VariableRule(Type.BOOL),
    "resp.status": VariableRule(Type.INTEGER, _RESPONSE, _RESPONSE),
}


def variable(name: str) -> VariableRule | None:
    """The rule for a variable, a header or a regular expression's group; None if this stand-in doesn't know it."""
    header = HEADER.fullmatch(name)
    if header:
        return HEADERS[header[1]]
    return VariableRule(Type.STRING) if GROUP.fullmatch(name) else VARIABLES.get(name)


ALIASES = {
    "req.request": "req.method",
    "bereq.request": "bereq.method",
    "req.grace": "req.max_stale_if_error",
    "beresp.grace": "beresp.stale_if_error",
    "obj.grace": "obj.stale_if_error",
}
"""Other names of a variable, with the name that a node keeps it under."""

UNLIMITED = 9_223_372_036.0
"""The longest RTIME. The limits have this value until VCL sets them (their default is not documented)."""

ZERO: dict[Type, str | int | float | bool | None] = {
    Type.BOOL: False,
    Type.FLOAT: 0.0,
    Type.INTEGER: 0,
    Type.IP: None,
    Type.RTIME: 0.0,
    Type.STRING: None,
    Type.TIME: 0.0,
}
"""A local's first value (Fastly: reference/vcl/declarations/local-variables), and that of a variable no node sets."""

DEFAULTS = {name: ZERO[rule.type] for name, rule in VARIABLES.items()} | {
    "obj.cacheable": True,  # only what is cacheable is kept
    "req.grace": UNLIMITED,
    "req.max_stale_if_error": UNLIMITED,
    "req.max_stale_while_revalidate": UNLIMITED,
}

TABLE = "a table's name"
PATTERN = "a pattern"


@dataclass(frozen=True)
class FunctionRule:
    """A function: its parameters' types (or TABLE, PATTERN: a literal regular expression), how many are optional."""

    result: Type
    parameters: tuple[str, ...]
    optional: int = 0


FUNCTIONS: dict[str, FunctionRule] = {
    "digest.hash_md5": FunctionRule(Type.STRING, (Type.STRING,)),
    "digest.hash_sha256": FunctionRule(Type.STRING, (Type.STRING,)),
    "parse_time_delta": FunctionRule(Type.INTEGER, (Type.STRING,)),
    "randomint": FunctionRule(Type.INTEGER, (Type.INTEGER, Type.INTEGER)),
    "regsub": FunctionRule(Type.STRING, (Type.STRING, PATTERN, Type.STRING)),
    "regsuball": FunctionRule(Type.STRING, (Type.STRING, PATTERN, Type.STRING)),
    "std.atoi": FunctionRule(Type.INTEGER, (Type.STRING,)),
    "std.integer2time": FunctionRule(Type.TIME, (Type.INTEGER,)),
    "std.itoa": FunctionRule(Type.STRING, (Type.INTEGER,)),
    "std.strlen": FunctionRule(Type.INTEGER, (Type.STRING,)),
    "std.time": FunctionRule(Type.TIME, (Type.STRING, Type.TIME)),
    "std.tolower": FunctionRule(Type.STRING, (Type.STRING,)),
    "std.toupper": FunctionRule(Type.STRING, (Type.STRING,)),
    "substr": FunctionRule(Type.STRING, (Type.STRING, Type.INTEGER, Type.INTEGER), optional=1),
    "table.contains": FunctionRule(Type.BOOL, (TABLE, Type.STRING)),
    "table.lookup": FunctionRule(Type.STRING, (TABLE, Type.STRING, Type.STRING), optional=1),
    "time.add": FunctionRule(Type.TIME, (Type.TIME, Type.RTIME)),
    "time.is_after": FunctionRule(Type.BOOL, (Type.TIME, Type.TIME)),
    "time.sub": FunctionRule(Type.TIME, (Type.TIME, Type.RTIME)),
    "urldecode": FunctionRule(Type.STRING, (Type.STRING,)),
    "urlencode": FunctionRule(Type.STRING, (Type.STRING,)),
}

TYPED_LOOKUPS = {
    # they need a table that is declared with that type, and a dictionary is a table of STRING
    "table.lookup_bool": "BOOL",
    "table.lookup_float": "FLOAT",
    "table.lookup_integer": "INTEGER",
    "table.lookup_ip": "IP",
    "table.lookup_rtime": "RTIME",
}


@dataclass(frozen=True)
class Operands:
    """The types that may stand on the right: some as literals too, others only as variables and function calls."""

    anything: frozenset[Type]
    not_literal: frozenset[Type] = frozenset()


_NUMBERS = frozenset({Type.INTEGER, Type.FLOAT})

ASSIGNABLE: dict[Type, Operands] = {
    # `=`, by the type on the left. The literal rule: `set req.max_stale_if_error = var.n` is seconds, `= 3600` refused.
    Type.BOOL: Operands(frozenset({Type.BOOL})),
    Type.FLOAT: Operands(_NUMBERS),
    Type.INTEGER: Operands(frozenset({Type.INTEGER}), frozenset({Type.RTIME, Type.TIME})),
    Type.RTIME: Operands(frozenset({Type.RTIME}), frozenset({Type.INTEGER})),
    Type.STRING: Operands(
        frozenset({Type.STRING, Type.BOOL}), frozenset({Type.INTEGER, Type.FLOAT, Type.RTIME, Type.TIME, Type.IP})
    ),
    Type.TIME: Operands(frozenset({Type.TIME}), frozenset({Type.INTEGER})),
}

ARITHMETIC: dict[tuple[Type, str], Operands] = {
    # `+=` and its like, by the type on the left and the operator. `+=` on a STRING appends.
    (Type.STRING, "+="): ASSIGNABLE[Type.STRING],
    **{(Type.INTEGER, op): Operands(frozenset({Type.INTEGER})) for op in ("+=", "-=", "*=", "/=", "%=")},
    **{(Type.FLOAT, op): Operands(_NUMBERS) for op in ("+=", "-=", "*=", "/=")},
    **{(Type.RTIME, op): Operands(frozenset({Type.RTIME}), frozenset({Type.INTEGER})) for op in ("+=", "-=")},
    **{(Type.RTIME, op): Operands(_NUMBERS) for op in ("*=", "/=")},
    **{(Type.TIME, op): Operands(frozenset({Type.RTIME}), frozenset({Type.INTEGER})) for op in ("+=", "-=")},
}

ORDERED: dict[Type, frozenset[Type]] = {
    # `<`, `>`, `<=`, `>=`: the left type, and those it can be compared with. TIME is not among them: time.is_after.
    Type.INTEGER: frozenset({Type.INTEGER, Type.RTIME}),
    Type.FLOAT: frozenset({Type.INTEGER, Type.FLOAT, Type.RTIME}),
    Type.RTIME: frozenset({Type.INTEGER, Type.FLOAT, Type.RTIME}),
}
