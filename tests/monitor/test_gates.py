"""Closures by gates of others, under `wrap`: HAProxy and nginx with the samples of config/gates, and without them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.edge.standin_edge import TOKEN
from tests.http_server import Request, serving
from tests.monitor.test_probe import Site, module_standin_edge, site

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["module_standin_edge", "site"]

GATES = Path(__file__).parents[2] / "config" / "gates"
EDGEGUARD = f"{sys.executable} -m edgeguard"


def commands(sample: Path) -> dict[str, str]:
    """The commands that a sample names in its comments: `close` and `open`."""
    text = sample.read_text()
    found = dict(re.findall(r"# To (close|open)[^\n]*(?:\n# [^\n]*)?:\n#\n((?:#   [^\n]*\n)+)", text))
    return {name: re.sub(r"^#   ", "", lines, flags=re.MULTILINE) for name, lines in found.items()}


def application(request: Request) -> None:
    well = request.path.startswith("/health")
    request.send_response(200)
    request.send_header("Cache-Control", "no-store" if well else "max-age=10")
    request.send_header("Content-Length", "4")
    request.end_headers()
    request.wfile.write(b"page")


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    """The gate, from when it answers to when it has ended."""
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        for _ in range(200):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def gate(kind: str, folder: Path, port: int, behind: int) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """A gate with its sample; the commands that close and open it, and their environment."""
    folder.mkdir()
    program, _, plain = kind.partition(", ")
    sample = GATES / {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[program]
    text = sample.read_text()
    if plain:
        text = text.replace(' hdr Edgeguard-Closed "%[var(txn.closed)]"', "")
    if program == "haproxy":
        (folder / "haproxy.cfg").write_text(text)
        (folder / "state").write_text("gate open\nclosed none\n")
        told = {"GATE": str(folder), "GATE_PORT": str(port), "APPLICATION_PORT": str(behind)}
        with running(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], port, told):
            yield commands(sample), told
    else:
        (folder / "nginx.conf").write_text(text.replace(":8080", f":{port}").replace(":8081", f":{behind}"))
        (folder / "gate.conf").write_text("set $gate open;\n")
        nginx = f"{shutil.which('nginx')} -p {folder} -c nginx.conf -e error.log"
        does = {name: said.replace("nginx -s", f"{nginx} -s") for name, said in commands(sample).items()}
        with running([*nginx.split(), "-g", "daemon off;"], port, {}):
            yield {name: f"cd {folder}\n{said}" for name, said in does.items()}, {}


@pytest.mark.parametrize("kind", ["haproxy", "nginx", "haproxy, without the header"])
def test_a_gate_with_the_sample_tells_of_a_planned_closure(site: Site, tmp_path: Path, kind: str) -> None:
    """Before, during and after a closure under `wrap`. Without the header it is a warning, as the claim covers it."""
    origin = site.standin_edge.origin
    site.more = "propagation = 0.1\nconfirm_timeout = 5\nhealthy_for = 0\n[purge]\ndefault = 'none'\n"
    site.pages.append(f"/page/{kind.replace(', ', '-').replace(' ', '-')}")
    origin.down()  # the gate gets its port
    with (
        serving(application) as url,
        gate(kind, tmp_path / "gate", origin.port, int(url.rpartition(":")[2])) as (does, its),
    ):
        site.standin_edge.get(site.pages[0])
        config = site.write()
        before = site.probe()
        close = does["close"].replace(
            "edgeguard closed-header production", f"{EDGEGUARD} closed-header site --config {config}"
        )
        probe = f"{EDGEGUARD} probe site --config {config} -c 10s || true"
        script = "\n".join(["set -e", close, probe, does["open"]])
        site.standin_edge.later(20)
        wrap = [*EDGEGUARD.split(), "wrap", "site", "--config", str(config), "--for", "30m", "--", "sh", "-c", script]
        environment = {**site.environment(TOKEN), **its}
        done = subprocess.run(wrap, env=environment, capture_output=True, text=True, timeout=60, check=False)
        after = site.probe()
    origin.up()

    assert done.returncode == 0, done.stderr
    [(state, said)] = re.findall(r"^(OK|WARNING|CRITICAL|UNKNOWN) - site: (.*)$", done.stdout, re.MULTILINE)
    assert (before.code, after.code) == (0, 0)
    if "without" in kind:
        assert (state, "every page is served meanwhile, by the claim deploy0" in said) == ("WARNING", True)
    else:
        assert (state, said.startswith("closed for deploy deploy0-")) == ("OK", True)
    if transcript := os.environ.get("EDGEGUARD_TRANSCRIPT"):
        with Path(transcript).open("a") as file:
            file.write(f"== {kind}\n{before.out}\n{done.stdout}\n{done.stderr}\n{after.out}\n")
