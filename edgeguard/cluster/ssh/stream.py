"""Sends much to one run of the host program, and takes what it prints."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from edgeguard.cluster.host import strict_json
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.session import LONGEST
from edgeguard.cluster.ssh import answers
from edgeguard.cluster.ssh.channel import Ended

if TYPE_CHECKING:
    from collections.abc import Iterable

from edgeguard.cluster.ssh.channel import Channel


def run(channel: Channel, first: bytes, word: str, content: Iterable[bytes], limit: float) -> bytes:
    """Send the content, and return the output, as Connection.stream says. The channel is closed at the end."""
    deadline = time.monotonic() + limit
    printed = bytearray(first)
    wrong: list[HostError] = []

    def listen() -> None:
        while said := channel.read(max(0.0, deadline - time.monotonic())):
            printed.extend(said)
            if len(printed) > LONGEST:
                wrong.append(HostError(f"{word} prints more than {LONGEST} bytes", "Are both of the same version?"))
                channel.kill()
                return
        if said is None:
            wrong.append(HostError(f"{word} did not end within {limit:.0f} s", "Look at the host's load and its disk."))
            channel.kill()

    listener = Thread(target=listen, name="ssh", daemon=True)
    listener.start()
    try:
        with suppress(Ended, TimeoutError):  # the listener learns why
            for piece in content:
                channel.send(piece, deadline)
        channel.no_more()
    except BaseException:
        channel.kill()
        raise
    finally:
        listener.join()
        code = channel.close()
    if wrong:
        raise wrong[0]
    if code != 0:
        raise _told(bytes(printed)) or channel.why(code)
    return bytes(printed)


def _told(printed: bytes) -> HostError | None:
    """The error that the host program prints as an act's answer, if it does."""
    try:
        return answers.error(strict_json.read_object(printed).get("error"))
    except (strict_json.Fault, HostError):
        return None
