"""The statements that a version of a service runs, in the order in which they run, each with its place. Pure.

Only what can run counts: an include is followed, a subroutine is followed where it is called, and a snippet is where
its macro is. Conditions are not judged: what stands in a branch can run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeguard.edge.fastly import own, policy
from edgeguard.edge.fastly.vcl import MACRO, Statement, statements, subroutine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeguard.edge.fastly.policy import Snippet
    from edgeguard.edge.fastly.rows import Rows

SUBROUTINES = ("recv", "hash", "hit", "miss", "pass", "fetch", "error", "deliver", "log")


@dataclass(frozen=True)
class Step:
    """A statement in one of Fastly's subroutines (`kind`: recv, hash, …), or the place of one of the policy's snippets.

    `where` is its place in words; it is empty for the policy's. `priority` is that of the snippet it is in, if any.
    """

    kind: str
    statement: Statement
    where: str = ""
    priority: int | None = None

    @property
    def ours(self) -> bool:
        """Whether this is the place of one of the policy's snippets. Its name is the statement's only word."""
        return not self.where


@dataclass(frozen=True)
class _Text:
    where: str
    body: tuple[Statement, ...]
    priority: int | None = None


def steps(version: Rows, wanted: Sequence[Snippet] = ()) -> tuple[Step, ...]:
    """Everything that runs of the service's own VCL, but Fastly's own statements.

    The policy's snippets that are installed are left out. Those of `wanted` are in their places.
    """
    found = _Running(version, wanted, own.statements_of(version.serve_stale))
    return tuple(step for kind in SUBROUTINES for step in found.steps(kind))


def generated(version: Rows) -> tuple[Step, ...]:
    """Everything that runs of the whole VCL that Fastly generates, but Fastly's own statements and the policy's.

    It has everybody's snippets, and the statements that Fastly makes of a service's settings.
    """
    whole = replace(version, snippets=(), files=({"name": "", "content": version.generated, "main": True},))
    fastlys = own.statements_of(version.serve_stale)
    ours = frozenset(one for row in version.snippets if _ours(row) for one in statements(str(row.get("content"))))
    found = _Running(whole, (), {kind: fastlys.get(kind, frozenset()) | ours for kind in SUBROUTINES})
    return tuple(step for kind in SUBROUTINES for step in found.steps(kind))


def ends_with(words: Sequence[str], state: str) -> bool:
    """Whether a statement ends its subroutine with this state: `return(state)`, or `restart` alone."""
    whole = tuple(words)
    return whole in {("return", "(", state, ")"), ("return", state)} or (state == "restart" == "".join(whole[-1:]))


class _Running:
    """The texts of a service, and how they lead to each other."""

    def __init__(self, version: Rows, wanted: Sequence[Snippet], left_out: Mapping[str, frozenset[Statement]]) -> None:
        """`left_out` has the statements that are passed over at the top of each of Fastly's subroutines."""
        self._left_out = left_out
        self._wanted = wanted
        self._snippets = [row for row in version.snippets if not _ours(row)]
        self._files = {str(row["name"]): row for row in version.files}
        self._subroutines: dict[str, list[_Text]] = {}
        mains = [row for row in version.files if row.get("main")]
        self._custom = bool(mains)
        for row in mains:
            self._declare(_file(row), frozenset({str(row["name"])}))
        for row in self._snippets:
            if row["type"] == "init":
                self._declare(_of_snippet(row), frozenset())

    def steps(self, kind: str) -> Iterator[Step]:
        """Everything that runs in one of Fastly's subroutines. A macro is a step, too, before its snippets."""
        if not self._custom:
            yield from self._macro(kind, frozenset())
        for text in self._subroutines.get(f"vcl_{kind}", ()):
            yield from self._block(kind, text, text.body, frozenset(), top=True)

    def _declare(self, text: _Text, included: frozenset[str]) -> None:
        """Keep the subroutines of a text, and those of the texts that it includes."""
        for statement in text.body:
            name = subroutine(statement)
            if name is not None:
                self._subroutines.setdefault(name, []).append(_Text(text.where, statement.block or ()))
            elif (inner := self._included(statement, included)) is not None:
                self._declare(inner, included | {_name(statement)})

    def _block(
        self, kind: str, text: _Text, body: tuple[Statement, ...], inside: frozenset[str], *, top: bool = False
    ) -> Iterator[Step]:
        """The steps of a block. `inside` has the subroutines and includes that it is in: nothing is followed twice."""
        for statement in body:
            if top and statement in self._left_out.get(kind, ()):
                continue
            first = statement.words[0] if statement.words else ""
            yield Step(kind, statement, text.where, text.priority)
            if first == MACRO and statement.words[1] == kind:
                yield from self._macro(kind, inside)
            elif first == "call" and _name(statement) not in inside:
                for called in self._subroutines.get(_name(statement), ()):
                    within = _Text(called.where, called.body, text.priority)
                    yield from self._block(kind, within, within.body, inside | {_name(statement)})
            elif (inner := self._included(statement, inside)) is not None:
                within = _Text(inner.where, inner.body, text.priority)
                yield from self._block(kind, within, within.body, inside | {_name(statement)})
            if statement.block:
                yield from self._block(kind, text, statement.block, inside)

    def _macro(self, kind: str, inside: frozenset[str]) -> Iterator[Step]:
        """The snippets of a macro: by priority, and then by name."""
        theirs = [(int(row["priority"]), str(row["name"]), row) for row in self._snippets if row["type"] == kind]
        ours = [(one.priority, one.name, None) for one in self._wanted if one.type == kind]
        for priority, name, row in sorted([*theirs, *ours], key=lambda found: found[:2]):
            if row is None:
                yield Step(kind, Statement((name,)), priority=priority)
            else:
                text = _of_snippet(row)
                yield from self._block(kind, text, text.body, inside)

    def _included(self, statement: Statement, inside: frozenset[str]) -> _Text | None:
        """The text that an include stands for; None for any other statement, and for a text that nobody has."""
        name = _name(statement)
        if statement.words[:1] != ("include",) or name in inside:
            return None
        kind, _, snippet = name.partition("::")
        if kind == "snippet" and snippet:
            return next((_of_snippet(row) for row in self._snippets if row["name"] == snippet), None)
        found = self._files.get(name) or self._files.get(name.removesuffix(".vcl"))
        return None if found is None else _file(found)


def _name(statement: Statement) -> str:
    """The name that a call or an include has."""
    return statement.words[1].strip('"') if len(statement.words) > 1 else ""


def _file(row: Mapping[str, Any]) -> _Text:
    where = f"the VCL file {row['name']!r}" if row["name"] else "the generated VCL"
    return _Text(where, statements(str(row.get("content") or "")))


def _of_snippet(row: Mapping[str, Any]) -> _Text:
    kind = "" if row["type"] == "none" else f"{row['type']} "
    content = statements(str(row.get("content") or ""))
    return _Text(f"the {kind}snippet {row['name']!r}", content, int(row["priority"]))


def _ours(row: Mapping[str, Any]) -> bool:
    return str(row["name"]).startswith(policy.NAME_PREFIX)
