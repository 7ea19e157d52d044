"""The people whom an environment's file lets log in."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

import pytest

from edgeguard import settings, sshkeys
from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

LEAST = """
[application]
repository = "/r"
branch = "main"
[cluster]
root = "/srv"
[edge]
service = "s"
url = "https://x"
health_url = "https://x/"
"""
IN_A_FILE = LEAST.replace("[edge]", "users_file = 'people.toml'\n[edge]")


def made(folder: Path, kind: str, bits: int | None = None) -> tuple[str, str]:
    """A new pair of keys: what is in its .pub, and in the other file."""
    path = folder / f"{kind}-{bits}"
    size = [] if bits is None else ["-b", str(bits)]
    argv = ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", "ada@example", "-f", str(path)]
    subprocess.run(argv, check=True)
    return path.with_name(f"{path.name}.pub").read_text(), path.read_text()


def blob(*parts: bytes) -> str:
    return base64.b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).decode()


SK = f"sk-ssh-ed25519@openssh.com {blob(b'sk-ssh-ed25519@openssh.com', b'x' * 32, b'ssh:')}"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
ED = f"ssh-ed25519 {blob(b'ssh-ed25519', b'x' * 32)}"


@pytest.mark.parametrize(
    ("kind", "bits"), [("ed25519", None), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 2048)]
)
def test_keys_as_ssh_keygen_makes_them_are_taken(tmp_path: Path, kind: str, bits: int | None) -> None:
    public, private = made(tmp_path, kind, bits)
    assert sshkeys.checked(public) == public.strip()
    with pytest.raises(ValueError, match="this is a private key") as raised:
        sshkeys.checked(private)
    assert not any(line in str(raised.value) for line in private.splitlines()[1:-1])
    with pytest.raises(ValueError, match="private key"):
        sshkeys.checked(private.splitlines()[1] if kind != "rsa" else private)  # a line of it


def test_keys_of_security_keys_are_taken() -> None:
    ecdsa = f"{SK_ECDSA} " + blob(SK_ECDSA.encode(), b"nistp256", b"\x04" + b"x" * 64, b"ssh:")
    assert [sshkeys.checked(f"{SK}  ada at home"), sshkeys.checked(ecdsa)] == [f"{SK} ada at home", ecdsa]


def test_what_is_no_key_or_a_weak_one_is_refused_and_not_shown(tmp_path: Path) -> None:
    weak, _ = made(tmp_path, "rsa", 1024)
    other = ED.split()[1]
    for text, said in (
        (weak, "2048 to 16384 bits, and this one has 1024"),
        (f'command="sh" {ED}', "no public key without options"),
        (f"restrict {ED}", "no public key without options"),
        (f"ssh-dss {other}", "no public key without options"),
        (f"ssh-ed25519-cert-v01@openssh.com {other}", "no public key without options"),
        (f"ssh-rsa {other}", "no whole ssh-rsa key"),
        (ED[:-8], "no whole ssh-ed25519 key"),
        (f"ssh-ed25519 {blob(b'ssh-ed25519', b'x' * 31)}", "no whole ssh-ed25519 key"),
        (f"ssh-ed25519 {blob(b'ssh-ed25519', b'x' * 32, b'more')}", "no whole ssh-ed25519 key"),
        (f"ecdsa-sha2-nistp256 {blob(b'ecdsa-sha2-nistp256', b'nistp384', b'x' * 65)}", "no whole ecdsa"),
        ("ssh-ed25519 !!!", "no whole ssh-ed25519 key"),
        ("ssh-ed25519", "no whole ssh-ed25519 key"),
        (f"{ED} a\n{ED} b", "comment is not a line"),
        ("", "no public key"),
    ):
        with pytest.raises(ValueError, match=said) as raised:
            sshkeys.checked(text)
        assert other not in str(raised.value)


def load(folder: Path, text: str) -> settings.Settings:
    (folder / "production.toml").write_text(text)
    return settings.load("production", folder)


def user(name: str, *keys: str, more: str = "", table: str = "cluster.users") -> str:
    return f"[[{table}]]\nname = {name!r}\nkeys = {list(keys)!r}\n{more}\n"


def test_users_are_in_the_file_or_in_one_of_their_own(tmp_path: Path) -> None:
    inside = load(tmp_path, LEAST + user("ada", ED, SK, more="role = 'ssh'")).cluster.users
    (tmp_path / "people.toml").write_text(user("ada", ED, SK, table="users"))
    assert load(tmp_path, IN_A_FILE).cluster.users == inside
    assert [(who.name, who.keys, who.role) for who in inside] == [("ada", (ED, SK), "ssh")]
    assert load(tmp_path, LEAST).cluster.users == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (user("Ada", ED), "users.0.name"),
        (user("../x", ED), "users.0.name"),
        (user("ada"), "users.0.keys"),
        (user("ada", ED, more="role = 'admin'"), "users.0.role"),
        (user("ada", ED, more="shell = '/bin/sh'"), "users.0.shell: unknown key"),
        (user("ada", ED) + user("ada", SK), "ada is named twice"),
        (user("ada", ED) + user("bob", f"{ED} of bob"), "ada and bob have the same key"),
        (user("ada", ED, f"{ED} again"), "ada has the same key twice"),
        (user("ada", "-----BEGIN OPENSSH PRIVATE KEY-----"), "users.0.keys.0: this is a private key"),
    ],
)
def test_users_that_make_no_sense_are_refused(tmp_path: Path, text: str, said: str) -> None:
    for content, people in ((LEAST + text, ""), (IN_A_FILE, text.replace("cluster.users", "users"))):
        (tmp_path / "people.toml").write_text(people)
        with pytest.raises(UsageError) as raised:
            load(tmp_path, content)
        assert said in raised.value.message


def test_users_in_two_places_or_without_a_user_to_log_in_as_are_refused(tmp_path: Path) -> None:
    (tmp_path / "people.toml").write_text(user("ada", ED))
    with pytest.raises(UsageError, match="for them, too"):
        load(tmp_path, IN_A_FILE + user("bob", SK))
    with pytest.raises(UsageError, match="can't be read"):
        load(tmp_path, IN_A_FILE.replace("people", "gone"))
    on_hosts = LEAST.replace("[cluster]", '[cluster]\ndriver = "ssh"')
    with pytest.raises(UsageError, match=r"log in as cluster\.user, and there"):
        load(tmp_path, on_hosts + user("ada", ED))
    assert load(tmp_path, on_hosts.replace("[edge]", 'user = "site"\n[edge]') + user("ada", ED)).cluster.users
