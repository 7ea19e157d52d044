"""A real Varnish in front of an origin: the second cache that the cases are played on. Its clock can be moved."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.edge import grace
from tests.edge.stage import BASE, CEILING, Cache, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def missing() -> list[str]:
    """The Debian packages that are needed and not there; scripts/test installs them."""
    modules = any(Path("/usr/lib").glob("*/varnish/vmods/libvmod_xkey.so"))
    found = {"varnish": _program(), "varnish-modules": modules, "libfaketime": _clock()}
    return [package for package, there in found.items() if not there]


def _program() -> str | None:
    """Debian has it where only root looks."""
    return shutil.which("varnishd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def _clock() -> Path | None:
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


@dataclass
class Varnish(Cache):
    """`items` of edgeguard's dictionary are told to it by requests of its own text, tests/edge/varnish.vcl."""

    address: str
    clock: Path

    @property
    def url(self) -> str:
        return self.address

    def later(self, seconds: float) -> None:
        self.skew += seconds
        new = self.clock.with_suffix(".new")
        new.write_text(f"{self.skew:+.1f}\n")
        new.replace(self.clock)  # never half written for a thread that looks

    def write(self, items: Mapping[str, str]) -> None:
        for slot, value in (dict.fromkeys(grace.SLOTS, grace.FREE) | dict(items)).items():
            assert self.ask("CLAIM", "/", {"Slot": slot, "Value": value}).status == 200

    def purge(self, key: str, *, soft: bool) -> None:
        assert self.ask("PURGE", "/", {"Key": key} | ({"Soft": "1"} if soft else {})).status == 200


@contextmanager
def running() -> Iterator[Varnish]:
    """A Varnish for as long as it is needed, and an origin that is its own."""
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
        clock.write_text("+0\n")
        with (here / "log").open("wb") as log:
            process = subprocess.Popen(_command(here), env=_environment(clock), stdout=log, stderr=log)
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


def _environment(clock: Path) -> dict[str, str]:
    """Its wall clock is that of the file, its monotonic one the machine's.

    libc comes before Varnish's own allocator, which asks for the time before libfaketime is ready to tell it.
    """
    return dict(os.environ) | {
        "LD_PRELOAD": f"{_clock()} libc.so.6",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _address(here: Path, process: subprocess.Popen[bytes]) -> str:
    """Where it listens, once it does. It takes half a second: the text is compiled."""
    admin = ["varnishadm", "-n", str(here / "working"), "debug.listen_address"]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        told = subprocess.run(admin, capture_output=True, text=True, check=False, timeout=30)
        if told.returncode == 0 and told.stdout.split()[1:2] == ["127.0.0.1"]:
            return f"http://127.0.0.1:{told.stdout.split()[2]}"
        time.sleep(0.05)
    raise AssertionError((here / "log").read_text())
