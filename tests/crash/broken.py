"""edgeguard without one of its safety measures. The laws must notice the loss of each."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeguard.deploy.attempt import Wish
    from edgeguard.deploy.journal import Entry
    from edgeguard.deploy.steps import Deployment
    from edgeguard.environment import Environment


def _instead(owner: object, name: str, value: object) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} to take out any more"
    setattr(owner, name, value)


def _proof() -> None:
    """The claim is given back whether the origins are healthy or not."""
    from edgeguard.deploy.steps import Proof  # noqa: PLC0415

    _instead(Proof, "undo", lambda self, _before: _instead(self.deployment, "proved", True))


def _ahead() -> None:
    """The beginning of the close is written down after the close, not before it."""
    from edgeguard.cluster.record import Phase  # noqa: PLC0415
    from edgeguard.deploy.steps import Close, closure  # noqa: PLC0415

    def do(self: Close) -> dict[str, Any]:
        deployment = self.deployment
        deployment.reach(Phase.CLOSE)
        self.environment.cluster.close(deployment.epoch, closure._closure(deployment))  # noqa: SLF001
        deployment.record.note_deploy(phase=deployment.reached, was_open=deployment.was_open)
        return {}

    _instead(Close, "do", do)


def _fencing() -> None:
    """An old holder of the lock may act on the servers like the new one."""
    from edgeguard.cluster.host import fence  # noqa: PLC0415

    def locked(folder: Path, _caller: object, *, after: int | None = None) -> object:  # noqa: ARG001
        return fence.locked(folder)

    _instead(fence, "fenced", locked)


def _stay_closed() -> None:
    """After the hook has begun, everything is taken back, even if the environment's file forbids it."""
    from edgeguard.deploy.steps import closure  # noqa: PLC0415

    _instead(closure, "stay_closed", lambda _deployment: None)


def _adoption() -> None:
    """A resume that fails takes back only what it did itself."""
    from edgeguard.deploy import recovery  # noqa: PLC0415

    adopted = recovery._adopted  # noqa: SLF001

    def own(deployment: Deployment) -> tuple[str, ...]:
        return tuple(name for name in adopted(deployment) if name not in {"claim", "proof"})

    _instead(recovery, "_adopted", own)


def _ledger() -> None:
    """The ledger's entry on an earlier start of the hook is ignored."""
    from edgeguard.cluster.local import LocalCluster  # noqa: PLC0415

    _instead(LocalCluster, "hook_result", lambda *_arguments, **_named: None)
    _instead(LocalCluster, "_refuse_second", lambda *_arguments: None)


def _claim() -> None:
    """A claim is made and confirmed, but grants no grace."""
    from edgeguard.deploy.steps import ClaimGrace  # noqa: PLC0415

    _instead(ClaimGrace, "do", lambda _self: {})


def _forward() -> None:
    """A resume undoes the deploy that it should finish."""
    from edgeguard.deploy import recovery  # noqa: PLC0415

    _instead(recovery, "resume", recovery.undo)


def _observation() -> None:
    """After the commit, servers and front door are believed to be as the record says."""
    from edgeguard.deploy import starting  # noqa: PLC0415
    from edgeguard.deploy.steps import after, claim  # noqa: PLC0415

    _instead(starting, "committed", lambda *_arguments: None)
    for module in (after, claim):
        _instead(module, "ask_again", lambda _deployment: None)


def _signals() -> None:
    """A signal ends the process at once, whatever is under way, and also when its exit code is known."""
    from edgeguard import __main__ as program  # noqa: PLC0415
    from edgeguard.machine.signals import Stop  # noqa: PLC0415

    _instead(Stop, "listening", lambda _self: nullcontext())
    _instead(program, "ignore_all", lambda: None)


def _deaths() -> None:
    """Nobody looks whether a process of the application has died."""
    from edgeguard.deploy.deployment import Deployment as Blind  # noqa: PLC0415

    _instead(Blind, "died", lambda _self: [])


def _strays() -> None:
    """A process that a hook left behind is ended with the hook."""
    from edgeguard.cluster.local import LocalCluster  # noqa: PLC0415

    wait = LocalCluster.hook_result

    def hook_result(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 (its own)
        result = wait(*arguments, **named)
        for pid in result.strays if result else ():
            os.kill(pid, signal.SIGKILL)
        return result

    _instead(LocalCluster, "hook_result", hook_result)


def _nothing() -> None:
    """A rollback with nothing to undo goes back to the release before."""
    from edgeguard.deploy import going_back  # noqa: PLC0415

    rollback = going_back.rollback

    def further(environment: Environment, wish: Wish, *, listen: Callable[[Entry], None]) -> object:
        record = environment.record().look()
        if record.deploy or record.before is None:
            return rollback(environment, wish, listen=listen)
        return going_back.to(environment, wish, record.before.release, listen=listen)

    _instead(going_back, "rollback", further)


def _start() -> None:
    """`cluster open` opens the servers as they are, and starts nothing."""
    from edgeguard.deploy import by_hand  # noqa: PLC0415

    _instead(by_hand, "_start", lambda *_arguments: None)


def _tasks() -> None:
    """Background tasks run on while the cluster is closed."""
    from edgeguard.cluster.local.server import Server  # noqa: PLC0415

    _instead(Server, "stop_tasks", lambda _self: 0)


WAYS: dict[str, Callable[[], None]] = {
    "proof": _proof,
    "ahead": _ahead,
    "fencing": _fencing,
    "stay-closed": _stay_closed,
    "adoption": _adoption,
    "ledger": _ledger,
    "claim": _claim,
    "forward": _forward,
    "observation": _observation,
    "signals": _signals,
    "deaths": _deaths,
    "strays": _strays,
    "nothing": _nothing,
    "start": _start,
    "tasks": _tasks,
}
