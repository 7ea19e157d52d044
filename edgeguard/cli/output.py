"""Where commands write: results on stdout, words for people meanwhile on stderr."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from edgeguard.cli import fleeting
from edgeguard.cli.border import whether_read_or_not, write
from edgeguard.machine.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.deploy.journal import Entry

MOST_WAITING = 10_000
"""Events that may wait to be told."""


def print_json(content: object, *, secrets: bool = False) -> None:
    """One object, on one line of stdout, in ASCII: JSON's own escapes are read back as what others wrote. With
    `secrets`, those in it are shown: the caller's reader needs them."""
    text = json.dumps(content if secrets else redacted(content))
    with whether_read_or_not(sys.stdout):
        fleeting.clear()
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def print_text(text: str, *, err: bool = False, secrets: bool = False) -> None:
    """Text for people, on stdout (or stderr), and a new line. `secrets` as for print_json."""
    write(sys.stderr if err else sys.stdout, text, secrets=secrets)


def teller(*, quiet: bool) -> Callable[[str], None]:
    """The listener of sentences for people. They go to stderr: stdout carries data, or belongs to another program."""

    def say(text: str) -> None:
        if not quiet:
            write(sys.stderr, f"edgeguard: {text}")

    return say


class Listener:
    """Hears a long work's events, and tells them from a thread of its own. It never fails, and never waits: a reader
    that is slow or gone must not hold up a deploy. What can't be told in time is counted."""

    def __init__(self, hear: Callable[[Entry], None]) -> None:
        self._hear = hear
        self._events: queue.Queue[Entry | None] = queue.Queue(MOST_WAITING)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def __call__(self, entry: Entry) -> None:
        """Take an event. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell, name="listener", daemon=True)
            self._thread.start()
        try:
            self._events.put_nowait(entry)
        except queue.Full:
            self._dropped += 1

    def close(self, limit: float) -> None:
        """Wait until everything is told, at most `limit` seconds, and say how many events were not."""
        if self._thread is None:
            return
        try:
            self._events.put(None, timeout=limit)
        except queue.Full:
            return
        self._thread.join(limit)
        if self._dropped and not self._thread.is_alive():
            self._hear({"event": "warning", "at": time.time(), "text": f"{self._dropped} events could not be told"})

    def _tell(self) -> None:
        while (entry := self._events.get()) is not None:
            self._hear(entry)


def hearing(*, as_json: bool, quiet: bool, verbose: bool) -> Callable[[Entry], None]:
    """Tells events as they come: with `as_json` each is a line on stdout, else people read them on stderr."""
    if as_json:
        return lambda entry: print_json(_public(entry))
    if quiet:
        return lambda _: None
    from edgeguard.cli.say.progress import Progress

    return Progress(sys.stderr, verbose=verbose).hear


def in_time(act: Callable[[], None], limit: float) -> None:
    """Say something, for at most `limit` seconds: a reader that is slow or gone does not change how a deploy ended."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(limit)


def _public(entry: Entry) -> dict[str, Any]:
    """The event as the interface has it: `step` is called `phase`."""
    return {("phase" if key == "step" else key): value for key, value in entry.items() if key != "before"}
