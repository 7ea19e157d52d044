"""What a caller over a connection may ask of this server's gate."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import fence, takes
from edgeguard.cluster.host.errors import NOT_CLOSED, HostError
from edgeguard.cluster.host.haproxy import Gate
from edgeguard.cluster.host.session import Act

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def _noted(folder: Path, caller: list[int], note: dict[str, Any] | None) -> Iterator[Gate]:
    """The gate, for an act of this caller; the note is in the record first, and stays there if the act is refused."""
    who = fence.Caller(*caller)
    with fence.fenced(folder, who):
        if note is not None:
            fence.write_record(folder, who.epoch, note)
        yield Gate(folder)


def gate(folder: Path) -> dict[str, Any]:
    """Whether the gate is alive, whether it lets requests through, and how many of them aren't answered yet."""
    found = Gate(folder)
    return {"alive": found.alive(), "open": found.opened(), "in_flight": found.in_flight()}


def close_gate(
    folder: Path, *, caller: list[int], deploy: str, until: float, note: dict[str, Any] | None = None
) -> None:
    """Close the gate, for this deploy, until this Unix time."""
    with _noted(folder, caller, note) as found:
        found.close(deploy, until)


def open_gate(folder: Path, *, caller: list[int], release: str, note: dict[str, Any] | None = None) -> None:
    """Open the gate. The caller has seen that the application runs, and is of this release."""
    with _noted(folder, caller, note) as found:
        found.open(release)


def cut(folder: Path, *, caller: list[int]) -> int:
    """End the connections of the requests that a closed gate still waits for. Returns how many there were."""
    with _noted(folder, caller, None) as found:
        if found.opened():
            raise HostError("the gate is open: refused to cut", "Close it first.", code=NOT_CLOSED)
        return found.cut()


_NOTED = {"caller": takes.caller, "note": takes.perhaps(takes.an_object)}
ACTS = {
    "gate": Act(gate, {}, slow=True),  # a HAProxy that hangs is waited for
    "close_gate": Act(close_gate, {**_NOTED, "deploy": takes.text, "until": takes.seconds}),
    "open_gate": Act(open_gate, {**_NOTED, "release": takes.text}),
    "cut": Act(cut, {"caller": takes.caller}),
}
