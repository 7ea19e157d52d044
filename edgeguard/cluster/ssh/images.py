"""The way of an image to one server: what the server lacks travels, and there it becomes an image again."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeguard.cluster.host import images, interpreters, manifest, offers, strict_json, trial
from edgeguard.cluster.host.errors import IMAGE_CHANGED, HostError
from edgeguard.machine import sandbox
from edgeguard.machine.sandbox import Sandbox, Seclusion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edgeguard.cluster import Generation
    from edgeguard.cluster.host.offers import Item, Offer

LOOK_SECONDS = 20.0
"""For a question to a server."""
TRANSFER_SECONDS = 3600.0
"""As long as this, one transfer may take. A cut one goes on where it was."""
FINISH_SECONDS = 600.0
"""As long as this, reading all of an image may take."""
TRIAL_SECONDS = 600.0
"""As long as this, a trial of an image on the server may take."""
_ATTEMPTS = 5
_PIECE = 1 << 18
_SAME = (
    "Install there what it names, as the machine has it that built the image; or build on a machine that is like the "
    "servers."
)


class Connection(Protocol):
    """What this needs of a connection to a server (connection.py)."""

    def ask(self, act: str, *, within: float, **arguments: Any) -> Any:  # noqa: ANN401 (JSON)
        """The answer to an act."""

    def stream(self, word: str, *arguments: str, content: Iterable[bytes], limit: float) -> bytes:
        """The output of the host program's `word`, which gets the content on its standard input."""


def send(connection: Connection, image: Path, releases: Path, offer: Offer | None = None) -> None:
    """Bring the image to the server's folder of releases, verified there. Nothing happens where it is there and whole.

    Whoever sends one image to several servers makes its `offer` once (offers.make). A transfer that was cut goes on as
    long as each attempt brings something.

    Raises:
        HostError: the server refuses it, has no room, or can't be reached; or the image here is not as it was built.
    """
    offer = offer or offers.make(image)
    there = str(releases / image.name)
    before = None
    for attempt in range(1, _ATTEMPTS + 1):
        told = _told(connection.stream("offer", there, content=[offer.content], limit=TRANSFER_SECONDS))
        if told["there"]:
            return
        lacking = told["lacking"]
        if not lacking:
            break
        try:
            sent = _contents(image, offer, lacking)
            _told(connection.stream("receive", there, content=sent, limit=TRANSFER_SECONDS))
            break
        except HostError as exc:
            if exc.code == IMAGE_CHANGED or attempt == _ATTEMPTS or (before is not None and len(lacking) >= before):
                raise
            before = len(lacking)
    connection.ask("finish", image=there, release=offer.release, within=FINISH_SECONDS)


def lacks(connection: Connection, generation: Generation, releases: Path, offer: Offer | None) -> list[str]:
    """What keeps the server from taking the image (no `offer`: it is there) and running it as the generation does, a
    sentence each. Nothing is changed there."""
    there, runs = str(releases / generation.image.name), generation.runs
    sizes = [item.size for item in offer.items if item.kind == "file"] if offer else []
    asked: dict[str, Any] = {"image": there, "size": sum(sizes), "files": len(sizes)}
    told = connection.ask("unready", within=LOOK_SECONDS, **asked, user=runs.user, tasks=bool(runs.tasks))
    found = list(told["found"])
    if offer is not None and told["narrow"]:
        try:
            _told(connection.stream("room", there, content=[offer.content], limit=TRANSFER_SECONDS))
        except HostError as exc:
            found.append(exc.message)
    return found


def try_out(connection: Connection, image: Path, releases: Path, user: str | None = None) -> None:
    """Make sure that an image which was sent can run on the server: as a trial there says (host/trial.py).

    `user` runs the application there. What can't be loaded here either, where the image was built, is left out.

    Raises:
        HostError: it can't run there: another C library, no such Python or Node.js, or another version of it.
    """
    told = connection.ask("try_out", image=str(releases / image.name), user=user, within=TRIAL_SECONDS)
    faults = dict(told["faults"])
    if faults or any(path.endswith("node") for path in told["versions"]):
        here = trial.try_out(image, around=_secluded(image))
        for path, version in told["versions"].items():
            built = here["versions"].get(path, version)
            if path.endswith("node") and version.split(".")[0] != built.split(".")[0]:
                faults[path] = f"is Node.js {version}, and the image was built with {built}"
        faults = {path: said for path, said in faults.items() if path not in dict(here["faults"])}
    if faults:
        every = images.in_short([f"{path} {said}" for path, said in faults.items()])
        raise HostError(f"the image can't run on this server: {every}", _SAME)


def _secluded(image: Path) -> trial.Around:
    """A sandbox for an image's own code, as good as this machine can make one: as in a build, others decide it."""
    lines = list(manifest.lines((image / "manifest").read_text(encoding="utf-8")))
    places = [place for interpreter, _ in interpreters.find(image, lines) for place in _places(interpreter.path)]
    box = Sandbox(readable=(image, Path("/opt"), *places), network=False)
    seclusion = sandbox.second_best() if box.lack() else Seclusion.SANDBOX

    @contextmanager
    def around(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[trial.Command]:
        with box.around(seclusion, argv, env, Path("/")) as command:
            yield command.argv, command.environment, command.descriptors

    return around


def _places(program: Path) -> tuple[Path, Path]:
    """What an interpreter needs of this machine: where the image's link leads, and of `<prefix>/bin/x` the prefix."""
    first = Path(os.path.normpath(program.parent / program.readlink())) if program.is_symlink() else program
    real = program.resolve()
    prefix = real.parent.parent
    return first, prefix if real.parent.name == "bin" and prefix not in (Path("/"), Path.home()) else real


def _told(said: bytes) -> Any:  # noqa: ANN401 (JSON)
    """The answer in a program's last line."""
    try:
        told = strict_json.read_object(said.rstrip(b"\n").rpartition(b"\n")[2])
    except strict_json.Fault as exc:
        raise HostError(f"the host program gave no answer: {exc}", "Try again.") from exc
    if "error" in told:
        raise HostError(told["error"]["message"], told["error"]["remedy"], code=told["error"]["code"])
    return told["answer"]


def _contents(image: Path, offer: Offer, lacking: Sequence[int]) -> Iterator[bytes]:
    """The files of these numbers, as the server reads them: a line that names them, and their bytes, in large pieces.

    Raises:
        HostError: a file has not the size that was offered, or is gone (IMAGE_CHANGED).
    """
    gathered = bytearray(json.dumps({"offer": offer.digest, "lacking": list(lacking)}).encode() + b"\n")
    for number in lacking:
        for piece in _content(image, offer.items[number]):
            gathered += piece
            if len(gathered) >= _PIECE:
                yield bytes(gathered)
                gathered.clear()
    yield bytes(gathered)


def _content(image: Path, item: Item) -> Iterator[bytes]:
    left = item.size
    try:
        with (image / item.path).open("rb") as file:
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
            changed = left or file.read(1)
    except OSError:
        changed = True
    if changed:
        raise HostError(
            f"{image / item.path} was changed while it was sent",
            "Find out what writes there. A deploy builds it anew as soon as no server uses it.",
            code=IMAGE_CHANGED,
        )
