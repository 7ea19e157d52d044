"""The stand-in of a rehearsal: a process of its own, reached by its URLs."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from edgeguard.errors import EdgeguardError
from edgeguard.machine import process

if TYPE_CHECKING:
    from pathlib import Path

SITE_SNIPPET = "if (req.http.Cookie || req.http.Authorization) { return(pass); }"
"""Fastly does not pass such requests by itself; sites with a login have a snippet like this one."""


@dataclass(frozen=True)
class StandIn:
    """A stand-in that runs. The fields after `process` are those of the line that it prints when it serves."""

    process: subprocess.Popen[str]
    api_url: str
    edge_url: str
    control_url: str
    service_id: str
    token: str

    @classmethod
    def start(cls, origin: str, log: Path) -> Self:
        """Start one in front of the origin, and wait until it serves. Its errors go to the log."""
        with log.open("w") as file:
            started = subprocess.Popen(
                [sys.executable, "-P", "-m", "edgeguard.standin", "--origin", origin, "--json"],
                env=process.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        line = started.stdout.readline() if started.stdout else ""
        if not line:
            _end(started)
            raise EdgeguardError(f"the stand-in did not start: {log.read_text().strip()}")
        return cls(started, **json.loads(line))

    def end(self) -> None:
        """End the process. Harmless twice."""
        _end(self.process)

    def addresses(self) -> dict[str, str]:
        """Its URLs, the service's id and the token, by the names of the fields."""
        names = ("api_url", "edge_url", "control_url", "service_id", "token")
        return {name: getattr(self, name) for name in names}

    def add_site_snippet(self) -> None:
        """Add the site's own snippet to the service, as its owner would have done long ago."""
        service = f"{self.api_url}/service/{self.service_id}"
        draft = self._call("PUT", f"{service}/version/1/clone")["number"]
        body = {"name": "site_pass", "type": "recv", "dynamic": "0", "priority": "100", "content": SITE_SNIPPET}
        self._call("POST", f"{service}/version/{draft}/snippet", body)
        self._call("PUT", f"{service}/version/{draft}/activate")

    def refuse_dictionary_writes(self) -> None:
        """Answer every batch of dictionary items with 503 from now on, so no claim can be written."""
        self._call("POST", f"{self.control_url}/faults", {"api": {"status": 503, "match": {"method": "PATCH"}}})

    def _call(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Fastly-Key": self.token, "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 (the stand-in's own URL)
            url, method=method, headers=headers, data=json.dumps(body or {}).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            content: dict[str, Any] = json.load(answer)
        return content


def _end(started: subprocess.Popen[str]) -> None:
    started.terminate()
    started.wait()
    if started.stdout is not None:
        started.stdout.close()
