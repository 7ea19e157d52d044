"""What the steps of a deploy have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts
    from edgeguard.environment import Environment


@dataclass
class Step:
    """A step without memory: nothing to see before, nothing to do or restore unless a step says so."""

    deployment: Deployment

    name = ""
    left = ""
    """What a person does if it fails after the commit, when nothing is taken back any more."""

    def before(self) -> Facts:
        return {}

    def do(self) -> Facts:
        return {}

    def undo(self, before: Facts) -> None:
        """Nothing to restore."""

    @property
    def environment(self) -> Environment:
        return self.deployment.environment


def agreed(values: Any) -> str | None:  # noqa: ANN401 (any iterable of names)
    """The one value that all of these have, or None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None
