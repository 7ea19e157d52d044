"""The tree that the parser makes, and the error that every stage of the compiler raises."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VclError(Exception):
    """The VCL does not compile. Each of `messages` says what is wrong and where, as `snippet:line: …`."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


class Type(StrEnum):
    """The types of the subset. Fastly: reference/vcl/types."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    FLOAT = "FLOAT"
    BOOL = "BOOL"
    RTIME = "RTIME"
    TIME = "TIME"
    IP = "IP"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a snippet, or of the generated VCL around the snippets."""

    source: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"

    def error(self, message: str) -> VclError:
        """A VclError with one message, about this place."""
        return VclError([f"{self}: {message}"])


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. RTIME in seconds."""

    type: Type
    value: str | int | float | bool
    at: Place


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable's or a local's name, or a table's as the first argument of a table function."""

    name: str
    at: Place


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    function: str
    arguments: tuple[Expression, ...]
    at: Place


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Two or more parts, made one STRING."""

    parts: tuple[Expression, ...]
    at: Place


@dataclass(frozen=True, slots=True)
class Choice:
    """`if(condition, then, otherwise)` as an expression."""

    condition: Expression
    then: Expression
    otherwise: Expression
    at: Place


@dataclass(frozen=True, slots=True)
class Not:
    """`!`, which binds weaker than a comparison."""

    operand: Expression
    at: Place


@dataclass(frozen=True, slots=True)
class Logic:
    """`&&` or `||` over two or more operands."""

    operator: str
    operands: tuple[Expression, ...]
    at: Place


@dataclass(frozen=True, slots=True)
class Comparison:
    """`==`, `!=`, `<`, `>`, `<=`, `>=`, `~` or `!~`."""

    operator: str
    left: Expression
    right: Expression
    at: Place


Expression = Literal | Variable | Call | Concatenation | Choice | Not | Logic | Comparison


@dataclass(frozen=True, slots=True)
class Declare:
    """`declare local`."""

    name: str
    type: str
    at: Place


@dataclass(frozen=True, slots=True)
class Set:
    """`set` with any assignment operator."""

    name: str
    operator: str
    value: Expression
    at: Place


@dataclass(frozen=True, slots=True)
class Add:
    """`add`: one more header of that name."""

    name: str
    value: Expression
    at: Place


@dataclass(frozen=True, slots=True)
class Unset:
    """`unset` or `remove`."""

    name: str
    at: Place


@dataclass(frozen=True, slots=True)
class Collect:
    """`std.collect(header, "separator")`: several headers of one name made one."""

    name: str
    separator: str
    at: Place


@dataclass(frozen=True, slots=True)
class If:
    """The branches in their order; `otherwise` is empty without `else`."""

    branches: tuple[tuple[Expression, tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...]
    at: Place


@dataclass(frozen=True, slots=True)
class Block:
    """Braces on their own."""

    body: tuple[Statement, ...]
    at: Place


@dataclass(frozen=True, slots=True)
class CallSubroutine:
    """`call`."""

    name: str
    at: Place


@dataclass(frozen=True, slots=True)
class Return:
    """`return(state)`, or `return` alone (None)."""

    state: str | None
    at: Place


@dataclass(frozen=True, slots=True)
class Error:
    """`error code "text"`."""

    code: Expression
    text: Expression | None
    at: Place


@dataclass(frozen=True, slots=True)
class Restart:
    """`restart`."""

    at: Place


@dataclass(frozen=True, slots=True)
class Synthetic:
    """`synthetic`: the body of an answer that vcl_error makes."""

    value: Expression
    at: Place


Statement = Declare | Set | Add | Unset | Collect | If | Block | CallSubroutine | Return | Error | Restart | Synthetic


@dataclass(frozen=True, slots=True)
class Subroutine:
    """`sub`."""

    name: str
    body: tuple[Statement, ...]
    at: Place


@dataclass(frozen=True, slots=True)
class Table:
    """A dictionary's declaration; its items are not in the VCL."""

    name: str
    at: Place


@dataclass(frozen=True, slots=True)
class Unit:
    """Everything that a service's VCL declares, in its order."""

    tables: tuple[Table, ...]
    subroutines: tuple[Subroutine, ...]
