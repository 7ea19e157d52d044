"""What an act's arguments may be: a predicate for each kind."""

from __future__ import annotations

from typing import Callable

from edgeguard.cluster.host import generations


def whole(said: object) -> bool:
    """A whole number that JSON's readers agree about."""
    return type(said) is int and 0 <= said < 1 << 53


def seconds(said: object) -> bool:
    """A length of time."""
    return type(said) in (int, float) and 0 <= said < 10**10  # type: ignore[operator]  # NaN is not


def flag(said: object) -> bool:
    """Yes or no."""
    return isinstance(said, bool)


def text(said: object) -> bool:
    """A text that a system call takes."""
    return isinstance(said, str) and "\0" not in said


def name(said: object) -> bool:
    """The name of a generation, or of anything else that names a file."""
    return isinstance(said, str) and generations.NAME.fullmatch(said) is not None


def path(said: object) -> bool:
    """An absolute path."""
    return text(said) and str(said).startswith("/")


def paths(said: object) -> bool:
    """A list of absolute paths."""
    return isinstance(said, list) and all(map(path, said))


def an_object(said: object) -> bool:
    """A JSON object."""
    return isinstance(said, dict)


def texts(said: object) -> bool:
    """A JSON object of texts."""
    return isinstance(said, dict) and all(map(text, said.values())) and all(map(text, said))


def texts_by_name(said: object) -> bool:
    """A JSON object of lists of texts, by names."""
    if not isinstance(said, dict) or not all(map(name, said)):
        return False
    return all(isinstance(value, list) and all(map(text, value)) for value in said.values())


def names(said: object) -> bool:
    """A list of names."""
    return isinstance(said, list) and all(map(name, said))


def caller(said: object) -> bool:
    """[epoch, session, serial]: a caller over a connection has a session."""
    return isinstance(said, list) and len(said) == 3 and all(map(whole, said)) and said[1] > 0  # noqa: PLR2004


def perhaps(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    """That, or nothing."""
    return lambda said: said is None or fits(said)
