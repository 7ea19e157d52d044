"""The API's routes: each is a method, a pattern of paths, and the function that answers.

The functions are in the files `…_routes`, and `api` names them. A file of routes registers them when it is imported.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from edgeguard.standin.objects import KINDS
from edgeguard.standin.problems import Problem
from edgeguard.standin.unimitated import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.standin.account import Account
    from edgeguard.standin.controls import Entry
    from edgeguard.standin.tokens import Token
    from edgeguard.standin.wire import Pairs, Received


@dataclass(frozen=True)
class Call:
    """A request to the API, taken apart. `token` is the caller's, and may make this call."""

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
    """The answer to a call that succeeded. `limited`: the call counts towards the rate limit when it writes.

    With the status 204 there is no content.
    """

    content: object
    limited: bool = True
    status: int = 200
    headers: Pairs = field(default_factory=lambda: [("Content-Type", "application/json")])


OK = Reply({"status": "ok"})
_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []


def route(method: str, pattern: str) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    """Register a function `(account, call, **words)` for a method and a pattern of paths.

    In a pattern, `{n}` is a version's number, `{kind}` one of KINDS, and any other word in braces one segment.
    """
    expression = pattern.replace("{n}", r"(?P<n>[0-9]+)").replace("{kind}", rf"(?P<kind>{'|'.join(KINDS)})")
    expression = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", expression)

    def add(function: Callable[..., Reply]) -> Callable[..., Reply]:
        _ROUTES.append((method, re.compile(expression), function))
        return function

    return add


def dispatch(account: Account, call: Call) -> Reply:
    """Answer a call, on the service that its path names.

    Raises Problem: 404 where no route fits, or there is no such service, and 501 for what is not imitated.
    """
    for method, pattern, function in _ROUTES:
        if method == call.received.method and (found := pattern.fullmatch(call.path)):
            words = {name: unquote(value) for name, value in found.groupdict().items()}
            service = words.pop("service", None)
            return function(account if service is None else account.at(service), call, **words)
    refuse(call.path)
    raise Problem(404, "Not found")
