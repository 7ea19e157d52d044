"""`git install` writes the hook of a bare repository, once and for all, and leaves what is others' alone."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import UsageError
from edgeguard.machine import process
from edgeguard.push.branches import deploying, updates
from edgeguard.push.install import Installation, installation
from edgeguard.push.pushes import Push, Pushes
from edgeguard.push.turn import Kept

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = """
[application]
repository = "/nowhere"
branch = "main"
[cluster]
root = "/nowhere/root"
[edge]
service = "abc"
url = "https://www.example.com"
health_url = "https://www.example.com/health"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    for name in ("production", "staging"):
        (folder / f"{name}.toml").write_text(ENVIRONMENT)
    return folder


@pytest.fixture
def made(tmp_path: Path, config: Path) -> Installation:
    said = {"production": "main", "staging": "it's $(here)"}
    return installation(tmp_path / "new" / "a site.git", said, config=config, state=tmp_path / "state", refuse=False)


def hook(made: Installation) -> Path:
    return made.repository / "hooks" / "post-receive"


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def test_a_repository_is_made_with_its_hook_and_repeating_changes_nothing(made: Installation) -> None:
    assert len(made.acts()) == 2
    assert not made.repository.exists()
    assert made.install() == [f"make the bare repository {made.repository}", f"write its hook {hook(made)}"]
    before = hook(made).stat()
    assert made.acts() == made.install() == []

    assert hook(made).stat() == before
    assert before.st_mode & 0o777 == 0o755
    command = hook(made).read_text().splitlines()[-1].removeprefix("exec ").removesuffix(' "$@"')
    argv = shlex.split(command)
    assert argv[:2] == [sys.executable, "-P"]
    assert {"staging=it's $(here)", str(made.config), str(made.state), str(made.repository)} <= set(argv)


def test_a_hook_of_ours_is_rewritten(made: Installation) -> None:
    made.install()
    other = installation(made.repository, {"production": "live"}, config=made.config, state=made.state, refuse=True)

    assert other.install() == [f"rewrite its hook {hook(made)}"]
    assert "production=live" in hook(made).read_text()
    assert "--busy refuse" in hook(made).read_text()


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_hook_of_somebody_else_s_stays_and_the_line_to_add_is_told(made: Installation, kind: str) -> None:
    made.install()
    hook(made).unlink()
    if kind == "folder":
        hook(made).mkdir()
    elif kind == "file":
        hook(made).write_text("#!/bin/sh\nexec mail\n")
    else:
        hook(made).symlink_to("/nowhere/shared")
    for act in (made.acts, made.install):
        with pytest.raises(UsageError) as refused:
            act()
        assert made.command in refused.value.remedy
    assert kind != "file" or hook(made).read_text() == "#!/bin/sh\nexec mail\n"


def test_only_a_bare_repository_or_an_empty_place_is_taken(made: Installation, tmp_path: Path) -> None:
    made.repository.mkdir(parents=True)
    git(tmp_path, "init", "--quiet", str(made.repository))
    with pytest.raises(UsageError, match="no bare repository"):
        made.install()
    git(tmp_path, "init", "--quiet", "--bare", str(tmp_path / "bare"))
    there = installation(tmp_path / "bare", made.deploying, config=made.config, state=made.state, refuse=False)

    assert len(there.install()) == 1


def test_hooks_that_other_repositories_share_are_not_written(made: Installation, tmp_path: Path) -> None:
    made.install()
    git(made.repository, "config", "core.hooksPath", str(tmp_path / "shared"))

    with pytest.raises(UsageError, match="hooksPath"):
        made.install()
    assert not (tmp_path / "shared").exists()


def test_what_would_surprise_later_is_told(made: Installation) -> None:
    said = "\n".join(made.advice())

    assert "production by hand takes application.repository" in said
    assert "staging by hand takes application.branch, which is main" in said
    assert "production has no edge.token_file" in said


@pytest.mark.parametrize(
    "said",
    [
        "production",
        "production=",
        "production=-main",
        "production=a..b",
        "nowhere=main",
        "../x=main",
        "production=a\nb",
    ],
)
def test_names_that_can_t_be_are_refused(config: Path, said: str) -> None:
    with pytest.raises(UsageError):
        deploying([said], config)


def test_a_branch_may_deploy_several_environments(config: Path) -> None:
    assert deploying(["production=main", "staging=main"], config) == {"production": "main", "staging": "main"}


def test_an_environment_has_one_branch(config: Path) -> None:
    with pytest.raises(UsageError, match="twice"):
        deploying(["production=a", "production=b"], config)


@pytest.mark.parametrize("said", [b"hello\n", b"0 0 refs/heads/main\n", b"a" * 40 + b" refs/heads/main\n"])
def test_lines_that_are_not_git_s_are_refused(said: bytes) -> None:
    with pytest.raises(UsageError, match="not what Git tells"):
        updates(said)


def test_a_ref_s_name_may_be_of_any_bytes() -> None:
    zero, one = b"0" * 40, b"1" * 40
    gone, tag = updates(one + b" " + zero + b" refs/heads/b\xff\xc2\x9b\n" + zero + b" " + one + b" refs/tags/v1\n")

    assert gone.new is None
    assert gone.branch == "b\udcff\x9b"
    assert tag.branch is None


def test_a_hook_s_repository_does_not_lead_other_calls_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("EDGEGUARD_EDGE__PROPAGATION", "1")

    assert "/nowhere" not in process.outside_of_git().values()
    assert process.outside_of_git()["EDGEGUARD_EDGE__PROPAGATION"] == "1"


def a_push(commit: str) -> Push:
    return Push("production", "/srv/site.git", "main", commit * 40, "/config", "/state")


def test_only_one_push_waits_and_a_free_turn_is_given_with_it(tmp_path: Path) -> None:
    pushes = Pushes(tmp_path / "pushes")
    first, turn = pushes.add(a_push("1"), refuse=False)
    assert turn is not None
    assert pushes.take() == first
    second, none = pushes.add(a_push("2"), refuse=False)
    third, _ = pushes.add(a_push("3"), refuse=False)
    refused, _ = pushes.add(a_push("4"), refuse=True)

    assert none is None
    assert pushes.turn() is None
    told = pushes.read()
    assert (told.running, told.waiting, told.newest) == (first, third, "4" * 40)
    assert [(each.serial, each.how, each.instead) for each in told.ended] == [
        (second.serial, "skipped", third.serial),
        (refused.serial, "refused", None),
    ]
    pushes.end(first, 0)
    assert pushes.take() == third
    assert pushes.left() is None
    assert not pushes.is_left(third.serial)
    os.close(turn)
    assert pushes.is_left(third.serial)
    assert not pushes.is_left(first.serial)


def test_a_push_that_a_dead_process_took_is_taken_again_unless_a_newer_one_waits(tmp_path: Path) -> None:
    pushes = Pushes(tmp_path / "pushes")
    first, turn = pushes.add(a_push("1"), refuse=False)
    assert turn is not None
    pushes.take()
    os.close(turn)
    found = pushes.left()
    assert found is not None
    assert found[0] == first
    again = pushes.take()
    assert again is not None
    assert (again.serial, again.again) == (first.serial, True)
    second, _ = pushes.add(a_push("2"), refuse=False)
    assert pushes.take() == second
    assert [(each.serial, each.how, each.instead) for each in pushes.read().ended] == [(1, "died", 2)]
    os.close(found[1])


def test_the_last_pushes_are_kept_with_their_output(tmp_path: Path) -> None:
    pushes = Pushes(tmp_path / "pushes")
    for _ in range(25):
        push, turn = pushes.add(a_push("1"), refuse=False)
        pushes.output(push.serial).touch()
        assert turn is not None
        assert pushes.take() == push
        pushes.end(push, 0)
        os.close(turn)

    assert [each.serial for each in pushes.read().ended] == list(range(6, 26))
    assert sorted(int(path.stem) for path in pushes.folder.glob("*.out")) == list(range(6, 26))


def test_the_end_of_a_long_output_is_kept(tmp_path: Path) -> None:

    kept = Kept(tmp_path / "1.out")
    for number in range(100_000):
        kept.line(f"{number:06} {'x' * 60}")
    kept.line("the end")
    kept.close()
    lines = (tmp_path / "1.out").read_text().splitlines()

    assert (tmp_path / "1.out").stat().st_size < 2**22 + 2**17
    assert (lines[0][:6], lines[-1]) == ("000000", "the end")
    assert [line for line in lines if "bytes of the output are left out here" in line]
