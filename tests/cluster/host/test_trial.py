"""An image that can't run on a server is told before anything closes: which file, and what is wrong with it."""

from __future__ import annotations

import _ctypes
import os
import pwd
import shutil
import struct
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import trial
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.ssh.images import send, try_out
from tests.cluster.arriving import Host, freeze

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
MODULE = Path(_ctypes.__file__)
PYTHON = Path(sys.executable).resolve()
PACKAGES = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
C_LIBRARY = b"libc.so.6\0"


def venv(folder: Path, *, version: str = sys.version.split()[0], python: Path = PYTHON) -> None:
    """A virtual environment with one compiled module."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(python)
    (folder / "bin" / "python3").symlink_to("python")
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\nversion_info = {version}.final.0\n", encoding="utf-8")
    (folder / PACKAGES).mkdir(parents=True)
    shutil.copyfile(MODULE, folder / PACKAGES / f"good{SUFFIX}")
    (folder / PACKAGES / "text.so").write_text("INPUT(-lx)", encoding="utf-8")


def image_of(folder: Path, make: Callable[[Path], None]) -> Path:
    """An image of what `make` put into its parts."""
    for part in ("app", "home", "toolchain"):
        (folder / part).mkdir(parents=True)
    make(folder)
    freeze(folder)
    return folder


def lacking(module: bytes) -> bytes:
    """The same module, which needs a library that is on no machine."""
    assert C_LIBRARY in module
    return module.replace(C_LIBRARY, b"libno.so.6\0"[: len(C_LIBRARY) - 1] + b"\0")


def crashing(module: bytes) -> bytes:
    """The same module, whose first instructions end the process. See elf(5)."""
    broken = bytearray(module)
    offset, size, count = (*struct.unpack_from("<Q", module, 32), *struct.unpack_from("<HH", module, 54))
    segments = [struct.unpack_from("<IIQQQQ", module, offset + size * number) for number in range(count)]
    dynamic = next(segment for segment in segments if segment[0] == 2)
    entries = dict(struct.iter_unpack("<qQ", module[dynamic[2] : dynamic[2] + dynamic[5]]))
    init = entries[12]
    load = next(each for each in segments if each[0] == 1 and each[3] <= init < each[3] + each[5])
    at = init - load[3] + load[2]
    broken[at : at + 4] = b"\x0f\x0b\x0f\x0b" if os.uname().machine == "x86_64" else bytes(4)
    return bytes(broken)


def test_an_image_that_can_run_has_no_faults(tmp_path: Path) -> None:
    def make(image: Path) -> None:
        venv(image / "toolchain")
        venv(image / "app" / ".venv")
        shutil.copyfile(MODULE, image / "app" / "good.so")

    told = trial.try_out(image_of(tmp_path / "image", make))
    version = sys.version.split()[0]
    assert told == {
        "faults": [],
        "versions": {"toolchain/bin/python": version, "app/.venv/bin/python": version},
    }


def test_an_interpreter_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    """As where the image was built with a Python in somebody's home."""
    missing = tmp_path / ".pyenv" / "bin" / "python3.11"
    image = image_of(tmp_path / "image", lambda image: venv(image / "toolchain", python=missing))
    assert trial.try_out(image) == {
        "faults": [["toolchain/bin/python", f"leads to {missing}, which is not there"]],
        "versions": {},
    }


def test_another_version_of_python_is_told(tmp_path: Path) -> None:
    def make(image: Path) -> None:
        venv(image / "toolchain", version="3.1.4")
        venv(image / "app" / "env")
        (image / "app/env" / PACKAGES / f"good{SUFFIX}").rename(image / "app/env" / PACKAGES / "x.cpython-31-x.so")

    faults = dict(trial.try_out(image_of(tmp_path / "image", make))["faults"])
    assert "its packages are for Python 3.1" in faults["toolchain/bin/python"]
    assert faults[f"app/env/{PACKAGES}/x.cpython-31-x.so"].startswith("is for cpython-31-x,")


def test_an_interpreter_that_does_not_start_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no such libc' >&2; exit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    image = image_of(tmp_path / "image", lambda image: venv(image / "toolchain", python=broken))
    assert trial.try_out(image)["faults"] == [["toolchain/bin/python", "does not start: no such libc"]]


def test_modules_that_cannot_be_loaded_are_told_and_those_after_them_are_loaded(tmp_path: Path) -> None:
    def make(image: Path) -> None:
        venv(image / "toolchain")
        packages = image / "toolchain" / PACKAGES
        (packages / "a.so").write_bytes(lacking(MODULE.read_bytes()))
        (packages / "b.so").write_bytes(crashing(MODULE.read_bytes()))
        (packages / "c.so").write_bytes(MODULE.read_bytes()[:100])
        (packages / "z.so").write_bytes(lacking(MODULE.read_bytes()))

    faults = dict(trial.try_out(image_of(tmp_path / "image", make))["faults"])
    said = {Path(path).name: why for path, why in faults.items()}
    assert sorted(said) == ["a.so", "b.so", "c.so", "z.so"]
    assert "cannot open shared object file" in said["a.so"]
    assert said["b.so"] in ("its loading ends the process (SIGILL)", "its loading ends the process (SIGSEGV)")
    assert "can't be loaded: " in said["c.so"]


def test_a_module_of_node_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    def make(image: Path) -> None:
        (image / "toolchain/bin").mkdir()
        (image / "toolchain/bin/node").symlink_to(str(shutil.which("node")))
        (image / "app/windows.node").write_bytes(b"MZ")
        (image / "app/x.node").write_bytes(lacking(MODULE.read_bytes()))

    told = trial.try_out(image_of(tmp_path / "image", make))
    assert [path for path, _ in told["faults"]] == ["app/x.node"]
    assert "cannot open shared object file" in told["faults"][0][1]
    assert list(told["versions"]) == ["toolchain/bin/node"]


def test_what_cannot_be_loaded_where_it_was_built_is_no_fault_of_a_server(tmp_path: Path) -> None:
    def make(image: Path) -> None:
        venv(image / "toolchain")
        (image / "toolchain" / PACKAGES / "a.so").write_bytes(lacking(MODULE.read_bytes()))

    host, image = Host(tmp_path / "host"), image_of(tmp_path / "here" / "one", make)
    send(host, image, host.releases)
    try_out(host, image, host.releases)
    there = host.releases / "one" / "toolchain" / PACKAGES
    (there / f"good{SUFFIX}").chmod(0o644)
    (there / f"good{SUFFIX}").write_bytes(lacking(MODULE.read_bytes()))
    with pytest.raises(HostError, match="can't be loaded") as raised:
        try_out(host, image, host.releases)
    assert f"good{SUFFIX}" in raised.value.message
    assert "a.so" not in raised.value.message


def test_a_server_without_the_interpreter_refuses_the_image(tmp_path: Path) -> None:
    here = tmp_path / "python3"
    here.symlink_to(PYTHON)
    image = image_of(tmp_path / "here" / "one", lambda image: venv(image / "toolchain", python=here))
    host = Host(tmp_path / "host")
    send(host, image, host.releases)
    link = host.releases / "one/toolchain/bin/python"
    link.parent.chmod(0o755)
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(HostError, match=r"can't run on this server: toolchain/bin/python leads to .*nowhere, which"):
        try_out(host, image, host.releases)


def test_what_an_image_holds_runs_in_a_sandbox_where_it_was_built(tmp_path: Path) -> None:
    """The interpreter here is the image's own program, and it leaves a trace where it can."""
    trace = tmp_path / "trace"

    def make(image: Path) -> None:
        venv(image / "toolchain", python=image / "toolchain/bin/own")
        own = image / "toolchain" / "bin" / "own"
        own.write_text(f"#!/bin/sh\necho it ran >>{trace}; echo 'no such libc' >&2; exit 3\n", encoding="utf-8")
        own.chmod(0o755)

    image, host = image_of(tmp_path / "here" / "one", make), Host(tmp_path / "host")
    send(host, image, host.releases)
    try_out(host, image, host.releases)
    assert trace.read_text(encoding="utf-8") == "it ran\n", "on the server, and not on this machine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_it_is_tried_out_as_who_runs_the_application(tmp_path: Path) -> None:
    def make(image: Path) -> None:
        venv(image / "toolchain", python=who)

    who = tmp_path / "who"
    who.write_text("#!/bin/sh\nid -un >&2; exit 1\n", encoding="utf-8")
    who.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    image = image_of(tmp_path / "image", make)
    told = trial.try_out(image, pwd.getpwnam("nobody").pw_name)
    assert told["faults"] == [["toolchain/bin/python", "does not start: nobody"]]
    with pytest.raises(HostError, match="there is no user"):
        trial.try_out(image, "no-such-user")
