"""Run steps in order; when one fails, take back those that have begun, the last one first.

This engine knows nothing of deploys. Three rules about order make it safe:

- Before a step is done, the intent and the state before it are written down.
- *undoing* is written down before an undo that changes anything, too.
- If an undo fails, everything stops there, so that the earlier steps stay in force.

An undo may also raise Halt: the unwinding ends at that step on purpose.

The journal tells each outcome once. A step that begins ends with *done* or *failed*. An undo that begins ends with
*undone*, *stays*, *halted* or *undo-failed*. A failure between two steps is of no step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edgeguard.errors import EdgeguardError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

Facts = dict[str, Any]


class Step(Protocol):
    """One step. `do` makes a state true and may be repeated. `undo` restores the state that `before` saw, also after a
    `do` that failed half-way, and also if `do` was never reached."""

    name: str
    restores: bool  # whether `undo` changes anything; an undo that changes nothing may still raise

    def before(self) -> Facts:
        """The state now, as absolute facts that JSON can hold. Changes nothing."""

    def do(self) -> Facts:
        """Do it. Returns facts for the report."""

    def undo(self, before: Facts) -> str | None:
        """Restore the state that `before` saw. Returns the reason for which it stays as it is, if there is one."""


class Log(Protocol):
    """A journal of intents and results. An entry is durable when `append` returns; *done* is with the next entry."""

    def append(self, event: str, **facts: Any) -> object:  # noqa: ANN401 (whatever JSON can say)
        """Write one entry."""


class Halt(EdgeguardError):
    """Raised by an undo if this step and the earlier ones are meant to stay. It ends the unwinding and is raised on."""


class UndoFailed(EdgeguardError):
    """An undo failed, and the unwinding stopped there. `failure` is the error for which the unwinding began."""

    def __init__(self, step: str, failure: BaseException, undo_failure: Exception) -> None:
        super().__init__(f"taking back {step} failed: {_said(undo_failure)}", getattr(undo_failure, "remedy", ""))
        self.step = step
        self.failure = failure


def run(
    steps: Iterable[Step],
    journal: Log,
    *,
    interrupt: Callable[[], None] = lambda: None,
    adopted: Collection[str] = (),
) -> None:
    """Do all steps, or none of them.

    `interrupt` is called before each step and may raise to stop the run. An error of `interrupt` or of a step is raised
    again when all steps that have begun are taken back. Steps named in `adopted` were done by an earlier run: they are
    not done again, and are taken back like the others.

    Raises:
        UndoFailed: the unwinding stopped half-way.
        Halt: an undo ended it.
    """
    begun: list[tuple[Step, Facts]] = []
    under_way = None
    try:
        for step in steps:
            before = step.before()
            if step.name in adopted:
                begun.append((step, before))
                continue
            interrupt()
            journal.append("begin", step=step.name, before=before)
            begun.append((step, before))
            under_way = step.name
            journal.append("done", step=step.name, **step.do())
            under_way = None
    except BaseException as failure:
        journal.append("failed", step=under_way, error=_said(failure))
        unwind(begun, journal, failure)
        raise


def unwind(begun: Sequence[tuple[Step, Facts]], journal: Log, failure: BaseException) -> None:
    """Take back the steps that have begun, the last one first. `failure` is the error that made it necessary.

    Raises:
        UndoFailed, Halt: as in run.
    """
    for step, before in reversed(begun):
        if step.restores:
            journal.append("undoing", step=step.name)
        try:
            stays = step.undo(before)
        except Halt as halt:
            journal.append("halted", step=step.name, error=halt.message)
            raise halt from failure
        except Exception as exc:  # a bug in an undo stops the unwinding like any other failure of it
            journal.append("undo-failed", step=step.name, error=_said(exc))
            raise UndoFailed(step.name, failure, exc) from exc
        if stays:
            journal.append("stays", step=step.name, why=stays)
        elif step.restores:
            journal.append("undone", step=step.name)


def _said(failure: BaseException) -> str:
    return failure.message if isinstance(failure, EdgeguardError) else f"{type(failure).__name__}: {failure}"
