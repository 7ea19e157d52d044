"""The values that an environment gives its application: those in its file, in edgeguard's own environment, and in
private files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgeguard import settings as files
from edgeguard.errors import UsageError
from edgeguard.machine import process
from edgeguard.texts import decoded
from edgeguard.user import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.settings import ApplicationSettings, Value

LONGEST = 131_072
"""Bytes of NAME=value and the zero behind it: the kernel takes no longer text (MAX_ARG_STRLEN of execve(2))."""


def variables(settings: ApplicationSettings) -> dict[str, str]:
    """The values of `application.variables`, by their names.

    Raises:
        UsageError: a value is not where the file says, or others can read it. The message shows no value.
    """
    return _read(settings.variables, "application.variables")


def relationships(settings: ApplicationSettings) -> dict[str, str]:
    """The URLs of `application.relationships`, by their names. Raises UsageError, as `variables` does."""
    return _read(settings.relationships, "application.relationships")


def secrets(settings: ApplicationSettings) -> Iterator[str]:
    """The values that can be read here and now. Commands that need none of them hide those that they could print."""
    for table in (settings.variables, settings.relationships):
        for name, value in table.items():
            try:
                yield _value(value, name)
            except UsageError:
                continue


def source(value: Value) -> str:
    """Where a value comes from, in words that show nothing of it."""
    if isinstance(value, str):
        return "the environment's file"
    return f"the variable {value.from_env} of who deploys" if value.from_env is not None else f"the file {value.file}"


def _read(table: Mapping[str, Value], path: str) -> dict[str, str]:
    return {name: _value(value, f"{path}.{name}") for name, value in table.items()}


def _value(value: Value, named: str) -> str:
    if isinstance(value, str):
        return value
    if value.from_env is not None:
        return _of_this_process(value.from_env, named)
    if value.file is None:
        raise AssertionError("the settings refuse a value without a place")
    path = expanded(value.file, named)
    try:
        text = decoded(files.private(path, named, most=LONGEST))
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no text in UTF-8"
        raise UsageError(
            f"{named}: {path} can't be read: {why}", "Correct its path, or write the value there."
        ) from exc
    return text.removesuffix("\n").removesuffix("\r")


def _of_this_process(name: str, named: str) -> str:
    if process.is_ours(name):
        raise UsageError(f"{named}: {name} never goes to an application", "Name another variable in from_env.")
    value = os.environ.get(name)
    if value is None:
        raise UsageError(
            f"{named}: the variable {name} is not set here", "Set it where edgeguard is called, or correct from_env."
        )
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"{named}: the variable {name} is no text in UTF-8", "Encode it, as base64 for one.") from exc
    return value
