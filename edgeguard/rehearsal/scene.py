"""The scene of a rehearsal, as its options choose it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgeguard.rehearsal.driver import Local

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeguard.rehearsal.driver import Driver, Phase


@dataclass(frozen=True)
class Scene:
    """The options of one rehearsal. Without a repository, the bundled application is deployed.

    `fail` names the phase in which the deploy is made to fail. `unguarded` leaves out the policy ("edge") or the
    deploy's claim ("claim"). `servers` and `after_hook_failure` win over the driver's file; None: as the file says, or
    else three servers, which stay closed. `application` has more of that table's keys.
    """

    repository: Path | None = None
    ref: str | None = None
    servers: int | None = None
    hook_seconds: float = 5
    unguarded: Literal["edge", "claim"] | None = None
    fail: Phase | None = None
    pages: tuple[str, ...] = ()
    after_hook_failure: Literal["stay-closed", "rollback"] | None = None
    driver: Driver = field(default_factory=Local)
    application: Mapping[str, Any] = field(default_factory=dict)

    @property
    def server_names(self) -> list[str]:
        """The servers' names: those of the driver's file, or web1, web2 and so on."""
        if self.servers is None and "servers" in self.driver.given:
            return list(self.driver.given["servers"])
        return [f"web{number}" for number in range(1, (self.servers or 3) + 1)]

    @property
    def failing_server(self) -> str:
        """The server on which a failure is planted: the last but one, or the only one."""
        return self.server_names[-2:][0]
