"""What a caller over a connection may ask of this server."""

from __future__ import annotations

import base64
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeguard.cluster.host import (
    compiled,
    fence,
    files,
    generations,
    homes,
    hooks,
    images,
    processes,
    receive,
    takes,
    trial,
)
from edgeguard.cluster.host.errors import FENCED, UNKNOWN_ACT, HostError
from edgeguard.cluster.host.fence import Caller
from edgeguard.cluster.host.session import Act


def greet(_folder: Path) -> dict[str, Any]:
    """What this server is: its Python, the user, its clock (Unix seconds), its boot, and the room on its disk."""
    room = os.statvfs(_folder if _folder.exists() else "/")
    return {
        "python": platform.python_version(),
        "user": os.geteuid(),
        "clock": time.time(),
        "boot": processes.boot(),
        "free": room.f_bavail * room.f_frsize,
    }


def begin(folder: Path, *, epoch: int) -> int:
    """The number of a session in which the holder of this epoch acts. Its first act shuts older sessions out.

    Raises:
        HostError: another epoch is in force (FENCED).
    """
    held = fence.epoch_of(read_record(folder))
    if held > epoch:
        raise HostError(f"epoch {held} is in force here, the caller holds {epoch}", code=FENCED)
    return fence.new_session(folder)


def read_record(folder: Path) -> dict[str, Any] | None:
    """This server's record; None where there is none yet."""
    return files.read(folder / "record.json")


def write_record(folder: Path, *, caller: list[int], record: dict[str, Any], expected: int | None = None) -> None:
    """As the driver's `write_record`, on this server. A record that is there already is written: whoever has taken the
    lock, and did not hear of it, asks once more."""
    who = Caller(*caller)
    if read_record(folder) == {**record, "epoch": who.epoch}:
        return
    with fence.fenced(folder, who, after=expected):
        fence.write_record(folder, who.epoch, record)


def generation(folder: Path, *, name: str) -> dict[str, Any] | None:
    """The description of a generation, with its image; None where it isn't staged."""
    found = generations.find(folder, name)
    return None if found is None else {**generations.description(found), "image": str(found.image)}


def current(folder: Path) -> str | None:
    """The name of the generation that is current."""
    return generations.current(folder)


def put(folder: Path, *, caller: list[int], **said: Any) -> None:  # noqa: ANN401 - JSON
    """Write a generation beside the others, and the HOME of its processes."""
    wanted = described(**said)
    with fence.fenced(folder, Caller(*caller)):
        generations.put(folder, wanted)
        homes.seed(folder, wanted)


def described(
    *, name: str, image: str, described: dict[str, Any], variables: dict[str, str], copy_of: str | None = None
) -> generations.Generation:
    """The generation that a caller means. Raises HostError (UNKNOWN_ACT) where it says nonsense."""
    try:
        said = generations.described(name, Path(image), described)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise HostError(f"no generation is described so: {type(exc).__name__}", code=UNKNOWN_ACT) from exc
    return replace(said, variables=variables, copy_of=copy_of)


def verify(_folder: Path, *, image: str) -> list[str]:
    """What differs in an image from the day it was built, a sentence each."""
    return images.verify(Path(image))


def finish(_folder: Path, *, image: str, release: str) -> None:
    """Make an image of what has arrived for it. It takes as long as reading all of it, and needs no fence: whoever has
    taken over since finds a whole image at worst."""
    receive.finish(Path(image), release)


def try_out(_folder: Path, *, image: str, user: str | None = None) -> dict[str, Any]:
    """What keeps an image from running on this server (trial.py)."""
    return trial.try_out(Path(image), user)


def start_hook(
    folder: Path,
    *,
    caller: list[int],
    generation: str,
    hook: str,
    environment: dict[str, str],
    limit: float,
    nonce: str,
    keep: int = hooks.KEPT,
) -> None:
    """Start a hook under its wrapper. The same nonce again is the same start."""
    with fence.fenced(folder, Caller(*caller)):
        order = hooks.Order(generation, hook, environment, limit, nonce, keep)
        hooks.start(folder, order, (sys.executable, "-I", "-S", str(compiled.beside(Path(sys.argv[0])))))


def hook_result(folder: Path, *, generation: str, hook: str) -> dict[str, Any] | None:
    """How a hook ended; None where it was never started here."""
    found = hooks.result(folder, generation, hook)
    if found is None:
        return None
    return {**found.__dict__, "log": str(found.log), "strays": list(found.strays)}


def hook_output(folder: Path, *, generation: str, hook: str, offset: int) -> dict[str, Any]:
    """A piece of a hook's output from an offset on: its bytes in base64, the next offset, and how many bytes between
    them are lost."""
    part = hooks.read(folder, generation, hook, offset)
    return {"content": base64.b64encode(part.content).decode(), "next": part.next, "gone": part.gone}


STAGED = {
    "caller": takes.caller,
    "name": takes.name,
    "image": takes.path,
    "described": takes.an_object,
    "variables": takes.texts,
    "copy_of": takes.perhaps(takes.name),
}
"""What describes a generation that is to be staged."""
_HOOK = {"generation": takes.name, "hook": takes.name}
ACTS = {
    "greet": Act(greet, {}),
    "begin": Act(begin, {"epoch": takes.whole}),
    "read_record": Act(read_record, {}),
    "write_record": Act(
        write_record, {"caller": takes.caller, "record": takes.an_object, "expected": takes.perhaps(takes.whole)}
    ),
    "generation": Act(generation, {"name": takes.name}),
    "current": Act(current, {}),
    "put": Act(put, STAGED),
    "verify": Act(verify, {"image": takes.path}, slow=True),
    "finish": Act(finish, {"image": takes.path, "release": takes.text}, slow=True),
    "try_out": Act(try_out, {"image": takes.path, "user": takes.perhaps(takes.text)}, slow=True),
    "start_hook": Act(
        start_hook,
        {"caller": takes.caller, **_HOOK, "environment": takes.texts, "limit": takes.seconds, "nonce": takes.text},
    ),
    "hook_result": Act(hook_result, _HOOK),
    "hook_output": Act(hook_output, {**_HOOK, "offset": takes.whole}),
}
"""Every act by its name."""
