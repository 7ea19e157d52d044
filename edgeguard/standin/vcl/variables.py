"""Access to variables, headers and locals: functions that read or set one of them at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgeguard.standin.vcl import language
from edgeguard.standin.vcl.functions import text
from edgeguard.standin.vcl.request import Request, Value
from edgeguard.standin.vcl.syntax import Type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.standin.vcl.expressions import Locals

Frame = dict[str, Any]
"""One call's locals. The checker knows their types, mypy can't."""
Get = Callable[[Request, Frame], Any]
Put = Callable[[Request, Frame, Any], None]


def getter(name: str, local_types: Locals) -> Get:
    """The function that reads it."""
    if name in local_types:
        return lambda _, frame: frame[name]
    if language.HEADER.fullmatch(name):
        collection, _, header = name.partition(".http.")
        return lambda request, _frame: getattr(request, collection).get(header)
    group = language.GROUP.fullmatch(name)
    if group:
        number = int(group[1])
        return lambda request, _: request.groups[number] if number < len(request.groups) else None
    if name in _DERIVED:
        derive = _DERIVED[name]
        return lambda request, _: derive(request.values)
    plain, default = language.ALIASES.get(name, name), language.DEFAULTS[name]
    return lambda request, _: request.values.get(plain, default)


def setter(name: str, local_types: Locals) -> Put:
    """The function that sets it to a value of its type. For a STRING, `Semantics` says what None sets."""
    if name in local_types:
        return _local_setter(name, local_types[name])
    if language.HEADER.fullmatch(name):
        return _header_setter(name)
    plain = language.ALIASES.get(name, name)
    convert = _limited if language.VARIABLES[name].type is Type.RTIME else _as_it_is

    def put(request: Request, _: Frame, value: Any) -> None:  # noqa: ANN401  # of the variable's type, which was checked
        request.values[plain] = convert(value)

    return put


def _limited(seconds: float) -> float:
    return float(max(-language.UNLIMITED, min(language.UNLIMITED, seconds)))


def _as_it_is(value: Value) -> Value:
    return value


def _local_setter(name: str, kind: Type) -> Put:
    def put(_request: Request, frame: Frame, value: Value) -> None:
        frame[name] = value

    def put_string(request: Request, frame: Frame, value: str | None) -> None:
        empty = value is None and request.semantics.not_set_is_empty_when_assigned
        frame[name] = "" if empty else value

    return put_string if kind is Type.STRING else put


def _header_setter(name: str) -> Put:
    collection, _, header = name.partition(".http.")

    def put(request: Request, _frame: Frame, value: str | None) -> None:
        headers = getattr(request, collection)
        if value is None and not request.semantics.not_set_is_empty_when_assigned:
            headers.remove(header)
        else:
            headers.set(header, value or "")

    return put


def _path(values: Mapping[str, Value]) -> str:
    return text(values.get("req.url")).partition("?")[0]


def _query(values: Mapping[str, Value]) -> str:
    return text(values.get("req.url")).partition("?")[2]


def _basename(values: Mapping[str, Value]) -> str:
    return _path(values).rpartition("/")[2]


_DERIVED: dict[str, Callable[[Mapping[str, Value]], str]] = {
    # Fastly: reference/vcl/variables/client-request/req-url-… and …/date-and-time/now-sec
    "now.sec": lambda values: str(int(values.get("now") or 0)),
    "req.url.path": _path,
    "req.url.qs": _query,
    "req.url.basename": _basename,
    "req.url.dirname": lambda values: _path(values).rpartition("/")[0] or "/",
    "req.url.ext": lambda values: _basename(values).rpartition(".")[2] if "." in _basename(values) else "",
}
