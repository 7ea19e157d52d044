"""Real programs in real namespaces. A machine that can make none has nothing to test; CI always can."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeguard.errors import UsageError
from edgeguard.machine import process
from edgeguard.machine.sandbox import Sandbox, Seclusion, second_best

EVERY = tuple(Seclusion)
PATH = "/usr/local/bin:/usr/bin:/bin"


class Place:
    """A folder in which programs run, and what they have said."""

    def __init__(self, folder: Path, seclusion: Seclusion) -> None:
        self.folder = folder / "place"
        self.seclusion = seclusion
        self.said: list[str] = []
        self.folder.mkdir()

    def run(self, *argv: str, sandbox: Sandbox | None = None, **env: str) -> int:
        self.said.clear()
        sandbox = sandbox or Sandbox(writable=(self.folder,), home=self.folder)
        with sandbox.around(self.seclusion, argv, {"PATH": PATH, **env}, self.folder) as command:
            return process.run(
                command.argv,
                cwd=self.folder,
                env=command.environment,
                limit=60,
                cancelled=lambda: False,
                output=self.said.append,
                inherit=command.descriptors,
            )


@pytest.fixture(params=EVERY, ids=[each.value for each in EVERY])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The same expectations hold however well the program is secluded."""
    best = second_best() if Sandbox().lack() else Seclusion.SANDBOX
    if EVERY.index(request.param) < EVERY.index(best) and not os.environ.get("CI"):
        pytest.skip("this seclusion can't be had here")
    return Place(tmp_path, request.param)


def test_a_program_ends_as_it_would(place: Place) -> None:
    assert [place.run("sh", "-c", f"exit {code}") for code in (0, 7, 255)] == [0, 7, 255]
    assert place.run("sh", "-c", "pwd; echo 'a  b' \"$1\" >&2; umask", "sh", "*") == 0
    assert place.said == [str(place.folder), "a  b *", "0022"]
    assert place.run("sh", "-c", "kill -9 $$") in (-9, 128 + 9)
    with pytest.raises(UsageError, match="no-such-program can't be run here"):
        place.run("no-such-program")


def test_it_has_its_variables_and_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_OURS", "sentinel")

    assert place.run("env", "-0", LINES="a\nb", EMPTY="", EQUALS="a=b") == 0

    found = set("\n".join(place.said).rstrip("\0").split("\0")) - {f"PWD={place.folder}"}
    assert found == {f"PATH={PATH}", "LINES=a\nb", "EMPTY=", "EQUALS=a=b"}


def test_what_it_leaves_behind_is_ended(place: Place) -> None:
    assert place.run("sh", "-c", "trap '' TERM; sleep 60 & echo $$") == 0
    assert place.run("sh", "-c", "exec setsid sleep 60 & exec true") == 0


WHO_SEES = """
#include <stdlib.h>
#include <stdio.h>
__attribute__((constructor)) static void seen(void) {
    FILE *to = fopen(getenv("SEEN"), "a");
    char name[64], said[65536];
    for (int pid = 1; to && pid < 400000; pid++) {
        snprintf(name, sizeof name, "/proc/%d/environ", pid);
        FILE *from = fopen(name, "r");
        if (!from) continue;
        fwrite(said, 1, fread(said, 1, sizeof said, from), to);
        fclose(from);
    }
    if (to) fclose(to);
}
"""


@pytest.mark.parametrize("place", EVERY[:2], indirect=True)
@pytest.mark.skipif(shutil.which("cc") is None and not os.environ.get("CI"), reason="no C compiler here")
def test_the_variables_of_the_program_reach_nothing_outside_of_its_seclusion(place: Place) -> None:
    """A library that LD_PRELOAD names would read the environments of all processes of this user."""
    library, source = place.folder / "seen.so", place.folder / "seen.c"
    source.write_text(WHO_SEES)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    with subprocess.Popen(["sleep", "60"], env={"TOKEN": "sentinel", "PATH": PATH}) as other:
        try:
            assert place.run("true", LD_PRELOAD=str(library), SEEN=str(place.folder / "seen")) == 0
        finally:
            other.kill()

    seen = (place.folder / "seen").read_bytes()
    assert b"LD_PRELOAD=" in seen
    assert b"sentinel" not in seen


def test_the_sandbox_shows_nothing_but_what_it_should(tmp_path: Path) -> None:
    place = Place(tmp_path, Seclusion.SANDBOX)
    if Sandbox().lack() and not os.environ.get("CI"):
        pytest.skip("there is no sandbox here")
    for name in ("link", "shown", "not-shown"):
        (tmp_path / name).mkdir() if name != "link" else (tmp_path / name).symlink_to("shown")
    (tmp_path / "shown/a").write_text("a")
    sandbox = Sandbox(writable=(place.folder,), readable=(tmp_path / "link",))

    assert place.run("sh", "-c", f"ls {tmp_path}; cat {tmp_path}/link/a", sandbox=sandbox) == 0
    assert place.said == ["link", "place", "shown", "a"]
    for denied in (tmp_path / "shown/b", Path("/b"), Path("/usr/b"), Path("/etc/b")):
        assert place.run("sh", "-c", f"touch {denied}", sandbox=sandbox) == 1
        assert "Read-only file system" in place.said[0]
    assert place.run("sh", "-c", f"echo kept > kept && touch /tmp/private {tmp_path}/private", sandbox=sandbox) == 0
    assert (place.folder / "kept").read_text() == "kept\n"
    assert not Path("/tmp/private").exists()
    assert not (tmp_path / "private").exists()
    assert (place.folder / "kept").stat().st_uid == os.geteuid()


def test_a_sandbox_needs_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Sandbox().lack() == "bubblewrap is not installed"
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions' >&2\nexit 1\n")
    broken.chmod(0o755)
    assert Sandbox().lack() == "bwrap: No permissions"
