"""What the host program says, read as what a stranger says."""

from __future__ import annotations

from typing import Any

from edgeguard.cluster.host import strict_json
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.session import LONGEST


def read(line: bytes) -> tuple[int, Any, HostError | None]:
    """The id of an answer, what it says, and the error if it is one.

    Raises:
        HostError: the line is no answer.
    """
    try:
        said = strict_json.read_object(line, most=LONGEST)
    except strict_json.Fault as exc:
        raise broken(f"a line that is no answer ({exc})") from None
    number = said.get("id")
    if type(number) is not int or said.keys() not in ({"id", "answer"}, {"id", "error"}):
        raise broken("an answer of another shape")
    return number, said.get("answer"), error(said["error"]) if "error" in said else None


def error(said: object) -> HostError:
    """The error that is told so. Raises HostError (another one) if it is none."""
    if not isinstance(said, dict) or said.keys() != {"code", "message", "remedy"}:
        raise broken("an error of another shape")
    if not all(isinstance(word, str) for word in said.values()):
        raise broken("an error of another shape")
    return HostError(said["message"], said["remedy"], code=said["code"])


def broken(what: str) -> HostError:
    """The error about an answer that the host program does not give."""
    return HostError(
        f"it answered with {what}",
        "A login script may print in the background, or the host's Python is damaged; the connection was ended.",
    )
