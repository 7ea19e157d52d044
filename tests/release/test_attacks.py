"""A build hook attacks the machine that builds, as root and as another user, with and without bubblewrap.

docs/decisions/sandbox.md has the table of what succeeds, and these tests hold it to that.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.machine.sandbox import Sandbox, Seclusion, second_best
from tests.release import attacks
from tests.release.test_image import PLAIN, commit, git, without_bubblewrap

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ANOTHER = 65534
"""The user `nobody`, who has nothing on the machine."""
BUILDS = """
import json, sys
from pathlib import Path
from edgeguard.release import image
from edgeguard.settings import ApplicationSettings

settings = ApplicationSettings(repository=sys.argv[1], branch="main")
build = {"root": Path(sys.argv[2]), "in_use": lambda _: False, "cancelled": lambda: False, "output": lambda _: None}
release = image.build(settings, ref=None, **build)
print((release.folder / "app/found").read_text())
"""


def promised() -> dict[str, dict[bool, bool]]:
    """What the manual says: attack → with bubblewrap (True) or without → whether it succeeds."""
    text = (ROOT / "docs/decisions/sandbox.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (yes|no) \| (yes|no) \|$", text, re.MULTILINE)
    return {name: {True: with_it == "yes", False: without == "yes"} for name, with_it, without in rows}


def python_for(user: int) -> list[str]:
    """The argv of a Python that this user may run, with what edgeguard needs."""
    drop = [] if user == os.geteuid() else ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
    can = "import subprocess, sys, edgeguard.release.image; subprocess.run([sys.executable, '-c', ''], check=True)"
    for program in (sys.executable, "/usr/bin/python3"):
        argv = [*drop, program]
        there = subprocess.run(
            [*argv, "-c", can],
            env=environment(),
            cwd="/",
            check=False,
            capture_output=True,
        )
        if there.returncode == 0:
            return argv
    assert not os.environ.get("CI"), there.stderr
    pytest.skip("no Python here that this user may run")


def environment() -> dict[str, str]:
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    return {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def victim() -> Iterator[int]:
    with subprocess.Popen(["sleep", "120"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can be two users, on Linux")
@pytest.mark.parametrize("user", [0, ANOTHER], ids=["root", "another-user"])
@pytest.mark.parametrize("bubblewrap", [True, False], ids=["bubblewrap", "no-bubblewrap"])
def test_what_a_build_can_do_to_the_machine_is_what_the_manual_says(
    *, bubblewrap: bool, user: int, victim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.environ.get("CI") and (Sandbox().lack() if bubblewrap else second_best() is Seclusion.NONE):
        pytest.skip("this seclusion can't be had here")
    world = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    try:
        if not bubblewrap:
            without_bubblewrap(world, monkeypatch)
        with socket.create_server(("127.0.0.1", 0)) as server:
            found = attack(world, user, {"port": server.getsockname()[1], "pid": victim})
    finally:
        shutil.rmtree(world)

    assert {name: succeeds[bubblewrap] for name, succeeds in promised().items()} == found


def attack(world: Path, user: int, given: dict[str, object]) -> dict[str, bool]:
    """Build as this user, whose secrets lie about, with a token in the environment of the shell that starts it."""
    root, repository = world / "root", world / "repository"
    paths = {
        "token": root / "token",
        "variables": root / "servers/web1/generations/one/variables.json",
        "environment": world / "config/production.toml",
    }
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(attacks.SECRET)
        path.chmod(0o600)
    given |= {"paths": {name: str(path) for name, path in paths.items()}, "outside": str(root / "servers/web1")}
    given |= {"namespace": str(Path("/proc/self/ns/pid").readlink())}
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    hook = f"python3 attacks.py {shlex.quote(json.dumps(given))} > found"
    source = Path(attacks.__file__).read_text(encoding="utf-8")
    yaml = PLAIN + f"hooks: {{build: {json.dumps(hook)}}}\n"
    commit(repository, {".platform.app.yaml": yaml, "attacks.py": source})
    for path in (world, *world.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)
    command = shlex.join([*python_for(user), "-c", BUILDS, str(repository), str(root)])
    ran = subprocess.run(
        ["sh", "-c", f"{command}; exit $?"],
        env={**environment(), "HOME": str(world), "FASTLY_API_TOKEN": attacks.SECRET.decode()},
        cwd=world,
        capture_output=True,
        check=False,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, bool] = json.loads(ran.stdout)
    return result
