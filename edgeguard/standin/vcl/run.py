"""The checked tree as Python closures: compiled once per service version, run a few times per request."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from edgeguard.standin.vcl import language
from edgeguard.standin.vcl.expressions import type_of
from edgeguard.standin.vcl.functions import IMPLEMENTATIONS, clamped, text, time_text
from edgeguard.standin.vcl.regex import translate
from edgeguard.standin.vcl.request import Request
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
    Restart,
    Return,
    Set,
    Statement,
    Subroutine,
    Synthetic,
    Type,
    Unset,
    Variable,
)
from edgeguard.standin.vcl.variables import Frame, Get, getter, setter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.standin.vcl.expressions import Locals

Step = Callable[[Request, Frame], str | None]
"""A compiled statement. Returns the state that ends the subroutine, "" for `return` alone, None to go on."""
Body = Callable[[Request], str | None]
"""A compiled subroutine. Returns the state that its caller ends with, or None."""

_RETURNED = ""
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def build(subroutines: tuple[Subroutine, ...], locals_of: Mapping[str, Locals]) -> dict[str, Body]:
    """Compile each subroutine to a function, by its name. `check` has passed the tree before."""
    bodies: dict[str, Body] = {}
    for subroutine in subroutines:
        bodies[subroutine.name] = _Builder(locals_of[subroutine.name], bodies).body(subroutine)
    return bodies


class _Builder:
    """Compiles one subroutine. `bodies` is read when the code runs, since a called subroutine may be declared later."""

    def __init__(self, local_types: Locals, bodies: dict[str, Body]) -> None:
        self._locals = local_types
        self._bodies = bodies

    def body(self, subroutine: Subroutine) -> Body:
        run = self._block(subroutine.body)
        fresh = {name: language.ZERO[kind] for name, kind in self._locals.items()}

        def call(request: Request) -> str | None:
            return run(request, fresh.copy()) or None

        return call

    def _type(self, expression: Expression) -> Type:
        kind = type_of(expression, self._locals)
        if kind is None:
            raise TypeError(f"{expression} has not been checked")
        return kind

    # statements

    def _block(self, statements: tuple[Statement, ...]) -> Step:
        steps = tuple(self._statement(statement) for statement in statements if not isinstance(statement, Declare))

        def run(request: Request, frame: Frame) -> str | None:
            for step in steps:
                state = step(request, frame)
                if state is not None:
                    return state
            return None

        return run

    def _statement(self, statement: Statement) -> Step:  # noqa: C901, PLR0911, PLR0912  # one case per statement
        match statement:
            case Set():
                return self._set(statement)
            case Add(name=name, value=value):
                return self._add(name, self._string(value))
            case Unset(name=name):
                return self._unset(name)
            case Collect():
                return self._collect(statement)
            case If():
                return self._if(statement)
            case Block(body=body):
                return self._block(body)
            case CallSubroutine(name=name):
                bodies = self._bodies
                return lambda request, _: bodies[name](request)
            case Return(state=state):
                ends = _RETURNED if state is None else state
                return lambda _request, _frame: ends
            case Error():
                return self._error(statement)
            case Restart():
                return lambda _request, _frame: "restart"
            case Synthetic(value=value):
                return self._synthetic(self._string(value))
            case Declare():
                raise TypeError("a declaration is no step")
            case _:
                assert_never(statement)

    def _if(self, statement: If) -> Step:
        branches = tuple((self._condition(condition), self._block(body)) for condition, body in statement.branches)
        otherwise = self._block(statement.otherwise)

        def run(request: Request, frame: Frame) -> str | None:
            for condition, body in branches:
                if condition(request, frame):
                    return body(request, frame)
            return otherwise(request, frame)

        return run

    def _set(self, statement: Set) -> Step:
        put = setter(statement.name, self._locals)
        target = self._type(Variable(statement.name, statement.at))
        value = self._string(statement.value) if target is Type.STRING else self._number(statement.value, target)
        if statement.operator != "=":
            value = self._arithmetic(statement, target, value)

        def run(request: Request, frame: Frame) -> None:
            put(request, frame, value(request, frame))

        return run

    def _arithmetic(self, statement: Set, target: Type, value: Get) -> Get:
        get = getter(statement.name, self._locals)
        if target is Type.STRING:
            return lambda request, frame: (get(request, frame) or "") + (value(request, frame) or "")
        if target is Type.INTEGER:
            whole = _INTEGER_ARITHMETIC[statement.operator]
            return lambda request, frame: clamped(whole(get(request, frame), value(request, frame)))
        compute = _ARITHMETIC[statement.operator]
        return lambda request, frame: float(compute(get(request, frame), value(request, frame)))

    def _number(self, expression: Expression, target: Type) -> Get:
        """A value for a target that is not a STRING."""
        get = self._value(expression)
        if target is self._type(expression):
            return get
        convert = int if target is Type.INTEGER else float
        return lambda request, frame: convert(get(request, frame))

    def _add(self, name: str, value: Get) -> Step:
        collection, _, header = name.partition(".http.")

        def run(request: Request, frame: Frame) -> None:
            getattr(request, collection).add(header, value(request, frame) or "")

        return run

    def _collect(self, statement: Collect) -> Step:
        collection, _, header = statement.name.partition(".http.")
        between = f"{statement.separator} "  # Fastly: reference/vcl/functions/miscellaneous/std-collect

        def run(request: Request, _frame: Frame) -> None:
            headers = getattr(request, collection)
            values = headers.get_all(header)
            if len(values) > 1:
                headers.set(header, between.join(values))

        return run

    def _unset(self, name: str) -> Step:
        collection, _, header = name.partition(".http.")

        def run(request: Request, _frame: Frame) -> None:
            getattr(request, collection).remove(header)

        return run

    def _error(self, statement: Error) -> Step:
        code = self._value(statement.code)
        words = (lambda _request, _frame: "") if statement.text is None else self._string(statement.text)

        def run(request: Request, frame: Frame) -> str:
            request.error = (code(request, frame), words(request, frame) or "")
            return "error"

        return run

    def _synthetic(self, value: Get) -> Step:
        def run(request: Request, frame: Frame) -> None:
            request.body = value(request, frame) or ""

        return run

    # expressions

    def _value(self, expression: Expression) -> Get:
        """An expression's value, of its own type."""
        match expression:
            case Literal(value=value):
                return lambda _request, _frame: value
            case Variable(name=name):
                return getter(name, self._locals)
            case Call():
                return self._call(expression)
            case Concatenation(parts=parts):
                return self._concatenation(parts)
            case Choice(condition=condition, then=then, otherwise=otherwise):
                decide, yes, no = self._condition(condition), self._value(then), self._value(otherwise)
                return lambda request, frame: yes(request, frame) if decide(request, frame) else no(request, frame)
            case Not() | Logic() | Comparison():
                return self._condition(expression)
            case _:
                assert_never(expression)

    def _string(self, expression: Expression) -> Get:
        """An expression's value as STRING; None where it is not set."""
        get = self._value(expression)
        kind = self._type(expression)
        if kind in {Type.STRING, Type.IP}:
            return get
        render = time_text if kind is Type.TIME else text
        return lambda request, frame: render(get(request, frame))

    def _concatenation(self, parts: tuple[Expression, ...]) -> Get:
        gets = tuple(self._string(part) for part in parts)

        def join(request: Request, frame: Frame) -> str:
            nothing = "" if request.semantics.not_set_is_empty_in_concatenation else "(null)"
            values = [get(request, frame) for get in gets]
            return "".join(nothing if value is None else value for value in values)

        return join

    def _call(self, call: Call) -> Get:
        function = IMPLEMENTATIONS[call.function]
        parameters = language.FUNCTIONS[call.function].parameters
        gets = tuple(
            self._argument(parameter, argument) for parameter, argument in zip(parameters, call.arguments, strict=False)
        )
        return lambda request, frame: function(request.semantics, *[get(request, frame) for get in gets])

    def _argument(self, parameter: str, argument: Expression) -> Get:
        if parameter == language.TABLE and isinstance(argument, Variable):
            name = argument.name
            return lambda request, _: request.tables.get(name, {})
        if parameter == Type.STRING:
            return self._string(argument)
        return self._value(argument)

    # conditions

    def _condition(self, expression: Expression) -> Get:
        """An expression as true or false: a STRING is true when it is set, "" too."""
        match expression:
            case Not(operand=operand):
                inner = self._condition(operand)
                return lambda request, frame: not inner(request, frame)
            case Logic(operator=word, operands=operands):
                conditions = tuple(self._condition(operand) for operand in operands)
                if word == "&&":
                    return lambda request, frame: all(condition(request, frame) for condition in conditions)
                return lambda request, frame: any(condition(request, frame) for condition in conditions)
            case Comparison():
                return self._comparison(expression)
            case _:
                get = self._value(expression)
                if self._type(expression) is Type.BOOL:
                    return get
                return lambda request, frame: get(request, frame) is not None

    def _comparison(self, comparison: Comparison) -> Get:
        left = self._value(comparison.left)
        if comparison.operator in {"~", "!~"} and isinstance(comparison.right, Literal):
            return _match(left, str(comparison.right.value), negated=comparison.operator == "!~")
        right, compare = self._value(comparison.right), _ORDER[comparison.operator]
        return lambda request, frame: compare(left(request, frame), right(request, frame))


def _match(get: Get, pattern: str, *, negated: bool) -> Get:
    search = translate(pattern).search

    def match(request: Request, frame: Frame) -> bool:
        value = get(request, frame)
        if value is None and request.semantics.not_set_is_empty_in_match:
            value = ""
        found = None if value is None else search(value)
        if found is not None:
            request.groups = (found[0], *found.groups())
        elif request.semantics.failed_match_unsets_groups:
            request.groups = ()
        return (found is None) is negated

    return match


def _divided(left: float, right: float) -> float:
    return left / right if right else 0.0  # (Fastly sets fastly.error)


def _quotient(left: int, right: int) -> int:
    """A quotient, rounded towards zero as in C."""
    if right == 0:
        return 0
    return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)


def _remainder(left: int, right: int) -> int:
    return left - right * _quotient(left, right) if right else 0


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.add,
    "-=": operator.sub,
    "*=": operator.mul,
    "/=": _divided,
}
_INTEGER_ARITHMETIC = _ARITHMETIC | {"/=": _quotient, "%=": _remainder}
