"""PLATFORM_PROJECT_ENTROPY is made once for an environment, and stays a secret."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import UsageError
from edgeguard.machine.redaction import redacted
from edgeguard.release import entropy

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_even_by_deploys_that_begin_at_once(tmp_path: Path) -> None:
    root = tmp_path / "new"
    found: list[str] = []
    begin = threading.Barrier(8)

    def first() -> None:
        begin.wait()
        found.append(entropy.of(root))

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert set(found) == {entropy.of(root)}
    assert entropy.of(tmp_path / "another") != found[0]
    assert [path.name for path in root.iterdir()] == ["entropy"]
    assert stat.S_IMODE((root / "entropy").stat().st_mode) == 0o600


def test_it_is_hidden_in_what_is_written_out(tmp_path: Path) -> None:
    (tmp_path / "entropy").write_text("ABCDEFG2" * 7 + "\n")
    entropy.hide(tmp_path)

    assert "ABCDEFG2" not in redacted(f"a hook printed {'ABCDEFG2' * 7}")
    entropy.hide(tmp_path / "an environment that never deployed")


@pytest.mark.parametrize("content", [b"", b"ABC\n", b"\xff" * 56])
def test_a_damaged_one_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "entropy").write_bytes(content)

    with pytest.raises(UsageError, match="entropy is damaged"):
        entropy.of(tmp_path)
    assert (tmp_path / "entropy").read_bytes() == content
