"""A real Varnish in front of an origin: the second cache that the cases are played on. Its clock can be moved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.edge.claim import FREE, SLOTS
from tests.edge.standin_edge import BASE, CEILING, Cache, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def missing() -> list[str]:
    """The needed Debian packages that are not installed. scripts/test installs them."""
    modules = any(Path("/usr/lib").glob("*/varnish/vmods/libvmod_xkey.so"))
    return [package for package, there in {"varnish": _program(), "varnish-modules": modules}.items() if not there]


def _program() -> str | None:
    """The program's path. Debian has it in a folder that is only in root's PATH."""
    return shutil.which("varnishd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


@dataclass
class Varnish(Cache):
    """A Varnish with its own VCL, tests/edge/varnish.vcl. It gets the dictionary's `items` by requests to that."""

    address: str
    clock: Path

    @property
    def url(self) -> str:
        return self.address

    def later(self, seconds: float) -> None:
        self.skew += seconds
        _set(self.clock, int(self.skew))

    def write(self, items: Mapping[str, str]) -> None:
        for slot, value in (dict.fromkeys(SLOTS, FREE) | dict(items)).items():
            assert self.ask("CLAIM", "/", {"Slot": slot, "Value": value}).status == 200

    def purge(self, key: str, *, soft: bool) -> None:
        assert self.ask("PURGE", "/", {"Key": key} | ({"Soft": "1"} if soft else {})).status == 200


@contextmanager
def running() -> Iterator[Varnish]:
    """A Varnish with an origin of its own, which runs during the block."""
    origin = Origin()
    origin.up()
    with tempfile.TemporaryDirectory(prefix="varnish-") as folder:
        here = Path(folder)
        literals = {"port": origin.port, "base": BASE, "ceiling": CEILING}
        text = (Path(__file__).parent / "varnish.vcl").read_text(encoding="utf-8")
        for name, literal in literals.items():
            text = text.replace(f"{{{{{name}}}}}", str(literal))
        (here / "edge.vcl").write_text(text)
        clock = here / "clock"
        _set(clock, 0)
        with (here / "log").open("wb") as log:
            process = subprocess.Popen(_command(here), env=_environment(here, clock), stdout=log, stderr=log)
        try:
            yield Varnish(origin, _address(here, process), clock)
        finally:
            process.terminate()
            process.wait(20)
            origin.close()


def _command(here: Path) -> list[str]:
    small = ["-s", "malloc,16m", "-p", "thread_pools=1"]
    # It would not ask an origin again for a moment after it was refused.
    small += ["-p", "backend_remote_error_holddown=0", "-p", "backend_local_error_holddown=0"]
    # -F: it stays our child. Without -j none it would want to change to users of its own.
    listening = ["-a", "127.0.0.1:0", "-n", str(here / "working"), "-f", str(here / "edge.vcl")]
    return [str(_program()), "-F", "-j", "none", *listening, *small]


def _set(clock: Path, ahead: int) -> None:
    """Set the file that tests/edge/clock.c reads at any moment. It is never half written, and never another file."""
    file = os.open(clock, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(file, ahead.to_bytes(8, sys.byteorder, signed=True), 0)
    os.close(file)


def _environment(here: Path, clock: Path) -> dict[str, str]:
    library = here / "clock.so"
    source = Path(__file__).parent / "clock.c"
    # Varnish needs a compiler for its own text.
    subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=60)
    return dict(os.environ) | {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(clock)}


def _address(here: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait until it listens, and return the address. That takes half a second, since the VCL is compiled."""
    admin = ["varnishadm", "-n", str(here / "working"), "debug.listen_address"]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        told = subprocess.run(admin, capture_output=True, text=True, check=False, timeout=30)
        if told.returncode == 0 and told.stdout.split()[1:2] == ["127.0.0.1"]:
            return f"http://127.0.0.1:{told.stdout.split()[2]}"
        time.sleep(0.05)
    raise AssertionError((here / "log").read_text())
