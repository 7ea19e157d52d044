"""The checks of Fastly's compiler: names, scopes, types, literals, states. They refuse what `language` lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from edgeguard.standin.vcl import language
from edgeguard.standin.vcl.callgraph import check_calls, scopes
from edgeguard.standin.vcl.expressions import Expressions, Problems
from edgeguard.standin.vcl.syntax import (
    Add,
    Block,
    CallSubroutine,
    Collect,
    Declare,
    Error,
    If,
    Literal,
    Place,
    Restart,
    Return,
    Set,
    Statement,
    Synthetic,
    Type,
    Unit,
    Unset,
    VclError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.standin.vcl.expressions import Locals


def check(unit: Unit) -> Mapping[str, Locals]:
    """Every subroutine's locals and their types, by the subroutine's name.

    Raises:
        VclError: with all problems, not only the first.
    """
    problems = Problems()
    tables = frozenset(table.name for table in unit.tables)
    _check_names(unit, problems)
    check_calls(unit, problems)
    scopes_of = scopes(unit)
    locals_of: dict[str, Locals] = {}
    for subroutine in unit.subroutines:
        expressions = Expressions(subroutine.name, scopes_of.get(subroutine.name, frozenset()), tables, problems)
        _Statements(subroutine.name, expressions).check(subroutine.body)
        locals_of[subroutine.name] = expressions.locals
    if problems.messages:
        raise VclError(problems.messages)
    return locals_of


def _check_names(unit: Unit, problems: Problems) -> None:
    seen: set[str] = set()
    for table in unit.tables:
        if table.name in seen:
            problems.add(table.at, f'table "{table.name}" is declared twice')
        seen.add(table.name)
    seen = set()
    reserved = {f"vcl_{name}" for name in language.SUBROUTINES}
    for subroutine in unit.subroutines:
        if subroutine.name in seen:
            problems.add(subroutine.at, f'subroutine "{subroutine.name}" is declared twice')
        elif subroutine.name not in reserved and subroutine.name.startswith(("vcl_", "fastly_")):
            problems.add(
                subroutine.at, f'subroutine "{subroutine.name}": names that begin with vcl_ or fastly_ are reserved'
            )
        elif "." in subroutine.name:
            problems.add(subroutine.at, f"\"{subroutine.name}\" can't be a subroutine's name")
        seen.add(subroutine.name)


class _Statements:
    """One subroutine's statements, in the scopes that it can run in."""

    def __init__(self, name: str, expressions: Expressions) -> None:
        self._name = name
        self._in = expressions
        self._problems = expressions.problems

    def check(self, body: tuple[Statement, ...]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, statement: Statement) -> None:  # noqa: C901, PLR0912  # one case per statement
        match statement:
            case Declare():
                self._declare(statement)
            case Set():
                self._set(statement)
            case Add(name=name, value=value, at=at):
                if self._header("add", name, at):
                    self._in.text(f"add {name}", value)
            case Collect(name=name, at=at):
                self._header("std.collect", name, at)
            case Unset(name=name, at=at):
                self._unset(name, at)
            case If(branches=branches, otherwise=otherwise):
                for condition, body in branches:
                    self._in.condition(condition)
                    self.check(body)
                self.check(otherwise)
            case Block(body=body):
                self.check(body)
            case CallSubroutine():
                pass  # checked with the call graph
            case Return():
                self._return(statement)
            case Error():
                self._error(statement)
            case Restart(at=at):
                self._allowed("restart", at)
            case Synthetic(value=value, at=at):
                self._allowed("synthetic", at)
                self._in.text("synthetic", value)
            case _:
                assert_never(statement)

    def _header(self, by: str, name: str, at: Place) -> bool:
        if language.HEADER.fullmatch(name) is None:
            self._problems.add(at, f"{by} works on headers, and {name} is none")
            return False
        self._in.target(name, at)
        return True

    def _allowed(self, word: str, at: Place) -> None:
        if outside := self._in.outside(language.STATEMENT_SCOPES[word]):
            self._problems.add(at, f"{word} is not allowed in {outside}")

    def _return(self, statement: Return) -> None:
        if statement.state is None:
            if self._name.startswith("vcl_"):
                self._problems.add(statement.at, f"{self._name} must return a state")
            return
        if statement.state not in {state for states in language.STATES.values() for state in states}:
            self._problems.add(statement.at, f'"{statement.state}" is not a state that this stand-in knows')
            return
        allowed = frozenset(scope for scope, states in language.STATES.items() if statement.state in states)
        if outside := self._in.outside(allowed):
            self._problems.add(statement.at, f"return({statement.state}) is not allowed in {outside}")

    def _declare(self, statement: Declare) -> None:
        name, kind = statement.name, statement.type
        if not name.startswith("var."):
            self._problems.add(statement.at, f"a local's name begins with var., and {name} does not")
        elif kind not in language.LOCAL_TYPES:
            known = ", ".join(sorted(language.LOCAL_TYPES))
            self._problems.add(statement.at, f"{kind} is not a type for locals that this stand-in knows ({known})")
        elif name in self._in.locals:
            self._problems.add(statement.at, f"{name} is declared twice in {self._name}")
        else:
            self._in.locals[name] = Type(kind)

    def _set(self, statement: Set) -> None:
        target = self._in.target(statement.name, statement.at)
        if target is None:
            self._in.type(statement.value)  # problems of the value are reported, too
            return
        if statement.operator == "=":
            operands = language.ASSIGNABLE.get(target)
        else:
            operands = language.ARITHMETIC.get((target, statement.operator))
        if operands is None:
            self._problems.add(statement.at, f'"{statement.operator}" does not go with {statement.name}, a {target}')
            return
        self._in.taken(f"{statement.name} {statement.operator} ({target})", operands, statement.value)

    def _unset(self, name: str, at: Place) -> None:
        if language.HEADER.fullmatch(name):
            self._in.target(name, at)
        else:
            self._problems.add(at, f"{name} can't be unset; headers can")

    def _error(self, statement: Error) -> None:
        self._allowed("error", statement.at)
        code = statement.code
        if self._in.type(code) not in {Type.INTEGER, None}:
            self._problems.add(statement.at, "an error's code is an INTEGER")
        elif isinstance(code, Literal) and not 100 <= int(code.value) <= 999:  # noqa: PLR2004  # a status has three digits
            self._problems.add(statement.at, f"{code.value} is no status code")
        if statement.text is not None:
            self._in.text("an error's text", statement.text)
