from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from edgeguard.release import application_file, toolchain

if TYPE_CHECKING:
    from pathlib import Path

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_only_the_first_interpreter_that_fits_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim in front of an interpreter may take a tenth of a second to answer."""
    for name in (f"python{MINOR}", "python3"):
        shim = tmp_path / name
        shim.write_text(f'#!/bin/sh\necho {name} >> {tmp_path}/asked\nexec "{sys.executable}" "$@"\n')
        shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    text = f"name: app\ntype: python:{MINOR}\nweb:\n  commands:\n    start: run\n"
    [tool] = toolchain.find(application_file.parse(text.encode()))
    assert (tool.version, tool.warning) == (sys.version.split()[0], "")
    assert (tmp_path / "asked").read_text() == f"python{MINOR}\n"


@pytest.mark.parametrize(("wanted", "names"), [("3.99.1", {"python", "python3.99"}), ("3.99/../../x", {"python"})])
def test_a_hook_finds_the_interpreter_by_the_name_of_the_version_that_is_wanted(
    tmp_path: Path, wanted: str, names: set[str]
) -> None:
    text = f"name: app\ntype: python:{wanted}\nweb:\n  commands:\n    start: run\n"
    [tool] = toolchain.find(application_file.parse(text))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    for _ in range(2):
        tool.settle(tmp_path)

    assert tool.warning
    assert names == {path.name for path in tmp_path.rglob("*") if not path.is_dir()}
