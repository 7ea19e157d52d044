"""A rehearsal that stays (`edgeguard rehearse --stay --json`): how it starts, what it tells, and how it ends."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tomllib
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE = 400  # seconds; a first build fetches from the registries


@dataclass
class StayingRehearsal:
    """The process of a rehearsal, and the line of JSON by which it says where everything is."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def own_config(self) -> Path:
        """The environment's file that the rehearsal itself wrote."""
        return Path(self.ready["config"]) / "rehearsal.toml"

    @property
    def root(self) -> Path:
        """The cluster's folder, read as a person would: from the environment's file."""
        return Path(self._cluster["root"])

    @property
    def gate_url(self) -> str:
        """Where the gate listens, read from the environment's file too."""
        return f"http://127.0.0.1:{self._cluster['options']['gate_port']}"

    @property
    def _cluster(self) -> dict[str, Any]:
        cluster: dict[str, Any] = tomllib.loads(self.own_config.read_text(encoding="utf-8"))["cluster"]
        return cluster

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 (JSON)
        """Ask the stand-in's control port, with the token that a change needs."""
        content = None if body is None else json.dumps(body).encode()
        url, headers = f"{self.ready['control_url']}/{path}", {"Fastly-Key": self.ready["token"]}
        request = urllib.request.Request(url, data=content, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def history(self) -> list[dict[str, Any]]:
        """The requests that the edge's API got, the first one first."""
        asked: list[dict[str, Any]] = self.control("GET", "history")
        return asked

    def stop(self) -> None:
        """Tell it to end, and wait for that. Harmless twice."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@contextmanager
def staying_rehearsal(
    log: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[StayingRehearsal]:
    """Start a rehearsal, wait until it is ready, and end it whatever happens. `log` gets its standard error."""
    with (
        log.open("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "edgeguard", "rehearse", "--stay", "--json", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            told, _, _ = select.select([process.stdout], [], [], PATIENCE)
            line = process.stdout.readline() if told else ""
            assert line, log.read_text(encoding="utf-8")
            yield StayingRehearsal(process, json.loads(line))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
