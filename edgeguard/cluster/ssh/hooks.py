"""Waiting for a hook on a server, while its output is handed on."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import HookResult
from edgeguard.cluster.host.hooks import Lines
from edgeguard.errors import HookRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.cluster.ssh.servers import Servers

_POLL = 0.01


def wait(
    servers: Servers,
    server: str,
    generation: str,
    hook: str,
    *,
    cancelled: Callable[[], bool],
    output: Callable[[str], None],
) -> HookResult | None:
    """Wait for the hook's end there, and hand its lines on. None where it was never started there.

    Raises:
        HookRuns, HookUnknown: as the driver's `hook_result`.
    """
    lines = Lines(output)
    offset = 0
    asked: dict[str, Any] = {"generation": generation, "hook": hook}
    while True:
        said, runs = None, None
        try:
            said = servers.ask(server, "hook_result", **asked)
            if said is None:
                return None
        except HookRuns as exc:
            runs = exc
        offset = _follow(servers, server, asked, offset, lines)
        if said is not None:
            lines.end()
            strays = tuple(said["strays"])
            return HookResult(server, said["code"], said["output"], said["seconds"], said["log"], strays)
        if runs is not None and cancelled():
            raise runs
        time.sleep(_POLL)


def _follow(servers: Servers, server: str, asked: Mapping[str, Any], offset: int, lines: Lines) -> int:
    """Hand on what has come since `offset`. Returns the offset after it."""
    while True:
        part = servers.ask(server, "hook_output", **asked, offset=offset)
        lines.part(base64.b64decode(part["content"]), part["gone"])
        if not part["content"]:
            return int(part["next"])
        offset = int(part["next"])
