"""A server's generations: folders with all that a deploy makes current by one rename, ready before the close.

In each folder: `image` is a link to the frozen image; `variables.json` has the variables; `generation.json` has
{"release", "cwd", "start", "hooks", "folders", "socket", "user", "tasks", "timezone", "users"}; `home` is HOME of the
processes (homes.py), and `web` has their socket (sockets.py). `current` is a link to one of these folders.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import files, logins, manifest, reserve
from edgeguard.cluster.host.errors import DAMAGED, NOT_STAGED, HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What can name a generation: it names a folder."""


@dataclass(frozen=True)
class Task:
    """What runs in the background: a worker, all the time, or (with `schedule`) a cron, at its moments.

    `id` is `worker-NAME` or `cron-NAME`. `start` and `stop` are argument vectors; `stop` asks a run to end (None: it
    gets SIGTERM). `variables` go before those of the generation, and are no secrets. The `schedule` of a cron is five
    fields (schedule.py), in which `H` depends on the text `hashed`; a run of it lasts `limit` seconds at most.
    """

    id: str
    start: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    schedule: str | None = None
    hashed: str = ""
    stop: tuple[str, ...] | None = None
    limit: float | None = None

    @property
    def kind(self) -> str:
        """`worker` or `cron`."""
        return self.id.partition("-")[0]

    @property
    def name(self) -> str:
        """Its name in the application's file."""
        return self.id.partition("-")[2]

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Task:
        """The reverse of `asdict`. Raises KeyError, TypeError."""
        stop = said["stop"]
        return cls(**{**said, "start": tuple(said["start"]), "stop": None if stop is None else tuple(stop)})


@dataclass(frozen=True)
class Runs:
    """What a generation starts. Each command is an argument vector; no shell reads it again.

    `folder` is where the commands run, an absolute path inside the image. `start` is the web process, which listens on
    127.0.0.1:$PORT; with `socket`, it listens on the unix socket $SOCKET and has no PORT. `hooks` has the commands of
    those hooks, of `deploy` and `post_deploy`, that the application defines. `folders` are the server's own folders,
    which outlive releases (mounts): they exist before anything starts. `user` is the name of the user of the servers as
    whom the commands run; None: edgeguard's own. `tasks` run in the background, while the cluster is open; `timezone`
    is the one of their schedules (None: UTC).
    """

    folder: Path
    start: tuple[str, ...]
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    socket: bool = False
    user: str | None = None
    tasks: tuple[Task, ...] = ()
    timezone: str | None = None


@dataclass(frozen=True)
class User:
    """A person who may log in on the servers: a name, public SSH keys (a line each, without options), and a role."""

    name: str
    keys: tuple[str, ...]
    role: str


@dataclass(frozen=True)
class Generation:
    """All that a deploy makes current by one rename: an image, what it starts, its variables and its users.

    `name` is the id of the deploy that staged it. `release` is the digest of the image's content. `image` is the
    absolute path of the frozen image, the same on every server. `variables` are the environment variables that are the
    same on every server; their values are secrets: never print them, never put them into an argument vector.

    `copy_of` names an earlier generation that every server has, with the same image and users. Then `variables` is
    empty here: each server copies those of the earlier generation, so that their values never travel.
    """

    name: str
    release: str
    image: Path
    runs: Runs
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    users: tuple[User, ...] = ()
    copy_of: str | None = None

    def has_hook(self, hook: str) -> bool:
        """Whether the application defines this hook, `deploy` or `post_deploy`."""
        return hook in self.runs.hooks


def find(server: Path, name: str) -> Generation | None:
    """The generation of this name on a server, without its variables; None where it isn't staged.

    Raises:
        HostError: its file is damaged.
    """
    folder = server / "generations" / name
    said = files.read(folder / "generation.json")
    if said is None:
        return None
    try:
        return described(name, (folder / "image").readlink(), said)
    except (KeyError, TypeError, AttributeError, OSError) as exc:
        raise HostError(
            f"{folder} is damaged: {type(exc).__name__}", "Deploy again; the new generation is whole.", code=DAMAGED
        ) from exc


def described(name: str, image: Path, said: Mapping[str, Any]) -> Generation:
    """The generation that `description` described so.

    Raises:
        KeyError, TypeError, AttributeError: no `description` said that.
    """
    return Generation(
        name=name,
        release=str(said["release"]),
        image=image,
        runs=Runs(
            folder=Path(said["cwd"]),
            start=tuple(said["start"]),
            hooks={hook: tuple(argv) for hook, argv in said["hooks"].items()},
            folders=tuple(map(Path, said.get("folders", ()))),
            socket=bool(said.get("socket")),
            user=_text(said.get("user")),
            tasks=tuple(map(Task.from_json, said.get("tasks", ()))),
            timezone=_text(said.get("timezone")),
        ),
        users=tuple(User(user["name"], tuple(user["keys"]), user["role"]) for user in said.get("users", ())),
    )


def description(generation: Generation) -> dict[str, Any]:
    """All of a generation but its name, its image, its variables and `copy_of`, as JSON has it."""
    said: dict[str, Any] = {
        "release": generation.release,
        "cwd": str(generation.runs.folder),
        "start": list(generation.runs.start),
        "hooks": {hook: list(argv) for hook, argv in generation.runs.hooks.items()},
        "folders": [str(folder) for folder in generation.runs.folders],
    }
    if generation.runs.socket:
        said["socket"] = True
    if generation.runs.user is not None:
        said["user"] = generation.runs.user
    if generation.runs.tasks:
        said["tasks"] = [_without_tuples(asdict(task)) for task in generation.runs.tasks]
    if generation.runs.timezone is not None:
        said["timezone"] = generation.runs.timezone
    if generation.users:
        said["users"] = [{**asdict(user), "keys": list(user.keys)} for user in generation.users]
    return said


def read(server: Path, name: str) -> Generation:
    """As `find`. Raises HostError (NOT_STAGED) where the generation isn't there."""
    found = find(server, name)
    if found is None:
        raise HostError(
            f"{name} is not on this server: it was never staged, or was pruned", "Deploy again.", code=NOT_STAGED
        )
    return found


def variables(server: Path, name: str) -> Mapping[str, str]:
    """The environment of a generation's processes, but for what differs between servers. Secret."""
    return files.read(server / "generations" / name / "variables.json") or {}


def current(server: Path) -> str | None:
    """The name of the generation that is current on a server."""
    try:
        return (server / "current").readlink().name
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise HostError(f"{server / 'current'} is not a link", "Something else put it there; move it away.") from exc


def put(server: Path, generation: Generation, *, program: Path | None = None) -> None:
    """Write a generation beside the others, whole or not at all. If the same one is there already, nothing happens.

    `program` is the archive that starts its processes, where their server's system does that (see web.py). Then its
    users may log in while it is current; those of a copy are the ones who may log in with the earlier generation.
    The server's reserve is made whole first, but for a copy: a rollback is one, and has to work on a full disk.

    Raises:
        HostError: its name can't name a folder, or it is current and has another content; or it is a copy of a
            generation that is not there (NOT_STAGED).
    """
    if not NAME.fullmatch(generation.name):
        raise HostError(f"{generation.name!r} can't name a generation", "Use letters, digits, - and _.")
    if generation.copy_of is None:
        reserve.keep(server)
    else:
        earlier = read(server, generation.copy_of)
        generation = replace(generation, variables=variables(server, earlier.name))
    folder = server / "generations" / generation.name
    said = description(generation)
    if files.read(folder / "generation.json") == said and variables(server, generation.name) == generation.variables:
        return
    if current(server) == generation.name:
        raise HostError(
            f"{generation.name} is current and can't be staged again with another content",
            "Stage it under another name.",
        )
    reserve.despite_full_disk(folder, lambda: _write(server, generation, said, program))


def _write(server: Path, generation: Generation, said: dict[str, Any], program: Path | None) -> None:
    """Write a generation, in place of what there is of it."""
    folder = server / "generations" / generation.name
    fresh = folder.with_name(f".{generation.name}.tmp")
    for old in (fresh, folder):
        manifest.remove(old)
    fresh.mkdir(parents=True)
    if generation.runs.user is not None:  # its HOME, its socket and its image are behind these
        for place in (server, folder.parent, fresh):
            files.let_pass(place)
    (fresh / "image").symlink_to(generation.image)
    if program is not None:
        (fresh / "program").symlink_to(program)
        copied = server / "generations" / str(generation.copy_of)
        people = {user.name: user.keys for user in generation.users}
        logins.write(fresh, logins.read(copied) if copied.is_dir() else logins.keys(server, people))
    files.write(fresh / "variables.json", generation.variables)
    files.write(fresh / "generation.json", said)
    fresh.rename(folder)
    files.sync(folder.parent)


def _text(said: object) -> str | None:
    if said is not None and not isinstance(said, str):
        raise TypeError("this is no text")
    return said


def _without_tuples(content: dict[str, Any]) -> dict[str, Any]:
    """The content as JSON gives it back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}


def prepare_link(server: Path, name: str) -> None:
    """Make the link that `make_current` renames. Raises HostError where something is in its way."""
    fresh = server / "current.next"
    try:
        if fresh.is_symlink():
            fresh.unlink()
        reserve.despite_full_disk(fresh, lambda: fresh.symlink_to(f"generations/{name}"))
    except OSError as exc:
        raise HostError(f"{fresh} can't be made: {exc.strerror}", f"Move away what is at {fresh}.") from exc


def make_current(server: Path, name: str | None) -> None:
    """Make the generation current whose link `prepare_link` made, by a rename; or (None) none. Durable."""
    try:
        if name is None:
            (server / "current").unlink(missing_ok=True)
        else:
            (server / "current.next").replace(server / "current")
        files.sync(server)
    except OSError as exc:
        raise HostError(
            f"{server / 'current'} can't be changed: {exc.strerror}", f"Move away what is at {server / 'current'}."
        ) from exc


def names(server: Path) -> list[str]:
    """Every generation that is staged on a server."""
    folder = server / "generations"
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def remove(server: Path, name: str) -> None:
    """Remove a generation. A generation that is half removed is none any more."""
    folder = server / "generations" / name
    gone = folder.with_name(f".{name}.gone")
    manifest.remove(gone)
    folder.rename(gone)
    manifest.remove(gone)
