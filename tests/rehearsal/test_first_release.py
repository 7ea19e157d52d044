"""The commit that serves first in a rehearsal of somebody's repository."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from edgeguard.rehearsal.world import _before as before

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgSign=false")


def committed(repository: Path) -> str:
    for arguments in (("add", "--all"), (*IDENTITY, "commit", "--quiet", "--allow-empty", "--message=a change")):
        subprocess.run(["git", "-C", str(repository), *arguments], check=True)
    said = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, check=True)
    return said.stdout.decode().strip()


def test_it_is_the_one_before_unless_that_has_no_application_s_file(tmp_path: Path) -> None:
    """So an application can be rehearsed by the very commit that brings its file."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "server.py").touch()
    without = committed(tmp_path)
    (tmp_path / ".platform.app.yaml").write_text("name: a\n", encoding="utf-8")
    brings = committed(tmp_path)
    later = committed(tmp_path)
    assert before(tmp_path, without) == without
    assert before(tmp_path, brings) == brings
    assert before(tmp_path, later) == brings
