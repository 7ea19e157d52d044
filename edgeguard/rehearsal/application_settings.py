"""What a rehearsal is told of somebody's application beside its repository: which one it is, where its services are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeguard import settings, texts
from edgeguard.errors import UsageError
from edgeguard.settings import ApplicationSettings

_OWN = {"repository": "", "branch": ""}  # a rehearsal chooses these itself


def read(file: Path) -> dict[str, Any]:
    """The table [application] of this file. It has no other: a real environment's file is never meant here, since the
    hooks of a rehearsal would write to its databases.

    Raises:
        UsageError: the file is missing or can't be used.
    """
    try:
        content = texts.toml(file)
    except (OSError, ValueError) as exc:
        raise UsageError(f"{file} can't be read: {exc}", "Name a TOML file with a table [application].") from exc
    table = content.get("application")
    if content.keys() != {"application"} or not isinstance(table, dict) or table.keys() & _OWN.keys():
        raise UsageError(
            f"{file} is not about the application of a rehearsal alone",
            "Give it the table [application] and no other, without repository and branch, and with databases that may "
            "be written to.",
        )
    try:
        ApplicationSettings.model_validate({**_OWN, **table})
    except ValidationError as exc:
        raise UsageError(f"{file}: {settings.explain(exc)}", "Correct the file.") from exc
    for key in ("variables", "relationships"):
        for name, value in table.get(key, {}).items():
            if isinstance(value, dict) and "file" in value:
                table[key][name] = {"file": str(file.absolute().parent / Path(value["file"]).expanduser())}
    return table
