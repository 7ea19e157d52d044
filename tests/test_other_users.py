"""Other users of the machine: what they can enter, hold, replace, or have imported."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard import settings
from edgeguard.cluster.host import account, fence, files, manifest
from edgeguard.cluster.host.errors import NO_ACCOUNT, HostError
from edgeguard.deploy.journal import Journal
from edgeguard.errors import UsageError
from edgeguard.machine import network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534


def as_nobody(act: Callable[[], object]) -> bool:
    """Whether another user can do this. Run by root, a child becomes that user; run by somebody else, it can't."""
    if os.geteuid():
        pytest.skip("only root can become another user")  # CI runs as root
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
        except BaseException:  # noqa: BLE001 (the child has nothing but its code)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody can enter, and a umask that takes nothing away."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    old = os.umask(0)
    yield tmp_path
    os.umask(old)


def test_a_stranger_can_t_hold_a_server_s_lock(shared: Path) -> None:
    server = shared / "servers" / "web1"
    server.mkdir(parents=True)
    (server / "lock").touch(mode=0o666)  # as an earlier version left it

    def hold() -> None:
        with (server / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    assert as_nobody(hold)
    with fence.locked(server):
        pass
    assert not as_nobody(hold)
    assert not as_nobody(lambda: list(server.iterdir()))
    assert stat.S_IMODE((server / "lock").stat().st_mode) == 0o600


def test_a_stranger_can_t_enter_a_run_s_folder(shared: Path) -> None:
    with Journal(shared / "state" / "production" / "run" / "journal.jsonl"):
        pass
    assert not as_nobody(lambda: list((shared / "state" / "production").iterdir()))
    assert not as_nobody(lambda: list((shared / "state" / "production" / "run").iterdir()))


def test_only_root_can_start_an_application_as_another_user() -> None:
    """Whoever is the application's user already needs no rights for that."""

    def refused() -> None:
        with pytest.raises(HostError, match="can't start the application as root") as refusal:
            account.to_become("root")
        assert refusal.value.code == NO_ACCOUNT

    def its_own() -> None:
        assert account.to_become(pwd.getpwuid(NOBODY).pw_name) is None

    assert as_nobody(refused)
    assert as_nobody(its_own)


def test_who_is_not_root_removes_what_is_frozen_too(shared: Path) -> None:
    theirs = shared / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)

    def remove() -> None:
        image = theirs / "image"
        (image / "inner").mkdir(parents=True)
        (image / "inner" / "file").touch()
        manifest.freeze(image)
        manifest.remove(image)

    assert as_nobody(remove)
    assert list(theirs.iterdir()) == []


def test_a_folder_of_another_user_stays_as_it_is(shared: Path) -> None:
    theirs = shared / "theirs"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, NOBODY, NOBODY)
    files.private(theirs)
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o755


def token_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("FASTLY_API_TOKEN", "FASTLY_KEY"):
        monkeypatch.delenv(name, raising=False)
    where = "https://www.example.com"
    return settings.token(settings.EdgeSettings(service="a", url=where, health_url=where, token_file=path))


def test_a_token_file_is_a_small_file_in_a_folder_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("a-token\n")
    assert token_of(path, monkeypatch) == "a-token"
    for mode in (0o777, 0o770, 0o702):
        tmp_path.chmod(mode)
        with pytest.raises(UsageError, match="others can write in"):
            token_of(path, monkeypatch)
    tmp_path.chmod(0o1777)
    assert token_of(path, monkeypatch) == "a-token"
    tmp_path.chmod(0o700)
    path.write_text("x" * 5000)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for other in (path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UsageError, match="is no file, or has more than 4096 bytes"):
            token_of(other, monkeypatch)


@pytest.mark.parametrize(
    ("url", "proxy", "private"),
    [
        ("https://api.invalid", "", "private"),
        ("http://127.0.0.1:9", "", "private"),
        ("http://[::1]:9", "", "private"),
        ("http://api.invalid", "", "in the clear"),
        ("http://api.invalid", "http://127.0.0.1:3128", "private"),
        ("http://api.invalid", "http://proxy.invalid:3128", "in the clear"),
    ],
)
def test_the_token_goes_to_no_other_machine_in_the_clear(
    url: str, proxy: str, private: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    assert network.is_private(url) is (private == "private")


def test_no_python_of_ours_imports_from_the_folder_in_which_a_verb_was_called() -> None:
    """-P leaves that folder out, and -I everything that is not Python's own."""
    package = Path(settings.__file__).parent
    starts = [
        (path.name, found[0])
        for path in package.rglob("*.py")
        if "testing" not in path.parts
        for found in re.finditer(r'sys\.executable, "[^"]*"', path.read_text(encoding="utf-8"))
    ]
    assert len(starts) >= 4
    assert [start for start in starts if not start[1].endswith(('"-P"', '"-I"'))] == []
