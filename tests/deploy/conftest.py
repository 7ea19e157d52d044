"""One rehearsal for all tests of this folder. Each test must leave it as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from edgeguard.deploy import journal, report
from edgeguard.errors import UsageError
from tests.deploy.outcomes import broken_laws, untrue_report
from tests.deploy.rehearsal import Rehearsal, furnished
from tests.staying_rehearsal import staying_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def session_rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    folder = tmp_path_factory.mktemp("rehearsal")
    options = ("--hook-seconds", "1", "--after-hook-failure", "rollback")
    with staying_rehearsal(folder / "stderr", *options) as found:
        yield furnished(found, folder)


@pytest.fixture
def rehearsal(session_rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """The rehearsal. After each test it must be open, on one release, without a lock, and with the base grace."""
    yield session_rehearsal
    try:
        _left_whole(session_rehearsal)
    except BaseException:
        session_rehearsal.rescue()
        raise
    session_rehearsal.commands.clear()


def _left_whole(rehearsal: Rehearsal) -> None:
    after = rehearsal.status()
    assert after["lock"] is None
    assert after["deploy"] is None
    assert [server["open"] for server in after["servers"]] == [True] * 3
    assert len({server["release"] for server in after["servers"]}) == 1
    assert [server["release"] for server in after["servers"]] == [server["running"] for server in after["servers"]]
    assert after["grace"]["in_force"] == after["grace"]["base"]
    for state in {rehearsal.state, *(command.state for command in rehearsal.commands)}:
        journals = {path / "journal.jsonl" for path in report.journals(state / "rehearsal")}
        for path in state.rglob("*.jsonl"):
            if (as_it_is := (path, path.stat().st_size)) not in rehearsal.judged:
                content = path.read_text()
                assert not [secret for secret in rehearsal.secrets if secret in content], path
                if path in journals:
                    with suppress(UsageError):  # a test's own journal, of another version
                        entries = journal.read(path)
                        assert [*broken_laws(entries), *untrue_report(entries)] == [], path
                rehearsal.judged.add(as_it_is)
