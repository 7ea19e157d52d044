"""edgeguard without one of its safety measures. The laws must notice the loss of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeguard.deploy.steps import Deployment


def _instead(owner: object, name: str, value: object) -> None:
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
    from edgeguard.deploy import recovery  # noqa: PLC0415
    from edgeguard.deploy.steps import after, claim  # noqa: PLC0415

    _instead(recovery, "_serve", lambda *_arguments: None)
    for module in (after, claim):
        _instead(module, "ask_again", lambda _deployment: None)


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
}
