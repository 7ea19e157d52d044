"""What goes wrong between ssh and a host has one sentence and a remedy, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import archive
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.ssh import command, trouble
from edgeguard.cluster.ssh.command import Target
from tests.cluster.ssh import sshd

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.cluster.ssh.connection import Connection


def refused(host: sshd.Host, match: str, remedy: str, target: Target | None = None, *, opening: float = 30.0) -> str:
    """The sentence with which an act is refused on this host."""
    with closing(host.connection(target, opening=opening)) as connection, pytest.raises(HostError, match=match) as told:
        connection.ask("greet")
    assert remedy in told.value.remedy
    assert "\n" not in told.value.message + told.value.remedy
    return told.value.message


def asked_for_ever(connection: Connection) -> None:
    while True:
        connection.ask("greet")


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def answers(path: Path, python: str) -> str:
    """A `python3` that says it is ready, and answers as this Python source does, which has `lines` of requests."""
    return script(
        path,
        f"""#!{sys.executable}
import base64, re, sys
code = base64.b64decode(re.search("b64decode.'(.*)'", sys.argv[-1])[1]).decode()
print("\\n" + re.search("nonce = '(.*)'", code)[1] + " ready", flush=True)
lines = sys.stdin
{python}
""",
    )


def restarted(host: sshd.Host, *more: str) -> None:
    host.stop()
    host.start(*more)


def test_an_unknown_host_key(host: sshd.Host) -> None:
    host.known.write_text("")
    refused(host, rf"the host key of \[127.0.0.1\]:{host.port} is not known here", "ssh -F")


def test_a_changed_host_key(host: sshd.Host, tmp_path: Path) -> None:
    sshd.keygen(tmp_path / "another")
    host.know("another.pub")
    refused(
        host,
        "its host key is not the one that is known here",
        f"ssh-keygen -f '{host.known}' -R '[127.0.0.1]:{host.port}'",
    )


def test_a_refused_key(host: sshd.Host) -> None:
    host.authorized.write_text("")
    refused(host, "the host refuses the user or the key", "ssh-add -l")


def test_an_agent_that_is_gone(host: sshd.Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    host.authorized.write_text("")
    refused(host, f"no agent answers at {tmp_path / 'gone'}", "Start it")


def test_an_identity_of_ones_own(host: sshd.Host, tmp_path: Path) -> None:
    other = sshd.keygen(tmp_path / "other")
    host.authorized.write_text((tmp_path / "other.pub").read_text())
    host.client("Host *", "IdentityFile /nowhere")
    refused(host, "the host refuses the user or the key", "ssh-add -l")
    with closing(host.connection(host.target(identity=str(other)))) as connection:
        assert connection.ask("greet")["user"] == os.geteuid()


def test_a_name_that_is_not_found(host: sshd.Host) -> None:
    host.client("HostName nowhere.invalid")
    refused(host, "the name nowhere.invalid is not found", "Correct `hosts`")


def test_a_port_at_which_nothing_listens(host: sshd.Host) -> None:
    host.stop()
    refused(host, rf"nothing listens at 127.0.0.1, port {host.port}", "sshd")
    host.start()


def test_a_port_that_accepts_and_says_nothing(host: sshd.Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host.client(f"Port {silent.getsockname()[1]}")
        refused(host, "did not start within 1 s", "ssh -F", opening=1)


def test_a_port_at_which_something_else_listens(host: sshd.Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        host.client(f"Port {other.getsockname()[1]}", "ProxyCommand printf 'HTTP/1.0 400 no\\n\\n'")
        refused(host, "it ends connections before anybody can log in", "Is it an sshd")


def test_an_sshd_that_lets_nobody_else_in(host: sshd.Host) -> None:
    restarted(host, "MaxStartups 1:100:1")
    with socket.create_connection(("127.0.0.1", host.port)) as first:
        assert first.recv(4) == b"SSH-"
        refused(host, "it ends connections before anybody can log in", "MaxStartups")


def test_more_keys_than_the_host_looks_at(host: sshd.Host, tmp_path: Path) -> None:
    restarted(host, "MaxAuthTries 1")
    host.client(*(f"IdentityFile {sshd.keygen(tmp_path / name)}" for name in "ab"))
    refused(host, "the host has refused the first keys", "`identity_file`")


def test_an_sshd_of_another_age(host: sshd.Host) -> None:
    host.client("Ciphers 3des-cbc")
    refused(host, "ssh and its sshd have no algorithm in common", "ssh -v -F")


@pytest.mark.parametrize(
    ("code", "words", "meaning"),
    [
        (255, "Connection timed out during banner exchange\r\n", "it accepts connections and says nothing"),
        (255, "ssh: connect to host ::1 port 7: Connection timed out\r\n", "::1, port 7, does not answer"),
        (255, "ssh: connect to host h port 22: No route to host\r\n", "there is no way to the host"),
        (1, "sudo: Command not found.\n", "there is no sudo"),  # tcsh
        (127, "fish: Unknown command: sudo\n", "there is no sudo"),
        (127, "zsh:1: command not found: sudo\n", "there is no sudo"),
        (1, "sudo: python3: command not found\n", "there is no python3"),
        (1, "python3: Command not found.\n", "there is no python3"),
        (2, "Unknown option: -I\nusage: python [option]\n", "its Python can't run edgeguard's host program"),  # 2.7
        (1, "sudo: sorry, you must have a tty to run sudo\n", "sudo wants a terminal there"),
        (255, "client_loop: send disconnect: Broken pipe\r\n", "the connection was cut"),
        (None, "", "the connection was cut"),
    ],
)
def test_words_that_other_hosts_say(code: int | None, words: str, meaning: str) -> None:
    told = trouble.of(Target("web1", "web1"), code, words.encode())
    assert told.message.startswith(meaning)
    assert told.remedy


def test_a_host_that_hangs_after_the_login(host: sshd.Host) -> None:
    restarted(host, "ForceCommand sleep 600")
    refused(host, "did not start within 2 s", "login scripts", opening=2)


def test_login_scripts_that_print(host: sshd.Host) -> None:
    restarted(host, "ForceCommand echo welcome; printf 'no end'; echo oh >&2; eval \"$SSH_ORIGINAL_COMMAND\"")
    with closing(host.connection()) as connection:
        assert connection.ask("greet")["user"] == os.geteuid()


def test_login_scripts_that_print_without_end(host: sshd.Host) -> None:
    restarted(host, "ForceCommand yes")
    refused(host, "login scripts print more than 65536 bytes", "no terminal")


def test_login_scripts_that_print_later(host: sshd.Host) -> None:
    restarted(host, 'ForceCommand (sleep 1; echo boo) & eval "$SSH_ORIGINAL_COMMAND"')
    with closing(host.connection()) as connection, pytest.raises(HostError, match="a line that is no answer") as told:
        asked_for_ever(connection)
    assert "login script" in told.value.remedy


def test_a_user_who_may_not_log_in(host: sshd.Host) -> None:
    """What `nologin` prints is the only thing that says why."""
    restarted(host, "ForceCommand /usr/sbin/nologin")
    refused(host, "This account is currently not available", "ssh -F")


def test_no_python(host: sshd.Host) -> None:
    refused(host, "there is no python-nowhere", "python3", host.target(python="python-nowhere"))
    refused(host, "there is no /nowhere/python", "python3", host.target(python="/nowhere/python"))


def test_an_old_python(host: sshd.Host, tmp_path: Path) -> None:
    older = script(
        tmp_path / "python3",
        f"#!/bin/sh\nexec {sys.executable} -I -S -c 'import sys; sys.version_info = (3, 8, 18); "
        'sys.version = "3.8.18 (default)"; exec(sys.argv[1])\' "$4"\n',
    )
    refused(host, "its Python is 3.8.18; 3.9 or newer is needed", "[cluster.options]", host.target(python=older))


def test_a_python_with_half_of_its_library(host: sshd.Host, tmp_path: Path) -> None:
    half = script(
        tmp_path / "python3",
        f"#!/bin/sh\nexec {sys.executable} -I -S -c "
        """'import sys; sys.modules["json"] = None; exec(sys.argv[1])' "$4"
""",
    )
    refused(host, "its Python lacks json", "python3-minimal", host.target(python=half))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_sudo_that_wants_a_password(host: sshd.Host) -> None:
    restarted(host, 'ForceCommand setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "$SSH_ORIGINAL_COMMAND"')
    refused(host, "sudo wants a password there", "visudo", host.target(sudo=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_is_neither_root_nor_uses_sudo(host: sshd.Host) -> None:
    host.root.mkdir(mode=0o700)
    restarted(host, 'ForceCommand setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "$SSH_ORIGINAL_COMMAND"')
    refused(host, "can't be put there: .*Permission denied", "`sudo = true`")


def test_no_sudo(host: sshd.Host) -> None:
    restarted(host, f'ForceCommand PATH=/nowhere; {shutil.which("sh")} -c "$SSH_ORIGINAL_COMMAND"')
    refused(host, "there is no sudo", "log in as root", host.target(sudo=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="root may use sudo without a password")
def test_with_sudo_only_prepare_puts_the_host_program_there(host: sshd.Host) -> None:
    refused(host, r"host/[0-9a-f]{64}\.pyz is not there", "Run `edgeguard cluster prepare`", host.target(sudo=True))
    assert not host.root.exists()
    with closing(host.connection(host.target(sudo=True), may_install=True)) as connection:
        assert connection.ask("greet")["user"] == 0
    with closing(host.connection(host.target(sudo=True))) as connection:
        assert connection.ask("greet")["user"] == 0


def test_a_host_program_that_was_changed_is_named_and_stays(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        connection.ask("greet")
    (there,) = (host.root / "host").iterdir()
    there.write_bytes(there.read_bytes()[:-1] + b"x")
    changed = there.read_bytes()
    assert refused(host, "is not the host program that its name says", "remove it there").startswith(str(there))
    assert there.read_bytes() == changed
    there.unlink()
    there.write_bytes(archive.content() + b" ")
    refused(host, "is not the host program that its name says", "remove it there")


def test_two_callers_bring_the_host_program_at_once(host: sshd.Host) -> None:
    connections = [host.connection() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(lambda each: each.ask("greet"), connections))) == 4
    for each in connections:
        each.close()
    (there,) = (host.root / "host").iterdir()
    assert there.read_bytes() == archive.content()
    assert stat.S_IMODE(there.stat().st_mode) == 0o600


def test_a_host_program_that_can_not_be_put_there(host: sshd.Host) -> None:
    host.root.write_text("a file")
    refused(host, rf"can't be put there: {host.root}/host/\w+\.pyz: Not a directory", "Make room")


def test_a_folder_of_another_user(host: sshd.Host) -> None:
    host.server.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(host.server, 65534, 65534)
        refused(host, "belongs to user 65534, and this is user 0", "cluster prepare")


@pytest.mark.parametrize(
    ("python", "match"),
    [
        ("print('nonsense')", "a line that is no answer"),
        ("lines.readline(); print('{}')", "an answer of another shape"),
        ("lines.readline(); print('{\"id\": 1}')", "an answer of another shape"),
        ('lines.readline(); print(\'{"id": 2, "answer": 1}\')', "an answer to nothing that was asked"),
        ('lines.readline(); print(\'{"id": true, "answer": 1}\')', "an answer of another shape"),
        ('lines.readline(); print(\'{"id": 1, "answer": 1, "error": 1}\')', "an answer of another shape"),
        ('lines.readline(); print(\'{"id": 1, "error": {"code": 1}}\')', "an error of another shape"),
        ("while True: print('x' * 65536, end='')", "a line of more than 8388608 bytes"),
        ("lines.readline(); sys.exit('it fell over')", "does not run there .exit code 1.: it fell over"),
        ("lines.readline(); sys.stderr.write('\\x1b[2J\\r'); sys.exit(3)", r"exit code 3"),
    ],
)
def test_a_host_program_that_answers_nonsense(host: sshd.Host, tmp_path: Path, python: str, match: str) -> None:
    fake = answers(tmp_path / "python3", python + "\nsys.stdout.flush()\nlines.read()")
    said = refused(host, match, "", host.target(python=fake))
    assert "\x1b" not in said


def test_a_host_that_says_much_on_its_stderr(host: sshd.Host, tmp_path: Path) -> None:
    shout = "lambda: [sys.stderr.write('no' * 5000) for _ in iter(int, 1)]"
    noisy = f"import threading\nthreading.Thread(target={shout}).start()"
    fake = answers(tmp_path / "python3", noisy + "\nlines.readline(); print('nonsense', flush=True); lines.read()")
    refused(host, "a line that is no answer", "", host.target(python=fake))


@pytest.mark.parametrize("name", ["-oProxyCommand=touch /tmp/x", "", "a b", "a\nb", "\x1b[2J"])
def test_a_name_that_no_host_has(host: sshd.Host, name: str) -> None:
    refused(host, "is no host's name", "Correct `hosts`", host.target(host=name))


@pytest.mark.parametrize("name", ["", "-c", "python3; rm", "py$(x)"])
def test_a_name_that_no_python_has(host: sshd.Host, name: str) -> None:
    refused(host, "is no program's name", "[cluster.options]", host.target(python=name))


def test_a_configuration_that_can_not_be_used(host: sshd.Host) -> None:
    host.client("Nonsense yes")
    refused(host, "ssh can't use its configuration: Bad configuration option: nonsense", "Correct it")


# What a user's configuration may say, and what ssh makes of it (`ssh -G`).
NOT_THE_USERS = {
    "BatchMode no": "batchmode yes",
    "StrictHostKeyChecking no": "stricthostkeychecking true",
    "ControlMaster auto": "controlmaster false",
    "ControlPath /tmp/%h": "",
    "RemoteCommand echo no": "",
    "RequestTTY force": "requesttty false",
    "EscapeChar ~": "",
    "LocalForward 127.0.0.1:1 127.0.0.1:2": "clearallforwardings yes",
    "Tunnel yes": "tunnel false",
    "ForwardAgent yes": "forwardagent no",
    "ForwardX11 yes": "forwardx11 no",
    "PermitLocalCommand yes": "permitlocalcommand no",
    "ConnectTimeout 999": "connecttimeout 10",
    "ServerAliveInterval 999": "serveraliveinterval 5",
    "ServerAliveCountMax 999": "serveralivecountmax 2",
    "LogLevel QUIET": "loglevel INFO",
    "SessionType none": "sessiontype default",
    "StdinNull yes": "stdinnull no",
    "ForkAfterAuthentication yes": "forkafterauthentication no",
}


def effective(target: Target) -> list[str]:
    ssh, *words = command.argv(target, "true")
    said = subprocess.run([ssh, "-G", *words], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()


def test_settings_that_must_not_be_the_users(host: sshd.Host) -> None:
    host.client(*NOT_THE_USERS)
    told = effective(host.target(identity="/some/key"))
    assert {line for line in NOT_THE_USERS.values() if line} <= set(told)
    assert not [line for line in told if line.startswith(("controlpath", "remotecommand"))]
    assert {"identitiesonly yes", f"port {host.port}", "hostname 127.0.0.1"} <= set(told)
    assert {"port 7", "user me"} <= set(effective(host.target(port=7, user="me")))
    with closing(host.connection()) as connection:
        assert connection.ask("greet")["user"] == os.geteuid()


def test_bytes_that_a_terminal_would_take_for_itself_arrive(host: sshd.Host) -> None:
    host.client("EscapeChar ~", "RequestTTY force")
    odd = "\n~.\r\n~?\x03\x04\x1a\x00"
    with closing(host.connection()) as connection:
        connection.change("write_record", 1, record={"odd": odd}, expected=0)
        assert connection.ask("read_record")["odd"] == odd


def test_ssh_and_what_it_starts_get_no_token(host: sshd.Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLY_API_TOKEN", "secret-of-ours")
    heard = tmp_path / "heard"
    host.client(f"ProxyCommand sh -c 'env > {heard}; exec socat - TCP:%h:%p'")
    with closing(host.connection()) as connection:
        assert connection.ask("greet")["user"] == os.geteuid()
    assert "PATH=" in heard.read_text()
    assert "secret-of-ours" not in heard.read_text()
