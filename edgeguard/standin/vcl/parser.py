"""Tokens to the tree, by recursive descent. It knows the form of VCL and nothing of names and types."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edgeguard.standin.vcl.lexer import Token, tokens
from edgeguard.standin.vcl.syntax import (
    Add,
    Block,
    Call,
    CallSubroutine,
    Choice,
    Collect,
    Comparison,
    Concatenation,
    Declare,
    Error,
    Expression,
    If,
    Literal,
    Logic,
    Not,
    Place,
    Restart,
    Return,
    Set,
    Statement,
    Subroutine,
    Synthetic,
    Table,
    Type,
    Unit,
    Unset,
    Variable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

S = TypeVar("S", bound=Statement)

ASSIGNMENTS = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=", "<<=", ">>="})
_COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">=", "~", "!~"})
_ELSE_IF = frozenset({"elsif", "elseif"})
_DEEPEST = 60
_LONGEST_INTEGER = 18  # digits that are sure to fit into 64 bits
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


def parse(text: str, places: Sequence[Place]) -> Unit:
    """The tree of a whole VCL text whose line n (from 0) is at places[n].

    Raises:
        VclError: with the first place that is not VCL, or not in the subset.
    """
    return _Parser(list(tokens(text, places))).unit()


def parse_alone(text: str, places: Sequence[Place], *, declarations: bool) -> None:
    """Check that a snippet is whole by itself: declarations, or statements.

    In the service's whole VCL, a missing last ";" or "}" would show only further on, in another snippet's lines.

    Raises:
        VclError: it is not whole.
    """
    parser = _Parser(list(tokens(text, places)))
    if declarations:
        parser.unit()
    else:
        parser.statements()


class _Parser:
    def __init__(self, stream: list[Token]) -> None:
        self._stream = stream
        self._next = 0
        self._depth = 0
        self._statements: dict[str, Callable[[Place], Statement]] = {
            "set": self._set,
            "add": self._add,
            "unset": self._unset,
            "std.collect": self._collect,
            "remove": self._unset,
            "if": self._if,
            "call": self._call_subroutine,
            "declare": self._declare,
            "return": self._return,
            "error": self._error,
            "restart": self._restart,
            "synthetic": self._synthetic,
        }

    # the stream

    @property
    def _ahead(self) -> Token:
        return self._stream[self._next]

    def _take(self) -> Token:
        token = self._ahead
        self._next += token.kind != "end"
        return token

    def _is(self, symbol: str) -> bool:
        return self._ahead.kind in {"symbol", "name"} and self._ahead.text == symbol

    def _took(self, symbol: str) -> bool:
        found = self._is(symbol)
        if found:
            self._take()
        return found

    def _expect(self, symbol: str) -> Place:
        if not self._is(symbol):
            raise self._surprise(f'"{symbol}"')
        return self._take().at

    def _name(self, what: str) -> str:
        if self._ahead.kind != "name":
            raise self._surprise(what)
        return self._take().text

    def _surprise(self, expected: str) -> Exception:
        token = self._ahead
        found = "the end" if token.kind == "end" else repr(token.text)
        if token.text == ":":
            return token.at.error("header sub-fields (name:field) are outside this stand-in's subset")
        return token.at.error(f"expected {expected}, found {found}")

    def _deeper(self, at: Place) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise at.error(f"nested deeper than {_DEEPEST} levels")

    # declarations

    def unit(self) -> Unit:
        tables: list[Table] = []
        subroutines: list[Subroutine] = []
        while self._ahead.kind != "end":
            at = self._ahead.at
            if self._took("sub"):
                subroutines.append(self._subroutine(at))
            elif self._took("table"):
                tables.append(Table(self._name("a table's name"), at))
                self._expect("{")
                if not self._is("}"):
                    raise at.error("a table with content is outside this stand-in's subset; use a dictionary")
                self._expect("}")
            else:
                raise at.error(f'"{self._ahead.text}" is not a declaration that this stand-in knows (sub, table)')
        return Unit(tuple(tables), tuple(subroutines))

    def _subroutine(self, at: Place) -> Subroutine:
        name = self._name("a subroutine's name")
        if not self._is("{"):
            raise at.error("subroutines with parameters or a result are outside this stand-in's subset")
        return Subroutine(name, self._block(), at)

    # statements

    def statements(self) -> tuple[Statement, ...]:
        body: list[Statement] = []
        while self._ahead.kind != "end":
            body.append(self._statement())
        return tuple(body)

    def _block(self) -> tuple[Statement, ...]:
        self._deeper(self._expect("{"))
        body: list[Statement] = []
        while not self._took("}"):
            body.append(self._statement())
        self._depth -= 1
        return tuple(body)

    def _statement(self) -> Statement:
        at = self._ahead.at
        if self._is("{"):
            return Block(self._block(), at)
        word = self._name("a statement")
        if word not in self._statements:
            raise at.error(f'"{word}" is not a statement that this stand-in knows ({", ".join(self._statements)})')
        return self._statements[word](at)

    def _set(self, at: Place) -> Set:
        name = self._name("a variable")
        operator = self._ahead.text
        if self._ahead.kind != "symbol" or operator not in ASSIGNMENTS:
            raise self._surprise("an assignment operator")
        self._take()
        return self._ended(Set(name, operator, self._value(), at))

    def _add(self, at: Place) -> Add:
        name = self._name("a header")
        self._expect("=")
        return self._ended(Add(name, self._value(), at))

    def _unset(self, at: Place) -> Unset:
        return self._ended(Unset(self._name("a variable"), at))

    def _collect(self, at: Place) -> Collect:
        self._expect("(")
        name, separator = self._name("a header"), ","
        if self._took(","):
            if self._ahead.kind != "string":
                raise self._surprise("a separator")
            separator = self._take().text
        self._expect(")")
        return self._ended(Collect(name, separator, at))

    def _if(self, at: Place) -> If:
        branches = [self._branch()]
        while True:
            if self._ahead.kind == "name" and self._ahead.text in _ELSE_IF:
                self._take()
                branches.append(self._branch())
            elif not self._took("else"):
                return If(tuple(branches), (), at)
            elif self._took("if"):
                branches.append(self._branch())
            else:
                return If(tuple(branches), self._block(), at)

    def _branch(self) -> tuple[Expression, tuple[Statement, ...]]:
        self._expect("(")
        condition = self._condition()
        self._expect(")")
        return condition, self._block()

    def _call_subroutine(self, at: Place) -> CallSubroutine:
        return self._ended(CallSubroutine(self._name("a subroutine's name"), at))

    def _declare(self, at: Place) -> Declare:
        if not self._took("local"):
            raise self._surprise('"local"')
        name, kind = self._name("a local's name"), self._name("a type")
        if self._is("="):
            raise at.error("an initial value in a declaration is outside this stand-in's subset")
        return self._ended(Declare(name, kind, at))

    def _return(self, at: Place) -> Return:
        if self._took(";"):
            return Return(None, at)
        self._expect("(")
        state = self._name("a state")
        self._expect(")")
        return self._ended(Return(state, at))

    def _error(self, at: Place) -> Error:
        code = self._operand()
        return self._ended(Error(code, None if self._is(";") else self._value(), at))

    def _restart(self, at: Place) -> Restart:
        return self._ended(Restart(at))

    def _synthetic(self, at: Place) -> Synthetic:
        return self._ended(Synthetic(self._value(), at))

    def _ended(self, statement: S) -> S:
        self._expect(";")
        return statement

    # conditions

    def _condition(self) -> Expression:
        return self._logic("||", lambda: self._logic("&&", self._negation))

    def _logic(self, operator: str, operand: Callable[[], Expression]) -> Expression:
        at = self._ahead.at
        operands = [operand()]
        while self._took(operator):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else Logic(operator, tuple(operands), at)

    def _negation(self) -> Expression:
        at = self._ahead.at
        self._deeper(at)
        try:
            if self._took("!"):
                return Not(self._negation(), at)
            if self._took("("):
                inner = self._condition()
                self._expect(")")
                return inner
            left = self._operand()
            if self._ahead.kind == "symbol" and self._ahead.text in _COMPARISONS:
                return Comparison(self._take().text, left, self._operand(), at)
            return left
        finally:
            self._depth -= 1

    # values

    def _value(self) -> Expression:
        at = self._ahead.at
        if self._took("("):  # a condition in brackets is a BOOL, and may not be part of a concatenation
            inner = self._condition()
            self._expect(")")
            return inner
        parts = [self._operand()]
        while self._took("+") or self._begins_operand():
            parts.append(self._operand())
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts), at)

    def _begins_operand(self) -> bool:
        return self._ahead.kind not in {"symbol", "end"}

    def _operand(self) -> Expression:
        token = self._ahead
        if self._took("-"):
            number = self._operand()
            if not isinstance(number, Literal) or number.type not in {Type.INTEGER, Type.FLOAT, Type.RTIME}:
                raise token.at.error('"-" stands before numbers only')
            return Literal(number.type, -number.value, number.at)  # type: ignore[operator]  # a number, seen above
        if token.kind != "name":
            return self._literal()
        self._take()
        if token.text in {"true", "false"}:
            return Literal(Type.BOOL, token.text == "true", token.at)
        if not self._took("("):
            return Variable(token.text, token.at)
        self._deeper(token.at)
        call = self._choice(token.at) if token.text == "if" else Call(token.text, self._arguments(), token.at)
        self._depth -= 1
        return call

    def _choice(self, at: Place) -> Choice:
        condition = self._condition()
        self._expect(",")
        then = self._value()
        self._expect(",")
        otherwise = self._value()
        self._expect(")")
        return Choice(condition, then, otherwise, at)

    def _arguments(self) -> tuple[Expression, ...]:
        if self._took(")"):
            return ()
        arguments = [self._value()]
        while self._took(","):
            arguments.append(self._value())
        self._expect(")")
        return tuple(arguments)

    def _literal(self) -> Literal:
        token = self._ahead
        match token.kind:
            case "string":
                literal = Literal(Type.STRING, token.text, token.at)
            case "integer":
                if len(token.text) > _LONGEST_INTEGER:
                    raise token.at.error(f"{token.text[:24]}… does not fit into an INTEGER")
                literal = Literal(Type.INTEGER, int(token.text), token.at)
            case "float":
                literal = Literal(Type.FLOAT, float(token.text), token.at)
            case "rtime":
                number = token.text.rstrip("mshdwy")
                literal = Literal(Type.RTIME, float(number) * _SECONDS[token.text[len(number) :]], token.at)
            case _:
                raise self._surprise("a value")
        self._take()
        return literal
