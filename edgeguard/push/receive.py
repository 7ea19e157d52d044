"""What `git receive` does: it notes what was pushed, has it deployed, and says so to the pusher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.machine import signals
from edgeguard.push import branches, turn
from edgeguard.push.follow import Followed, follow
from edgeguard.push.pushes import Push, Pushes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeguard.push.branches import Update


@dataclass(frozen=True)
class Receiver:
    """A bare repository, the environments that its branches deploy, and where edgeguard's folders are (absolute).

    `refuse`: a push that comes during a deploy is not deployed. `tell` gets events; `gone` says whether nobody listens
    any more.
    """

    repository: Path
    deploying: Mapping[str, str]
    config: Path
    state: Path
    refuse: bool
    tell: Callable[[dict[str, Any]], None]
    gone: Callable[[], bool]

    def receive(self, said: bytes) -> int:
        """Have deployed what Git says on stdin. Returns the first exit code of a deploy that is not 0.

        Raises:
            UsageError: the lines are not Git's, or the push can't be noted.
        """
        updates = branches.updates(said)
        signals.hear_nothing()  # the branch has moved already: a pusher who hangs up now must not keep it from a deploy
        self._of_others(updates)
        ours = [(name, each) for name, branch in self.deploying.items() for each in updates if each.branch == branch]
        followed = [self._pushed(name, each.new, forced=each) for name, each in ours if each.new is not None]
        for name, each in ours:
            if each.new is None:
                self.tell({"event": "deleted", "environment": name, "branch": each.branch})
        for name in self.deploying.keys() - {name for name, _ in ours}:
            self._left(name)
        return self._follow([each for each in followed if each])

    def retry(self) -> int:
        """Have deployed what was pushed and left: nobody noted it, or who was to deploy it has died. Returns as
        `receive` does."""
        signals.hear_nothing()
        followed = []
        for name, branch in self.deploying.items():
            if found := self._left(name):
                followed.append(found)
                continue
            told, tip = self._pushes(name).read(), branches.tip(self.repository, branch)
            if tip is None or not told.serial or tip == told.newest:
                self.tell({"event": "nothing-left", "environment": name, "branch": branch})
            elif noted := self._pushed(name, tip):
                followed.append(noted)
        return self._follow(followed)

    def _of_others(self, updates: Sequence[Update]) -> None:
        others = [each for each in updates if each.branch not in self.deploying.values()]
        named = [each.branch for each in others if each.branch is not None]
        if named:
            self.tell({"event": "ignored", "branches": named, "deploying": dict(self.deploying)})
        if len(named) < len(others):
            self.tell({"event": "no-branches", "refs": [each.ref for each in others if each.branch is None]})

    def _pushed(self, name: str, commit: str, *, forced: Update | None = None) -> Followed | None:
        pushes, branch = self._pushes(name), self.deploying[name]
        push = Push(name, str(self.repository), branch, commit, str(self.config), str(self.state))
        noted, held = pushes.add(push, refuse=self.refuse)
        told = pushes.read()
        facts = {
            "environment": name,
            "branch": branch,
            "commit": commit,
            "push": noted.serial,
            "running": told.running.commit if told.running and held is None else None,
        }
        if held is None and self.refuse:
            self.tell({"event": "refused", **facts})
            return None
        turn.start(pushes, noted.serial, held)
        how = {"forced": forced is not None and branches.is_forced(self.repository, forced), "waits": held is None}
        self.tell({"event": "pushed", **facts, **how, "subject": branches.subject(self.repository, commit)})
        return Followed(pushes, noted)

    def _left(self, name: str) -> Followed | None:
        """Have deployed again what a process that died has left."""
        pushes = self._pushes(name)
        found = pushes.left()
        if found is None:
            return None
        push, held = found
        turn.start(pushes, push.serial, held)
        self.tell({"event": "left", "environment": name, "commit": push.commit, "push": push.serial})
        return Followed(pushes, push)

    def _pushes(self, name: str) -> Pushes:
        return Pushes(self.state / name / "pushes")

    def _follow(self, followed: Sequence[Followed]) -> int:
        signals.leave_at_once(0, "; the deploy goes on by itself")
        return follow(followed, self.tell, self.gone)
