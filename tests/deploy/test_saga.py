from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.deploy import saga
from edgeguard.deploy.journal import Journal, read
from edgeguard.errors import ClusterError, Interrupted
from tests.deploy.outcomes import broken_laws

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Leaf:
    """A step on real files: `do` writes its name into the folder, and `undo` restores the folder's state before."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        fails: str = "",
        failure: BaseException | None = None,
        restores: bool = True,
        stays: str | None = None,
    ) -> None:
        self.name = name
        self.restores = restores
        self._stays = stays
        self._file = folder / name
        self._order = folder / "undone"
        self._fails = fails
        self._given = failure is not None
        self._failure = failure or ClusterError(f"{name} fails", "Mend it.")

    def before(self) -> dict[str, Any]:
        if self._fails == "before":
            raise self._failure
        return {"content": self._file.read_text() if self._file.exists() else None}

    def do(self) -> dict[str, Any]:
        self._file.write_text("half" if self._fails == "do" else "whole")
        if self._fails == "do":
            raise self._failure
        return {"wrote": self.name}

    def undo(self, before: dict[str, Any]) -> str | None:
        if self._stays or not self.restores:
            return self._stays
        if self._fails == "undo":
            raise self._failure if self._given else ClusterError(f"{self.name} stays", "Take it back by hand.")
        with self._order.open("a") as order:
            order.write(self.name)
        if before["content"] is None:
            self._file.unlink(missing_ok=True)
        else:
            self._file.write_text(before["content"])
        return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leaves").mkdir()
    return tmp_path / "leaves"


def told(tmp_path: Path) -> list[tuple[str, str | None]]:
    return [(entry["event"], entry.get("step")) for entry in read(tmp_path / "journal")]


def run(tmp_path: Path, steps: list[Leaf], interrupt: Callable[[], None] = lambda: None) -> None:
    try:
        with Journal(tmp_path / "journal") as journal:
            saga.run(steps, journal, interrupt=interrupt)
    finally:
        assert [*broken_laws(read(tmp_path / "journal"))] == []


def test_all_steps_are_done_in_their_order(tmp_path: Path, folder: Path) -> None:
    run(tmp_path, [Leaf(folder, "a"), Leaf(folder, "b")])
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    assert told(tmp_path) == [("begin", "a"), ("done", "a"), ("begin", "b"), ("done", "b")]


def test_what_began_is_taken_back_last_first_also_the_step_that_failed_half_way(tmp_path: Path, folder: Path) -> None:
    (folder / "a").write_text("old")
    with pytest.raises(ClusterError, match="c fails"):
        run(tmp_path, [Leaf(folder, "a"), Leaf(folder, "b"), Leaf(folder, "c", fails="do"), Leaf(folder, "d")])
    assert (folder / "undone").read_text() == "cba"
    assert (folder / "a").read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "undone"]
    assert told(tmp_path)[4:] == [
        ("begin", "c"),
        ("failed", "c"),
        *(("undoing", "c"), ("undone", "c")),
        *(("undoing", "b"), ("undone", "b")),
        *(("undoing", "a"), ("undone", "a")),
    ]


def test_a_step_that_could_not_see_what_was_there_did_not_begin(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ClusterError, match="b fails"):
        run(tmp_path, [Leaf(folder, "a"), Leaf(folder, "b", fails="before")])
    assert (folder / "undone").read_text() == "a"
    assert ("begin", "b") not in told(tmp_path)


def test_what_was_there_is_written_down_before_anything_is_done(tmp_path: Path, folder: Path) -> None:
    (folder / "a").write_text("old")
    seen = []
    with Journal(
        tmp_path / "journal",
        listen=lambda entry: seen.append((entry["event"], (folder / "a").read_text(), read(tmp_path / "journal")[-1])),
    ) as journal:
        saga.run([Leaf(folder, "a")], journal)
    event, content, written = seen[0]
    assert (event, content) == ("begin", "old")
    assert written["before"] == {"content": "old"}


def test_taking_back_is_written_down_before_it_happens(tmp_path: Path, folder: Path) -> None:
    seen = []
    with (
        Journal(
            tmp_path / "journal", listen=lambda entry: seen.append((entry["event"], (folder / "a").exists()))
        ) as journal,
        pytest.raises(ClusterError),
    ):
        saga.run([Leaf(folder, "a", fails="do")], journal)
    assert ("undoing", True) in seen
    assert ("undone", False) in seen


def test_where_an_undo_fails_everything_before_it_stays_in_force(tmp_path: Path, folder: Path) -> None:
    steps = [Leaf(folder, "a"), Leaf(folder, "b", fails="undo"), Leaf(folder, "c"), Leaf(folder, "d", fails="do")]
    with pytest.raises(saga.UndoFailed, match="taking back b failed: b stays") as caught:
        run(tmp_path, steps)
    assert caught.value.step == "b"
    assert str(caught.value.failure) == "d fails"
    assert caught.value.remedy == "Take it back by hand."
    assert (folder / "undone").read_text() == "dc"
    assert (folder / "a").read_text() == "whole"
    assert told(tmp_path)[-1] == ("undo-failed", "b")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ZeroDivisionError("a bug"), SystemExit(3)])
def test_whatever_is_raised_everything_is_taken_back(tmp_path: Path, folder: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)):
        run(tmp_path, [Leaf(folder, "a"), Leaf(folder, "b", fails="do", failure=failure)])
    assert (folder / "undone").read_text() == "ba"
    assert (
        type(failure).__name__
        in next(entry for entry in read(tmp_path / "journal") if entry["event"] == "failed")["error"]
    )


def test_an_interrupt_is_heard_between_two_steps(tmp_path: Path, folder: Path) -> None:
    def interrupt() -> None:
        if (folder / "a").exists():
            raise Interrupted("interrupted by SIGTERM")

    with pytest.raises(Interrupted):
        run(tmp_path, [Leaf(folder, "a"), Leaf(folder, "b")], interrupt)
    assert (folder / "undone").read_text() == "a"
    assert told(tmp_path)[1:] == [("done", "a"), ("failed", None), ("undoing", "a"), ("undone", "a")]


def test_only_a_step_that_was_really_taken_back_is_told_as_undone(tmp_path: Path, folder: Path) -> None:
    steps = [Leaf(folder, "a", stays="the origins are sick"), Leaf(folder, "b", restores=False)]
    with pytest.raises(ClusterError):
        run(tmp_path, [*steps, Leaf(folder, "c", fails="do")])
    assert told(tmp_path)[4:] == [
        *(("begin", "c"), ("failed", "c")),
        *(("undoing", "c"), ("undone", "c")),
        *(("undoing", "a"), ("stays", "a")),
    ]


def test_nothing_is_done_that_cannot_be_written_down(folder: Path) -> None:
    """The intent is written first, so on a full disk the step is not begun."""

    class Full:
        def append(self, event: str, **_: Any) -> None:  # noqa: ANN401 (as a journal)
            if event == "begin":
                raise ClusterError("no space left")

    with pytest.raises(ClusterError, match="no space"):
        saga.run([Leaf(folder, "a")], Full())
    assert not (folder / "a").exists()


def test_an_undo_with_a_bug_stops_the_unwinding_like_one_that_fails(tmp_path: Path, folder: Path) -> None:
    steps = [Leaf(folder, "a"), Leaf(folder, "b", fails="undo", failure=OSError("gone")), Leaf(folder, "c", fails="do")]
    with pytest.raises(saga.UndoFailed, match="taking back b failed: OSError: gone"):
        run(tmp_path, steps)
    assert (folder / "a").read_text() == "whole"
    assert told(tmp_path)[-1] == ("undo-failed", "b")
