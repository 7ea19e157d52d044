"""The state that one request's subroutines share, and the switches for open questions about evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Value = str | int | float | bool | None
"""A VCL value: STRING and IP are str (None: not set), RTIME is in seconds, TIME in Unix seconds."""


class Headers:
    """Header fields in their order; names compare without case. A name may occur more than once."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = list(fields)

    def get(self, name: str) -> str | None:
        """The first value of that name, as VCL reads it; None if there is none."""
        key = name.lower()
        for other, value in self._fields:
            if other.lower() == key:
                return value
        return None

    def get_all(self, name: str) -> list[str]:
        """Every value of that name."""
        key = name.lower()
        return [value for other, value in self._fields if other.lower() == key]

    def set(self, name: str, value: str) -> None:
        """Replace every field of that name by one, at the first one's place."""
        key = name.lower()
        kept: list[tuple[str, str]] = []
        placed = False
        for other in self._fields:
            if other[0].lower() != key:
                kept.append(other)
            elif not placed:
                kept.append((name, value))
                placed = True
        self._fields = kept if placed else [*kept, (name, value)]

    def add(self, name: str, value: str) -> None:
        """Add a field, beside others of that name."""
        self._fields.append((name, value))

    def remove(self, name: str) -> None:
        """Remove every field of that name. Harmless if there is none."""
        key = name.lower()
        self._fields = [other for other in self._fields if other[0].lower() != key]

    def copy(self) -> Headers:
        """A copy with the same fields."""
        return Headers(self._fields)

    def items(self) -> list[tuple[str, str]]:
        """All fields in their order."""
        return list(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items())

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


@dataclass(frozen=True)
class Semantics:
    """One field for each open question. The default is the answer that the documentation states or implies."""

    atoi_garbage_is_zero: bool = True
    """std.atoi of text that doesn't begin with a number is 0, as C's strtol. (Else the largest INTEGER.)"""

    failed_match_unsets_groups: bool = True
    """After a `~` that matched nothing, re.group.N is not set: it belongs to "the most recently executed match
    operator". (Else it keeps the value of the last successful match.)"""

    not_set_is_empty_in_concatenation: bool = True
    """A part that is not set adds nothing to a concatenation. (Else "(null)".)"""

    not_set_is_empty_in_match: bool = True
    """`~` treats a value that is not set as "". (Else it never matches.)"""

    not_set_is_empty_when_assigned: bool = True
    """Assigning a value that is not set makes a header or local "", which is true in a condition. (Else the header or
    local is not set.)"""


@dataclass
class Request:
    """One request on its way through the subroutines. The node makes and fills it, and reads what they leave behind.

    `values` holds all variables but headers by their VCL name, `tables` each dictionary's items as this node sees them
    now. `values` lacks the variables that VCL derives (`now.sec`, `req.url.path`, …). Any other variable that it lacks
    has the zero of its type. `error` is set by the statement `error`, `body` by `synthetic`; only the node clears them.
    """

    tables: Mapping[str, Mapping[str, str]]
    req: Headers
    values: dict[str, Value] = field(default_factory=dict)
    bereq: Headers | None = None
    beresp: Headers | None = None
    obj: Headers | None = None
    resp: Headers | None = None
    error: tuple[int, str] | None = None
    body: str | None = None
    groups: tuple[str | None, ...] = ()
    semantics: Semantics = field(default_factory=Semantics)
