"""The scene of a rehearsal, as its options choose it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Scene:
    """The options of one rehearsal. Without a repository, the bundled application is deployed.

    `fail` names the phase in which the deploy is made to fail. `unguarded` leaves out the policy ("edge") or the
    deploy's claim ("claim").
    """

    repository: Path | None = None
    ref: str | None = None
    servers: int = 3
    hook_seconds: float = 5
    unguarded: Literal["edge", "claim"] | None = None
    fail: str | None = None
    pages: tuple[str, ...] = ()
    after_hook_failure: Literal["stay-closed", "rollback"] = "stay-closed"

    @property
    def server_names(self) -> list[str]:
        """The servers' names: web1, web2 and so on."""
        return [f"web{number}" for number in range(1, self.servers + 1)]

    @property
    def failing_server(self) -> str:
        """The server on which a failure is planted: the last but one, or the only one."""
        return self.server_names[-2:][0]
