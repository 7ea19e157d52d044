"""An image that arrives on this server: what of it is lacking, its contents, and the step that makes it an image.

It grows in `<image>.partial` (partial.py), where a cut transfer goes on. The sender makes an offer (offers.py) and is
told which files are lacking; contents that other images here have are copied. Then it sends the lacking files: a line
that names them by their numbers in the offer, and their bytes, one after the other. No path comes from that stream.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any

from edgeguard.cluster.host import copies, files, generations, images, manifest, offers, processes, room, strict_json
from edgeguard.cluster.host.errors import FAILED, FULL, IMAGE_CHANGED, HostError
from edgeguard.cluster.host.partial import PIECE, SUFFIX, Partial

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from edgeguard.cluster.host.offers import Item, Offer

_AGAIN = "Send it again; what has arrived stays."
_RIGHT = "See that edgeguard's user may write there, and that the disk is well; trying again is harmless."


def take_offer(image: Path, content: bytes) -> dict[str, Any]:
    """What the sender has to send: {"there": whether the whole image is here, "lacking": numbers of files}.

    Of files with one content only the first is lacking. Contents that are here are copied first.

    Raises:
        HostError: the offer is none, another image is in use in its place (IMAGE_CHANGED), or there is no room for it.
    """
    _refuse_place(image)
    offer = offers.parse(content)
    if _whole(image, offer.release):
        return {"there": True, "lacking": []}
    partial = Partial(image)
    partial.make()
    with partial.held() as there:
        if not there:  # another sender has just made the image
            return take_offer(image, content)
        partial.begin(offer)
        wanted = {number: offer.items[number] for number in partial.lacking(offer)}
        with partial.writer() as own:
            return {"there": False, "lacking": _copied(partial, own, wanted)}


def _copied(partial: Partial, own: Path, wanted: dict[int, Item]) -> list[int]:
    """Copy what other images here have. Returns the numbers of what they don't have, one for each content."""
    found = room.sources(partial.image.parent, {item.content for item in wanted.values()})
    here = [number for number, item in wanted.items() if item.content in found]
    cloned = bool(here) and copies.clones(found[wanted[here[0]].content][0], own)
    room.make_sure(partial.image, [item for item in wanted.values() if not cloned or item.content not in found])
    lacking: dict[str, int] = {}
    for number, item in wanted.items():
        fresh = own / str(number)
        if any(copies.copy(source, fresh, item.content, cloned=cloned) for source in found.get(item.content, ())):
            partial.put(fresh, item)
        else:
            lacking.setdefault(item.content, number)
    return sorted(lacking.values())


def take_contents(image: Path, stream: IO[bytes]) -> dict[str, Any]:
    """Take the files that are sent. Returns {"files": how many arrived}.

    Raises:
        HostError: the transfer was cut, or has other contents than was offered; files before that have arrived. Or
            nothing of the kind was offered.
    """
    _refuse_place(image)
    partial, head = Partial(image), _head(stream)
    with ExitStack() as until_done:
        with partial.held() as there:
            offer = partial.offered() if there else None
            if offer is not None and offer.digest == head["offer"]:
                own = until_done.enter_context(partial.writer())
            elif (image / "release.json").exists():
                return _passed_over(stream)
            else:
                raise HostError(f"{image} was offered by nobody, or by another sender since", _AGAIN)
        try:
            return _taken(partial, own, offer, head["lacking"], stream)
        except FileNotFoundError:
            if not (image / "release.json").exists():
                raise
            return _passed_over(stream)


def _head(stream: IO[bytes]) -> dict[str, Any]:
    try:
        head = strict_json.read_object(stream.readline(strict_json.LARGEST + 1))
    except strict_json.Fault:
        head = {}
    numbers = head.get("lacking")
    if not isinstance(numbers, list) or any(type(number) is not int for number in numbers):
        raise HostError("what arrived does not say which files it has", _AGAIN)
    return {"offer": head.get("offer"), "lacking": numbers}


def _passed_over(stream: IO[bytes]) -> dict[str, Any]:
    """Another sender was faster and the image is here: what is still on its way is read, and goes nowhere."""
    while stream.read(PIECE):
        pass
    return {"files": 0}


def _taken(partial: Partial, own: Path, offer: Offer, numbers: Sequence[int], stream: IO[bytes]) -> dict[str, Any]:
    places: dict[str, list[Item]] = defaultdict(list)
    for item in offer.items:
        if item.kind == "file" and not partial.path(item).exists():
            places[item.content].append(item)
    for arrived, number in enumerate(numbers):
        if not 0 <= number < len(offer.items) or offer.items[number].kind != "file":
            raise HostError(f"the offer has no file of the number {number}", _AGAIN)
        item, fresh = offer.items[number], own / str(number)
        left, found = item.size, hashlib.sha256()
        with fresh.open("xb") as file:
            while left and (piece := stream.read(min(left, PIECE))):
                file.write(piece)
                found.update(piece)
                left -= len(piece)
        if left:
            raise HostError(f"the transfer was cut after {arrived} of {len(numbers)} files", _AGAIN)
        if found.hexdigest() != item.content:
            raise HostError(
                f"{item.path!r} is not what the image's manifest says",
                "Find out what changed it where it was built, or on its way. A deploy builds it anew.",
                code=IMAGE_CHANGED,
            )
        _put_everywhere(partial, fresh, places.pop(item.content, []))
    if stream.read(1):
        raise HostError(f"more than {len(numbers)} files arrived", _AGAIN)
    return {"files": len(numbers)}


def _put_everywhere(partial: Partial, fresh: Path, items: Sequence[Item]) -> None:
    """Put a file at every place where its content belongs."""
    for item in items[1:]:
        copy = fresh.with_name("copy")
        copies.write(fresh, copy)
        partial.put(copy, item)
    if items:
        partial.put(fresh, items[0])
    else:  # another sender was faster
        fresh.unlink()


def finish(image: Path, release: str) -> None:
    """Make an image of what has arrived, if it is whole. Where the image is here and whole already, nothing happens.

    Raises:
        HostError: something is lacking or was changed (sending it again puts that right); or an image that differs is
            in use in its place (IMAGE_CHANGED).
    """
    _refuse_place(image)
    partial = Partial(image)
    with partial.held() as there:
        if _whole(image, release):
            manifest.remove(partial.folder)
            return
        offer = partial.offered() if there else None
        if offer is None or offer.release != release:
            raise HostError(f"the release {release} has not arrived at {image}", _AGAIN)
        partial.sweep(living=True)
        partial.seal(offer)
        if differs := manifest.compare(offer.manifest, partial.folder, offer.parts):
            raise HostError(f"the image {image} has not arrived whole: {images.in_short(differs)}", _AGAIN)
        try:
            partial.finish(offer)
        except OSError as exc:
            raise _unwritten(image, exc) from exc
        images.remove(image)
        partial.folder.rename(image)
        files.sync(image.parent)


def prune(releases: Path, keep: Collection[str]) -> None:
    """Remove the images that are neither kept nor in use, and what is left of transfers in which nobody writes."""
    used = _in_use(releases)
    for image in images.finished(releases):
        if str(image) not in keep and image not in used:
            images.remove(image)
    for folder in releases.glob(f"*{SUFFIX}"):
        partial = Partial(folder.with_name(folder.name[: -len(SUFFIX)]))
        with suppress(BlockingIOError), partial.held(wait=False) as there:
            if there and not partial.sweep():
                manifest.remove(partial.folder)


def _whole(image: Path, release: str) -> bool:
    """Whether this release's image is here, as it was built. Raises HostError where another is in use."""
    if not (image / "release.json").exists():
        return False
    differs = images.verify(image)
    if not differs and images.digest(image) == release:
        return True
    if image in _in_use(image.parent):
        why = images.in_short(differs) or "it holds another release"
        raise HostError(
            f"the image {image} is in use, and is not what should be sent there: {why}",
            "Find out what writes there. It is replaced as soon as this server does not use it; a commit that changes "
            "the tree gets an image of its own.",
            code=IMAGE_CHANGED,
        )
    return False


def _in_use(releases: Path) -> set[Path]:
    """The images of the generations that are current on this machine's servers, or run."""
    found = set()
    servers = releases.parent / "servers"
    for server in sorted(servers.iterdir()) if servers.is_dir() else []:
        names = {generations.current(server), *processes.by_generation(processes.running(server))}
        for name in names - {None}:
            if (generation := generations.find(server, str(name))) is not None:
                found.add(generation.image)
    return found


def _look_for_room(image: Path, content: bytes) -> dict[str, Any]:
    """As `take_offer`, but that it only refuses an image for which there is no room. It leaves nothing here."""
    _refuse_place(image)
    room.look(image, offers.parse(content))
    return {}


def _refuse_place(image: Path) -> None:
    if not image.is_absolute() or ".." in image.parts or image.name.endswith(SUFFIX) or image.name.startswith("."):
        raise HostError(f"{image} can't be an image's place", "Let cluster.root name an absolute path.")
    if sys.getfilesystemencoding() != "utf-8":
        raise HostError(
            f"Python reads the names of files as {sys.getfilesystemencoding()} here, and not as UTF-8",
            "Set LANG=C.UTF-8 for logins on this server.",
        )


def _unwritten(image: Path, exc: OSError) -> HostError:
    full = exc.errno in FULL
    why = "its disk is full" if full else exc.strerror or type(exc).__name__
    return HostError(f"{exc.filename or image.parent} can't be written: {why}", room.REMEDY if full else _RIGHT)


def main(word: str, image: Path) -> None:
    """Do the word `offer`, `room` or `receive` with standard input, and answer with a line of JSON on standard output,
    as a session does: {"answer": …} or {"error": …}."""
    said: dict[str, Any]
    try:
        if word != "receive":
            take = take_offer if word == "offer" else _look_for_room
            said = {"answer": take(image, sys.stdin.buffer.read(offers.LARGEST))}
        else:
            said = {"answer": take_contents(image, sys.stdin.buffer)}
    except HostError as exc:
        said = {"error": {"code": exc.code, "message": exc.message, "remedy": exc.remedy}}
    except OSError as exc:
        told = _unwritten(image, exc)
        said = {"error": {"code": told.code, "message": told.message, "remedy": told.remedy}}
    except Exception as exc:  # noqa: BLE001 (the caller learns of it)
        message = f"a bug in edgeguard's host program: {exc!r}"
        said = {"error": {"code": FAILED, "message": message, "remedy": ""}}
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()
