"""The checks of expressions: unknown names, scopes, types, literals, patterns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from edgeguard.standin.vcl import language
from edgeguard.standin.vcl.language import VariableRule
from edgeguard.standin.vcl.regex import translate
from edgeguard.standin.vcl.syntax import (
    Call,
    Choice,
    Comparison,
    Concatenation,
    Expression,
    Literal,
    Logic,
    Not,
    Place,
    Type,
    Variable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.standin.vcl.language import Operands, Scopes

Locals = dict[str, Type]


@dataclass
class Problems:
    """Messages, in the order they were found."""

    messages: list[str] = field(default_factory=list)

    def add(self, at: Place, message: str) -> None:
        """Add a message."""
        self.messages.append(f"{at}: {message}")


def type_of(expression: Expression, local_types: Mapping[str, Type]) -> Type | None:
    """An expression's type; None for a name that is not known."""
    match expression:
        case Literal(type=kind):
            return kind
        case Variable(name=name):
            rule = language.variable(name)
            return rule.type if rule else local_types.get(name)
        case Call(function=name):
            return language.FUNCTIONS[name].result if name in language.FUNCTIONS else None
        case Concatenation():
            return Type.STRING
        case Choice(then=then):
            return type_of(then, local_types)
        case Not() | Logic() | Comparison():
            return Type.BOOL
        case _:
            assert_never(expression)


class Expressions:
    """The expressions of one subroutine, in the scopes that it can run in. `locals` are those declared so far."""

    def __init__(self, name: str, scopes: Scopes, tables: frozenset[str], problems: Problems) -> None:
        self.locals: Locals = {}
        self.problems = problems
        self._name = name
        self._scopes = scopes
        self._tables = tables

    def outside(self, where: Scopes) -> str:
        """The scopes of this subroutine in which something is not available, in words; "" if it is in all."""
        missing = [scope for scope in language.SUBROUTINES if scope in self._scopes - where]
        via = "" if self._name.startswith("vcl_") else f" (from which {self._name} is called)"
        return f"{', '.join(missing)}{via}" if missing else ""

    def read(self, name: str, at: Place) -> Type | None:
        """The type of a name that is read. None, and a problem is noted, if it can't be read here."""
        rule = self._known(name, at)
        if rule is None or name in self.locals:
            return self.locals.get(name)
        if outside := self.outside(rule.read):
            self.problems.add(at, f"{name} is not available in {outside}")
            return None
        return rule.type

    def target(self, name: str, at: Place) -> Type | None:
        """The type of a name that is set. None, and a problem is noted, if it can't be set here."""
        rule = self._known(name, at)
        if rule is None or name in self.locals:
            return self.locals.get(name)
        header = language.HEADER.fullmatch(name)
        if header and header[2].lower() in language.PROTECTED_HEADERS:
            self.problems.add(at, f"{name} is protected and can't be changed")
        elif not rule.set:
            self.problems.add(at, f"{name} is read-only")
        elif outside := self.outside(rule.set):
            self.problems.add(at, f"{name} can't be set in {outside}")
        else:
            return rule.type
        return None

    def _known(self, name: str, at: Place) -> VariableRule | None:
        if name in self.locals:
            return VariableRule(self.locals[name], language.ALL, language.ALL)
        rule = language.variable(name)
        if rule is not None:
            return rule
        if name.startswith("var."):
            what = f"is not declared before this line in {self._name}"
        elif name in self._tables:
            what = "is a table, not a value"
        else:
            what = "is not a variable that this stand-in knows"
        self.problems.add(at, f"{name} {what}")
        return None

    def taken(self, by: str, operands: Operands, value: Expression) -> None:
        """Check that a value may stand at a place. `by` says in words what takes it."""
        kind = self.type(value)
        if kind is None or kind in operands.anything:
            return
        if kind not in operands.not_literal:
            self.problems.add(value.at, f"{by} does not take a value of type {kind}")
        elif isinstance(value, Literal):
            hint = f"; write {value.value}s" if Type.RTIME in operands.anything else ""
            self.problems.add(value.at, f"{by} does not take the {kind} literal {value.value}{hint}")

    def text(self, by: str, value: Expression) -> None:
        """Check that a value may stand where a STRING is wanted."""
        self.taken(by, language.ASSIGNABLE[Type.STRING], value)

    def type(self, expression: Expression) -> Type | None:
        """An expression's type as a value. None, and problems are noted, if it has none."""
        match expression:
            case Literal():
                pass
            case Variable(name=name, at=at):
                return self.read(name, at)
            case Call():
                self._call(expression)
            case Concatenation(parts=parts):
                for part in parts:
                    self.text("concatenation", part)
            case Choice():
                return self._choice(expression)
            case Not() | Logic() | Comparison():
                self.condition(expression)
            case _:
                assert_never(expression)
        return type_of(expression, self.locals)

    def _choice(self, choice: Choice) -> Type | None:
        self.condition(choice.condition)
        kinds = [self.type(choice.then), self.type(choice.otherwise)]
        for value in (choice.then, choice.otherwise):
            if isinstance(value, Literal) and value.type in {Type.INTEGER, Type.FLOAT, Type.RTIME}:
                self.problems.add(value.at, f"if() does not take the {value.type} literal {value.value}")
        if None not in kinds and kinds[0] != kinds[1]:
            self.problems.add(choice.at, f"if() would be {kinds[0]} or {kinds[1]}")
        return kinds[0]

    def _call(self, call: Call) -> None:
        if call.function in language.TYPED_LOOKUPS:
            kind = language.TYPED_LOOKUPS[call.function]
            self.problems.add(
                call.at, f"{call.function} needs a table of type {kind}, and a dictionary is a table of type STRING"
            )
            return
        rule = language.FUNCTIONS.get(call.function)
        if rule is None:
            self.problems.add(call.at, f"{call.function} is not a function that this stand-in knows")
            return
        most = len(rule.parameters)
        if not most - rule.optional <= len(call.arguments) <= most:
            wanted = f"{most - rule.optional} or {most}" if rule.optional else str(most)
            self.problems.add(call.at, f"{call.function} takes {wanted} arguments, not {len(call.arguments)}")
            return
        for parameter, argument in zip(rule.parameters, call.arguments, strict=False):
            self._argument(call, parameter, argument)

    def _argument(self, call: Call, parameter: str, argument: Expression) -> None:
        if parameter == language.TABLE:
            if not isinstance(argument, Variable) or argument.name not in self._tables:
                named = argument.name if isinstance(argument, Variable) else "an expression"
                self.problems.add(call.at, f"{call.function}: {named} is not a table of this service")
        elif parameter == language.PATTERN:
            self._pattern(call.function, argument, call.at)
        elif parameter == Type.STRING:
            self.text(call.function, argument)
        else:
            kind = self.type(argument)
            if kind not in {parameter, None}:
                self.problems.add(call.at, f"{call.function} takes {parameter} there, not {kind}")

    def _pattern(self, what: str, pattern: Expression, at: Place) -> None:
        if not isinstance(pattern, Literal) or pattern.type is not Type.STRING:
            self.problems.add(at, f"{what} takes a literal pattern, not an expression")
            return
        try:
            translate(str(pattern.value))
        except ValueError as exc:
            self.problems.add(at, str(exc))

    def condition(self, condition: Expression) -> None:
        """Check that an expression may stand as a condition."""
        match condition:
            case Not(operand=operand):
                self.condition(operand)
            case Logic(operands=operands):
                for operand in operands:
                    self.condition(operand)
            case Comparison():
                self._comparison(condition)
            case Literal(type=kind, at=at) if kind is not Type.BOOL:
                self.problems.add(at, f"a {kind} literal can't be a condition")
            case _:
                found = self.type(condition)
                if found not in {Type.BOOL, Type.STRING, None}:
                    self.problems.add(condition.at, f"a condition is BOOL or STRING, not {found}")

    def _comparison(self, comparison: Comparison) -> None:
        operator, left, right = comparison.operator, comparison.left, comparison.right
        if isinstance(left, Literal):
            self.problems.add(comparison.at, f'a literal can\'t stand to the left of "{operator}"')
            return
        kind = self.type(left)
        if operator in {"~", "!~"}:
            if kind not in {Type.STRING, None}:
                self.problems.add(comparison.at, f'"{operator}" takes a STRING, not {kind}')
            self._pattern(f'"{operator}"', right, comparison.at)
            return
        other = self.type(right)
        if kind is None or other is None:
            return
        if operator in {"==", "!="}:
            if kind is not other:
                self.problems.add(comparison.at, f'"{operator}" can\'t compare {kind} with {other}')
        elif kind is Type.TIME:
            self.problems.add(comparison.at, f'"{operator}" can\'t compare TIME; use time.is_after')
        elif other not in language.ORDERED.get(kind, frozenset()):
            self.problems.add(comparison.at, f'"{operator}" can\'t compare {kind} with {other}')
