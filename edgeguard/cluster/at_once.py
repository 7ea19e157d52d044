"""Acting on all servers at the same time. If several fail, their errors become one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from edgeguard.errors import EdgeguardError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def at_once(acts: Sequence[Callable[[], None]]) -> None:
    """Do all of these at the same time, each to its end. Then raise the first error, with the others' messages.

    Only one server's output is shown.
    """
    with ThreadPoolExecutor(len(acts)) as threads:
        done = [threads.submit(act) for act in acts]
    failed = [exc for future in done if (exc := future.exception()) is not None]
    if not failed:
        return
    first = failed[0]
    if len(failed) == 1 or not isinstance(first, EdgeguardError):
        raise first
    messages = [str(exc) for exc in failed]
    output = next(filter(None, (message.removeprefix(first_line(message)) for message in messages)), "")
    raise first.with_more(message=_merged(map(first_line, messages)) + output) from first


def _merged(lines: Iterable[str]) -> str:
    """Join messages to one line. Servers with the same trouble are named together."""
    troubles: dict[str, list[str]] = {}
    for line in lines:
        server, _, trouble = line.partition(": ")
        named = trouble and " " not in server
        troubles.setdefault(trouble if named else line, []).extend([server] if named else [])
    return "; ".join(f"{', '.join(names)}: {trouble}" if names else trouble for trouble, names in troubles.items())
