"""The base of every step of a deploy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts
    from edgeguard.environment import Environment


@dataclass
class Step:
    """A step of a deploy. A subclass defines those of `before`, `do` and `undo` that it needs; the others do nothing.

    A step keeps no facts for another run: these are in the deployment, and in the record.
    """

    deployment: Deployment

    name = ""
    restores = False
    """Whether `undo` changes anything."""
    left = ""
    """The remedy if this step fails after the commit, when nothing is taken back any more."""

    def before(self) -> Facts:
        return {}

    def do(self) -> Facts:
        return {}

    def undo(self, before: Facts) -> str | None:
        """Restore nothing."""
        return None

    @property
    def environment(self) -> Environment:
        return self.deployment.environment


def agreed(values: Any) -> str | None:  # noqa: ANN401 (any iterable of names)
    """The one value that all of these have, or None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None
