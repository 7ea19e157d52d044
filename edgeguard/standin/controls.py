"""The state that the control port sets and shows: faults, beliefs, the clock, the layout of nodes, and the history."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeguard.standin.beliefs import Beliefs
from edgeguard.standin.vcl import Semantics


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Match(_Strict):
    """The requests that a fault acts on."""

    method: str | None = None
    path_prefix: str = "/"


class Fault(_Strict):
    """One way for the API to misbehave."""

    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = Field(default=None, pattern="^[\x00-\xff]*$")
    apply: bool = False
    delay: float = Field(default=0.0, ge=0)
    drop: Literal["before", "after", "within"] | None = None
    skip: int = Field(default=0, ge=0)
    times: int | None = Field(default=None, ge=1)
    match: Match = Field(default_factory=Match)


class Layout(_Strict):
    """The nodes that serve."""

    edges: int = Field(default=1, ge=1, le=2)
    """The number of nodes that visitors reach, each with its own cache. Connections go to them in turn."""
    shield: bool = False
    """Whether these nodes ask another node, which runs the same VCL, instead of the origin."""
    clustered: bool = False
    """Whether a neighbour answers every second request of a node. The request then loses what vcl_hit, vcl_miss,
    vcl_fetch and vcl_error set on it, fastly.ff.visits_this_service is one more at the neighbour, and Fastly-Debug-TTL
    has no times."""
    lag: float = Field(default=0.0, ge=0)
    """Seconds by which the last edge node sees dictionary writes later than the others, for writes from now on."""


@dataclass
class Entry:
    """One request to the API. `status` is None until the request is answered, and stays None if it never is."""

    at: float
    method: str
    path: str
    status: int | None = None
    keys: list[str] | None = None
    soft: bool | None = None

    def json(self) -> dict[str, Any]:
        """The entry as GET /history shows it: `keys` and `soft` only for a purge."""
        optional = {"keys", "soft"}
        return {key: value for key, value in asdict(self).items() if value is not None or key not in optional}


@dataclass
class Controls:
    """The settings of the control port, which the API and the edge obey."""

    beliefs: Beliefs = field(default_factory=Beliefs)
    semantics: Semantics = field(default_factory=Semantics)
    skew: float = 0.0
    sick: bool = False
    layout: Layout = field(default_factory=Layout)
    faults: list[Fault] = field(default_factory=list)
    history: list[Entry] = field(default_factory=list)

    def now(self) -> float:
        """The edge's clock."""
        return time.time() + self.skew

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that acts on this request, counted as used once more; None where there is none."""
        for place, fault in enumerate(self.faults):
            if fault.match.method in {None, method} and path.startswith(fault.match.path_prefix):
                if fault.skip:
                    self.faults[place] = fault.model_copy(update={"skip": fault.skip - 1})
                    continue
                if fault.times == 1:
                    del self.faults[place]
                elif fault.times is not None:
                    self.faults[place] = fault.model_copy(update={"times": fault.times - 1})
                return fault
        return None

    def switches(self) -> dict[str, bool]:
        """Every switch, and whether it is on."""
        return {**asdict(self.beliefs), **asdict(self.semantics)}

    def switch(self, wanted: object) -> None:
        """Set switches. Raises ValueError, and changes nothing, where one of them is unknown or not a bool."""
        known = self.switches()
        if not isinstance(wanted, dict) or not all(name in known and type(on) is bool for name, on in wanted.items()):
            raise ValueError(f"switches are true or false, and named {', '.join(sorted(known))}")
        own = asdict(self.beliefs).keys()
        self.beliefs = replace(self.beliefs, **{name: on for name, on in wanted.items() if name in own})
        self.semantics = replace(self.semantics, **{name: on for name, on in wanted.items() if name not in own})
