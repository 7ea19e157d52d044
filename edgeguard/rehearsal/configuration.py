"""The environment's file of a rehearsal: a local cluster, the stand-in as the edge, and visitors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeguard.rehearsal import repository

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.rehearsal.scene import Scene
    from edgeguard.rehearsal.standin import StandIn

NAME = "rehearsal"
"""The environment's name."""


def write(folder: Path, scene: Scene, standin: StandIn, gate_port: int) -> Path:
    """Write the file and the token below the rehearsal's folder. Returns the folder of the file."""
    config = folder / "config"
    config.mkdir()
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(standin.token)
    content = _toml(_tables(folder, scene, standin, gate_port))
    path = config / f"{NAME}.toml"
    path.write_text(f"# Written by `edgeguard rehearse`; config/rehearsal.toml explains it.\n{content}")
    return config


def _tables(folder: Path, scene: Scene, standin: StandIn, gate_port: int) -> dict[str, dict[str, Any]]:
    bundled = scene.repository is None
    pages = scene.pages or (("/", *(f"/page/{n}" for n in range(1, 24))) if bundled else ("/",))
    health = "/health" if bundled else pages[0]
    return {
        "application": {
            "repository": str(folder / "repository"),
            "branch": repository.BRANCH,
            "variables": {"env:HOOK_SECONDS": str(scene.hook_seconds)},
        },
        "cluster": {
            "driver": "local",
            "servers": scene.server_names,
            "root": str(folder / "cluster"),
            "after_hook_failure": scene.after_hook_failure,
            "lease": 3,
            "health_path": health,
            "start_timeout": 10 if bundled else 30,
            "planned_closure": scene.hook_seconds + 30,
            "options": {"gate_port": gate_port},
        },
        "edge": {
            "service": standin.service_id,
            "url": standin.edge_url,
            "health_url": standin.edge_url + health,
            "api_url": standin.api_url,
            "token_file": str(folder / "token"),
            "base_grace": 1,  # shorter than the closure, so that visitors notice a claim that has no effect
            "propagation": 1,
            "confirm_timeout": 20,
            "healthy_for": 0.3,
            "healthy_timeout": 10,
            "release_header": "Edgeguard-Release",
        },
        "claim": {"duration": scene.hook_seconds + 115, "hold": 10},
        "purge": {"release_key": "release"} if bundled else {"pace": 0.1},
        "visitors": {
            "anonymous": list(pages),
            "authenticated": [pages[0]],
            "origin": [f"http://127.0.0.1:{gate_port}{pages[0]}"],
            "rate": 25,
        },
    }


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """Tables of strings, numbers and lists as TOML. JSON writes those values in the same way."""
    lines = []
    for table, content in tables.items():
        lines.append(f"\n[{table}]")
        nested = {key: value for key, value in content.items() if isinstance(value, dict)}
        lines += [f"{key} = {json.dumps(value)}" for key, value in content.items() if key not in nested]
        for name, inner in nested.items():
            lines.append(f"[{table}.{name}]")
            lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in inner.items()]
    return "\n".join(lines) + "\n"
