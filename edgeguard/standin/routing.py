"""What a route is: a method, a pattern of paths, and what it answers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeguard.standin.objects import KINDS
from edgeguard.standin.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.standin.control import Entry
    from edgeguard.standin.tokens import Token
    from edgeguard.standin.wire import Pairs, Received


@dataclass(frozen=True)
class Call:
    """A request, taken apart."""

    received: Received
    path: str
    query: dict[str, str]
    form: dict[str, str]
    entry: Entry
    token: Token

    @property
    def soft(self) -> bool:
        """Whether a purge is to be soft; the header's value does not matter."""
        return self.received.header("fastly-soft-purge") is not None

    def json(self) -> Any:  # noqa: ANN401 - JSON is of any type
        """The body as JSON. Raises Problem (400)."""
        try:
            return json.loads(self.received.body or b"{}")
        except ValueError:
            raise Problem(400, "Bad request", "The body is not JSON") from None


@dataclass(frozen=True)
class Reply:
    """A success. `limited`: a control-plane call, with its rate limit told when it writes."""

    content: object
    limited: bool = True
    headers: Pairs = field(default_factory=lambda: [("Content-Type", "application/json")])


OK = Reply({"status": "ok"})
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []


def route(method: str, pattern: str) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    """`{n}` is a version's number, `{kind}` one of KINDS, other words in braces one segment each."""
    expression = pattern.replace("{n}", r"(?P<n>[0-9]+)").replace("{kind}", rf"(?P<kind>{'|'.join(KINDS)})")
    expression = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", expression)

    def add(function: Callable[..., Reply]) -> Callable[..., Reply]:
        ROUTES.append((method, re.compile(expression), function))
        return function

    return add
