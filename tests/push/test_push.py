"""Pushes to a bare repository, by real Git over files and over SSH, deploy what they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.push.pushes import Push, Pushes
from tests.cluster.ssh import sshd
from tests.deploy.rehearsal import PATIENCE, QUICK, Rehearsal, eventually, furnished, repository
from tests.staying_rehearsal import staying_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Site:
    """A bare repository that deploys a rehearsal, a work tree, and a file without which deploy hooks wait."""

    rehearsal: Rehearsal
    bare: Path
    work: Path
    go: Path

    @property
    def pushes(self) -> Pushes:
        return Pushes(self.rehearsal.state / "rehearsal" / "pushes")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **QUICK, "GIT_CONFIG_GLOBAL": os.devnull}

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.work), *arguments], capture_output=True, check=True, env=self.environment
        )
        return done.stdout.decode().strip()

    def new_commit(self, subject: str = "A site", *more: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
        self.git(*who, "commit", "--quiet", "--allow-empty", f"--message={subject}", *more)
        return self.git("rev-parse", "HEAD")

    def push(self, *arguments: str) -> subprocess.Popen[str]:
        """A push that has begun, in a session of its own."""
        return subprocess.Popen(
            ["git", "-C", str(self.work), "push", f"file://{self.bare}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def pushed(self, *arguments: str) -> list[str]:
        """What a push says that ends well, without Git's prefix."""
        return heard(self.push(*arguments))

    def retry(self) -> str:
        ended = self.rehearsal.run("git", "receive", str(self.bare), "rehearsal=main", "--retry")
        assert ended.code == 0, ended.err
        return ended.out

    def deployed(self) -> list[str]:
        """The commits of the deploys that ended well, in their order."""
        done = [each for each in self.pushes.read().ended if each.how == "deployed"]
        assert {each.code for each in done} == {0}
        return [each.commit for each in done]

    def runs(self, pushed: str) -> None:
        """Wait until the deploy of this commit is in its hook, which waits."""
        eventually(lambda: (self.pushes.read().running or NOBODY).commit == pushed)
        eventually(self.go.with_name("in-hook").exists)


NOBODY = Push("", "", "", "", "", "")


def processes() -> Iterator[tuple[int, list[str]]]:
    """Every process with its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield int(path.parent.name), path.read_text(errors="replace").split("\0")


def heard(push: subprocess.Popen[str]) -> list[str]:
    out, _ = push.communicate(timeout=PATIENCE)
    assert push.returncode == 0, out
    return [line.removeprefix("remote: ").rstrip() for line in out.splitlines()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("push")
    with staying_rehearsal(folder / "stderr", "--hook-seconds", "0") as found:
        rehearsal = furnished(found, folder)
        own = (rehearsal.config / "rehearsal.toml").read_text()
        moved = own.replace(str(rehearsal.root), str(folder / "staging"))
        assert moved != own
        (rehearsal.config / "staging.toml").write_text(moved)
        go = folder / "go"
        waiting = f"touch {folder}/in-hook; until [ -e {go} ]; do sleep 0.05; done; rm {folder}/in-hook"
        work = repository(folder / "work", deploy=waiting)
        made = Site(rehearsal, folder / "site.git", work, go)
        installed = rehearsal.run("git", "install", str(made.bare), "rehearsal=main", "staging=staging")
        assert installed.code == 0, installed.err
        yield made


@pytest.fixture(autouse=True)
def hooks_go_on(site: Site) -> None:
    site.go.touch()


def test_a_push_deploys_its_branch_and_says_why_others_are_not(site: Site) -> None:
    pushed = site.new_commit("Colours \x1b[31m and \u202e directions")
    said = site.pushed("main:main", "main:feature-x", "main:refs/tags/v1")

    assert "nothing is deployed for feature-x: here main deploys rehearsal, staging deploys staging" in said
    assert "nothing is deployed for refs/tags/v1: only branches are" in said
    short = pushed[:12]
    subject = r"Colours \x1b[31m and \u202e directions"
    assert f"rehearsal: deploys {short} of main ({subject}); the deploy goes on if you hang up" in said
    assert f"rehearsal: {short} is deployed" in said
    assert [line for line in said if line.startswith("[rehearsal]   swap ")]
    assert site.deployed() == [pushed]
    assert site.pushes.output(1).stat().st_mode & 0o777 == 0o600


def test_another_environment_s_branch_deploys_that_one_alone(site: Site) -> None:
    """This one has no servers yet that could answer: its deploy refuses, and that is told."""
    before = site.deployed()
    said = site.pushed("main:staging")

    assert [line for line in said if line.startswith("staging: the deploy of ") and "exit code 4" in line]
    assert site.deployed() == before


def test_during_a_deploy_the_newest_push_waits_also_if_the_first_pusher_hangs_up(site: Site) -> None:
    """The newest one is a forced one, and deletes another branch."""
    site.go.unlink()
    first = site.new_commit()
    running = site.push("main:main")
    site.runs(first)
    skipped = site.new_commit()
    waiting = site.push("main:main")
    eventually(lambda: (site.pushes.read().waiting or NOBODY).commit == skipped)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
        os.killpg(running.pid, number)
    running.communicate(timeout=PATIENCE)
    newest = site.new_commit("Otherwise", "--amend")
    last = site.push("--force", "main:main", ":staging")

    assert f"rehearsal: {skipped[:12]} is not deployed: push 4 is newer, and is deployed instead" in heard(waiting)
    site.go.touch()
    said = heard(last)
    [line] = [line for line in said if " waits, " in line]
    assert line.startswith(f"rehearsal: {first[:12]} is being deployed; {newest[:12]} of main (Otherwise) (forced: ")
    assert "staging: its branch staging was deleted: nothing is deployed, and what serves stays" in said
    assert f"rehearsal: {newest[:12]} is deployed" in said
    assert site.deployed()[-2:] == [first, newest]


def test_a_connection_may_be_cut(site: Site, tmp_path: Path) -> None:
    with sshd.host(tmp_path) as host:
        site.go.unlink()
        pushed = site.new_commit()
        push = subprocess.Popen(
            ["git", "-C", str(site.work), "push", f"ssh://web1{site.bare}", "main:main"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**site.environment, "GIT_SSH_COMMAND": f"ssh -F {host.config}"},
        )
        site.runs(pushed)
        host.cut()
        said, _ = push.communicate(timeout=PATIENCE)
    assert f"remote: rehearsal: deploys {pushed[:12]}" in said
    site.go.touch()

    eventually(lambda: site.pushes.read().running is None)
    assert site.deployed()[-1] == pushed


def test_a_pusher_may_hang_up_before_the_push_is_noted(site: Site) -> None:
    old, pushed = site.git("rev-parse", "HEAD"), site.new_commit()
    site.pushed("main:elsewhere")
    hook = subprocess.Popen(
        [site.bare / "hooks" / "post-receive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=site.environment
    )
    began = Path(f"/proc/{hook.pid}/cmdline")
    eventually(lambda: b"edgeguard\0git\0receive" in began.read_bytes())
    hook.send_signal(signal.SIGHUP)
    said, _ = hook.communicate(f"{old} {pushed} refs/heads/main\n".encode(), timeout=PATIENCE)

    assert f"rehearsal: {pushed[:12]} is deployed" in said.decode()
    assert site.deployed()[-1] == pushed


def test_if_the_process_that_deploys_is_killed_none_begins_beside_its_deploy(site: Site) -> None:
    site.go.unlink()
    first = site.new_commit()
    running = site.push("main:main")
    site.runs(first)
    serial = (site.pushes.read().running or NOBODY).serial
    argv = ["edgeguard.push.turn", str(site.pushes.folder), str(serial)]
    [turn] = [pid for pid, arguments in processes() if arguments[3:6] == argv]
    os.kill(turn, signal.SIGKILL)
    newest = site.new_commit()
    waiting = site.push("main:main")
    assert waiting.stdout is not None
    line = next(line for line in waiting.stdout if f"{newest[:12]} of main" in line)
    assert " waits, and is deployed next" in line
    site.go.touch()

    assert f"rehearsal: the process that deployed {first[:12]} died; the newer push" in "\n".join(heard(running))
    assert f"rehearsal: {newest[:12]} is deployed" in heard(waiting)


def test_a_push_that_was_left_is_deployed_by_retry_and_by_the_next_push(site: Site) -> None:
    pushed = site.new_commit()
    site.pushed("main:elsewhere")  # the commit comes, and nothing is deployed

    left(site, pushed, taken=False)
    assert f"({pushed[:12]}) was left by a process that died, and is deployed now" in site.retry()
    assert site.deployed()[-1] == pushed
    left(site, pushed, taken=True)
    said = site.pushed("main:feature-y")
    assert [line for line in said if line.startswith("rehearsal: push ") and "is deployed now" in line]
    eventually(lambda: site.pushes.read().running is None)
    assert site.deployed()[-2:] == [pushed, pushed]


def test_retry_deploys_a_branch_that_moved_without_its_hook(site: Site) -> None:
    pushed = site.new_commit()
    unhooked = f"--receive-pack=git -c core.hooksPath={os.devnull} receive-pack"
    site.git("push", "--quiet", unhooked, f"file://{site.bare}", "main:main")

    assert f"rehearsal: {pushed[:12]} is deployed" in site.retry()
    assert site.deployed()[-1] == pushed
    assert "rehearsal: nothing that was pushed to main is left without a deploy" in site.retry()


def test_a_repository_that_refuses_deploys_nothing_meanwhile(site: Site) -> None:
    turn = site.pushes.turn()
    assert turn is not None
    arguments = ("git", "install", str(site.bare), "rehearsal=main", "staging=staging")
    try:
        assert site.rehearsal.run(*arguments, "--busy", "refuse").code == 0
        pushed = site.new_commit()
        said = site.pushed("main:main")
    finally:
        os.close(turn)
        assert site.rehearsal.run(*arguments).code == 0

    [line] = [line for line in said if line.startswith("rehearsal: ")]
    assert f"{pushed[:12]} is not deployed; afterwards, `edgeguard deploy rehearsal --ref {pushed[:12]}`" in line
    assert pushed not in site.deployed()


def left(site: Site, pushed: str, *, taken: bool) -> None:
    """A push is noted (and taken), and the process that did so ends at this moment."""
    program = """
import os, sys
from pathlib import Path
from edgeguard.push.pushes import Push, Pushes
folder, taken, *facts = sys.argv[1:]
Pushes(Path(folder)).add(Push(*facts), refuse=False)
if taken: Pushes(Path(folder)).take()
os._exit(0)
"""
    facts = ("rehearsal", str(site.bare), "main", pushed, str(site.rehearsal.config), str(site.rehearsal.state))
    argv = [sys.executable, "-c", program, str(site.pushes.folder), "yes" if taken else "", *facts]
    subprocess.run(argv, check=True)
