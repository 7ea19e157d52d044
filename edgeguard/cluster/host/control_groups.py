"""The control group of a systemd unit: the processes that it has now, wherever their parents and sessions are."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ROOTS = tuple(map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")))
"""Where systemd keeps them: version 2, both versions, and version 1 (systemd.io/CGROUP_DELEGATION)."""


@dataclass(frozen=True)
class ControlGroup:
    """A group by its path, as systemd names it (ControlGroup in systemctl(1)); "" for that of a unit that has none."""

    path: str

    def members(self) -> set[int]:
        """The processes that are in it or below it, zombies left out."""
        found: set[int] = set()
        for folder in self._folders():
            for place, _, _ in os.walk(folder):
                with suppress(OSError, ValueError):  # it has just ended
                    found.update(map(int, Path(place, "cgroup.procs").read_text(encoding="ascii").split()))
        return found

    def kill(self) -> None:
        """SIGKILL to all of them at once, where the kernel can do that (Linux 5.14). Elsewhere nothing happens."""
        for folder in self._folders():
            with suppress(OSError):
                (folder / "cgroup.kill").write_text("1", encoding="ascii")

    def _folders(self) -> list[Path]:
        own = self.path.lstrip("/")
        return [root / own for root in _ROOTS if own and (root / own / "cgroup.procs").exists()]
