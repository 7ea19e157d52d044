"""The suite as a driver's author runs it: by its options, from an empty folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Everything that has to be filled in, and nothing else.
WORLD = """
from edgeguard import testing
from edgeguard.testing import local

class World(testing.World):
    def start(self):
        self.inner = local.World(self.driver, self.folder)
        self.inner.start()
        self.address = self.inner.address

    def settings(self):
        return self.inner.settings()

    def end(self):
        self.inner.end()
"""


def suite(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, over modules of the suite."""
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--pyargs", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_test_that_needs_what_a_world_lacks_is_skipped_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "small_world.py").write_text(WORLD, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    ran = suite(tmp_path, "edgeguard.testing.test_closing", "--edgeguard-world", "small_world", "-k", "say_so or died")
    assert "PASSED" in ran.stdout, ran.stdout
    assert "1 passed, 1 skipped" in ran.stdout
    assert "small_world.World does not fill in `end_gate`: end the gate" in ran.stdout


def test_the_driver_is_found_by_its_name(tmp_path: Path) -> None:
    chosen = ("--edgeguard-driver", "nonesuch", "--edgeguard-world", "edgeguard.testing.local")
    ran = suite(tmp_path, "edgeguard.testing.test_record", *chosen, "-k", "has_none")
    assert "there is no driver 'nonesuch'" in ran.stdout
    assert "1 error" in ran.stdout


def test_a_driver_needs_a_world(tmp_path: Path) -> None:
    ran = suite(tmp_path, "edgeguard.testing", "--edgeguard-driver", "ours")
    assert ran.returncode == 4
    assert ran.stderr.startswith("ERROR: --edgeguard-driver needs --edgeguard-world")


def test_every_module_of_the_suite_is_in_the_suite() -> None:
    folder = Path(__file__).parents[2] / "edgeguard" / "testing"
    said = (folder / "suite.py").read_text(encoding="utf-8")
    assert [
        path.stem for path in folder.glob("test_*.py") if f"edgeguard.testing.{path.stem} import *" not in said
    ] == []
