"""The API's answers to calls that fail, in the recorded shapes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Problem(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, msg: str, detail: str = "", *, key: str = "detail") -> None:
        """`key` is the detail's name in the answer."""
        super().__init__(f"{status} {msg}: {detail}")
        self.status = status
        self.msg = msg
        self.detail = detail
        self.key = key


def missing(kind: str, by: Mapping[str, object]) -> Problem:
    """A 404 that names the record that is missing."""
    fields = ", ".join(f"{key} => {value}" for key, value in by.items())
    return Problem(404, "Record not found", f"Couldn't find {kind} '{{ {fields} }}'")


def duplicate(kind: str, name: str) -> Problem:
    """A 409: a record of this name exists already."""
    return Problem(409, "Duplicate record", f"Duplicate {kind}: '{name}'")


def body(problem: Problem) -> bytes:
    """The answer's body: JSON in which ">" is escaped, as the API does."""
    content = {"msg": problem.msg, problem.key: problem.detail} if problem.detail else {"msg": problem.msg}
    return json.dumps(content).replace(">", "\\u003e").encode()
