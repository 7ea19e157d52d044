"""The application as its file describes it (application_file.py), and how its commands are run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# For `sh`, a byte order mark would be part of the first command's name.
_READ_ENVIRONMENT = r"""if [ -f ./.environment ]; then
if (IFS= read -r line <./.environment; case $line in "$(printf '\357\273\277')"*) ;; *) exit 1 ;; esac); then
. /dev/stdin <<END
$(tail -c +4 ./.environment)
END
else . ./.environment; fi; fi
"""


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("name", "type", "start", "root", "flavor"), str),
    **dict.fromkeys(("pre_start", "post_start"), str | None),
    "socket": bool,
    "timezone": str | None,
    **dict.fromkeys(("dependencies", "hooks", "mounts", "environment", "variables", "workers", "crons"), dict),
    **dict.fromkeys(("relationships", "warnings"), list),
}


LONGEST_RUN = 86_400
"""Seconds for which a run of a cron lasts at most, where its file says nothing (Upsun: image-properties/crons)."""


@dataclass(frozen=True)
class Worker:
    """A command that runs all the time beside the web process. `environment` goes before the application's own.

    `stop` is the command that asks it to end; None: it gets SIGTERM.
    """

    start: str
    pre_start: str | None = None
    post_start: str | None = None
    stop: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def launch(self) -> str:
        """As Application.launch."""
        return _launch(self.pre_start, self.start, self.post_start)


@dataclass(frozen=True)
class Cron:
    """A command that is started at the moments of `schedule` (five fields), and ended after `limit` seconds.

    `stop` is the command that asks a run to end; None: it gets SIGTERM.
    """

    schedule: str
    start: str
    stop: str | None = None
    limit: int = LONGEST_RUN


@dataclass(frozen=True)
class Application:
    """The application's file, checked.

    `root` is the application's folder in the tree ("" is the tree's own root). `mounts` maps a folder below `root` to
    its place in the environment's store of mounts. `environment` is `variables.env`; `variables` has all others, named
    `prefix:name`. `hooks` has only the hooks that the file defines. With `socket`, the web process listens on a unix
    socket. `timezone` is the one in which the schedules of `crons` are meant; None: UTC.
    """

    name: str
    type: str
    start: str
    pre_start: str | None = None
    post_start: str | None = None
    socket: bool = False
    root: str = ""
    flavor: str = "default"
    dependencies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hooks: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    workers: Mapping[str, Worker] = field(default_factory=dict)
    crons: Mapping[str, Cron] = field(default_factory=dict)
    timezone: str | None = None
    relationships: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def language(self) -> str:
        """The type without its version: `python` of `python:3.12`."""
        return self.type.partition(":")[0]

    @property
    def launch(self) -> str:
        """The command that runs a server: `pre_start`, and if it succeeded `start`, with `post_start` beside it."""
        return _launch(self.pre_start, self.start, self.post_start)

    def folder(self, image: Path) -> Path:
        """The application's root in an image: where its commands run."""
        return image / "app" / self.root

    def to_json(self) -> dict[str, Any]:
        """The application as JSON can hold it; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Application:
        """The reverse of `to_json`. Raises KeyError and TypeError where no `to_json` made it."""
        if strange := [
            name for name, kind in _KINDS.items() if name in content and not isinstance(content[name], kind)
        ]:
            raise TypeError(f"{strange[0]} is none")
        for name in ("hooks", "mounts", "environment", "relationships", "warnings"):
            values = content[name].values() if isinstance(content[name], dict) else content[name]
            if not all(isinstance(value, str) for value in values):
                raise TypeError(f"{name} has a value that is no text")
        sequences = {name: tuple(content[name]) for name in ("relationships", "warnings")}
        tasks = {
            "workers": {name: Worker(**said) for name, said in content["workers"].items()},
            "crons": {name: Cron(**said) for name, said in content["crons"].items()},
        }
        return cls(**{**content, **sequences, **tasks})


def _launch(pre_start: str | None, start: str, post_start: str | None) -> str:
    """Both of the others have a shell of their own: what they set, or their `exit`, is nothing to `start`."""
    before = "" if pre_start is None else f"(\n{pre_start}\n) || exit\n"
    beside = "" if post_start is None else f"(\n{post_start}\n) &\n"
    return before + beside + start


def shell(command: str) -> list[str]:
    """The argv that runs a command of the application in `sh`. Its `.environment`, if it has one, is read before.

    The working directory must be the application's root. `sh` stays the parent of the command, so signals have to go
    to the process group.
    """
    return ["sh", "-c", f"{_READ_ENVIRONMENT}{command}"]
