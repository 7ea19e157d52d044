"""`cluster.options` of this driver: a command for each step, and how long it may take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edgeguard.errors import UsageError
from edgeguard.settings import Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

Step = Literal[
    "observe",
    "record_read",
    "record_write",
    "stage",
    "stop_tasks",
    "close",
    "drain",
    "swap",
    "hook",
    "check",
    "open",
    "prune",
    "verify",
]
LIMIT = 60.0
"""Seconds that a command may take, unless `limits` or LIMITS says otherwise."""
LIMITS: Mapping[Step, float] = {"stage": 1800.0, "prune": 600.0, "verify": 600.0}


class Options(BaseModel):
    """The commands, as a shell reads them. `config/production.toml` explains each option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    observe: str
    stage: str
    close: str
    swap: str
    check: str
    open: str
    stop_tasks: str | None = None
    drain: str | None = None
    hook: str | None = None
    prune: str | None = None
    verify: str | None = None
    record_read: str | None = None
    record_write: str | None = None
    folder: Path = Path()
    environment: tuple[str, ...] = ()
    limits: dict[Step, Seconds] = Field(default_factory=dict)
    one_gate: bool = False
    unix_sockets: bool = False

    def limit(self, step: Step) -> float:
        """How long the command of this step may take, in seconds."""
        return self.limits.get(step, LIMITS.get(step, LIMIT))

    def command(self, step: Step) -> str | None:
        """The command of this step; None where the file has none."""
        found: str | None = getattr(self, step)
        return found

    @field_validator("environment")
    @classmethod
    def _not_ours(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name.startswith("EDGEGUARD_"):
                raise ValueError(f"{name}: such names are edgeguard's own")
        return names

    @field_validator("limits")
    @classmethod
    def _long_enough(cls, limits: dict[Step, float]) -> dict[Step, float]:
        if "hook" in limits:
            raise ValueError("the limit of hooks is cluster.hook_timeout")
        if not all(limits.values()):
            raise ValueError("a limit is more than 0 s")
        return limits

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if (self.record_read is None) != (self.record_write is None):
            raise ValueError("give both record_read and record_write, or neither")
        return self


def options(said: Mapping[str, Any]) -> Options:
    """Check what `cluster.options` says.

    Raises:
        UsageError: a key is missing, unknown, or has a value that can't be used.
    """
    try:
        return Options.model_validate(said)
    except ValidationError as exc:
        faults = "; ".join(
            f"{'.'.join(('cluster.options', *map(str, fault['loc'])))}: "
            + ("unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, "))
            for fault in exc.errors(include_url=False, include_input=False, include_context=False)
        )
        needed = [
            name for name in get_args(Step) if name in Options.model_fields and Options.model_fields[name].is_required()
        ]
        raise UsageError(
            faults,
            f"The driver needs a command each for {', '.join(needed)}; config/production.toml explains all options.",
        ) from exc
