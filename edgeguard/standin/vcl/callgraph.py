"""The call graph: each subroutine of Fastly's reaches others, which can then run in its scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.standin.vcl import language
from edgeguard.standin.vcl.syntax import Block, CallSubroutine, If

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.standin.vcl.expressions import Problems
    from edgeguard.standin.vcl.language import Scopes
    from edgeguard.standin.vcl.syntax import Statement, Subroutine, Unit


def scopes(unit: Unit) -> dict[str, Scopes]:
    """The scopes of each subroutine: the subroutines of Fastly's in which it can run. A custom one has its callers'.

    A subroutine that nothing calls is not in the answer.
    """
    by_name = {subroutine.name: subroutine for subroutine in unit.subroutines}
    found: dict[str, Scopes] = {}
    for scope in language.SUBROUTINES:
        for name in _reached(by_name, f"vcl_{scope}"):
            found[name] = found.get(name, frozenset()) | {scope}
    return found


def check_calls(unit: Unit, problems: Problems) -> None:
    """Check every call: its target is declared, is not one of Fastly's subroutines, and does not lead back here."""
    by_name = {subroutine.name: subroutine for subroutine in unit.subroutines}
    for subroutine in unit.subroutines:
        for call in _calls(subroutine.body):
            if call.name.startswith("vcl_"):
                problems.add(call.at, f'"{call.name}" is Fastly\'s to call')
            elif call.name not in by_name:
                problems.add(call.at, f'subroutine "{call.name}" is not declared')
            elif subroutine.name in _reached(by_name, call.name):
                problems.add(call.at, f'calling "{call.name}" here is a recursion')


def _reached(by_name: Mapping[str, Subroutine], start: str) -> set[str]:
    """The declared subroutines that run when `start` is called, itself among them."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name in by_name and name not in seen:
            seen.add(name)
            ahead += [call.name for call in _calls(by_name[name].body)]
    return seen


def _calls(statements: tuple[Statement, ...]) -> Iterator[CallSubroutine]:
    for statement in statements:
        match statement:
            case CallSubroutine():
                yield statement
            case Block(body=body):
                yield from _calls(body)
            case If(branches=branches, otherwise=otherwise):
                for _, body in branches:
                    yield from _calls(body)
                yield from _calls(otherwise)
