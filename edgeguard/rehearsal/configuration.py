"""The environment's file of a rehearsal: the driver's cluster, the stand-in as the edge, and visitors."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from edgeguard.rehearsal import repository

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.rehearsal.scene import Scene
    from edgeguard.rehearsal.standin import StandIn

NAME = "rehearsal"
"""The environment's name."""


def write(folder: Path, scene: Scene, standin: StandIn) -> Path:
    """Write the file and the token below the rehearsal's folder. Returns the folder of the file."""
    config = folder / "config"
    config.mkdir()
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(standin.token)
    content = _toml(_tables(folder, scene, standin))
    path = config / f"{NAME}.toml"
    path.touch(mode=0o600)  # it may have an application's secrets
    path.write_text(
        f"# Written by `edgeguard rehearse`; config/rehearsal.toml explains it.\n{content}", encoding="utf-8"
    )
    return config


def _tables(folder: Path, scene: Scene, standin: StandIn) -> dict[str, dict[str, Any]]:
    bundled = scene.repository is None
    pages = scene.pages or (("/", *(f"/page/{n}" for n in range(1, 24))) if bundled else ("/",))
    cluster: dict[str, Any] = {
        "after_hook_failure": "stay-closed",
        "lease": 3,
        "health_path": "/health" if bundled else pages[0],
        "start_timeout": 10 if bundled else 30,
        "planned_closure": scene.hook_seconds + 30,
        **scene.driver.cluster(folder),
        "servers": scene.server_names,
    }
    if scene.after_hook_failure is not None:
        cluster["after_hook_failure"] = scene.after_hook_failure
    tables: dict[str, dict[str, Any]] = {
        "application": {
            "repository": str(folder / "repository"),
            "branch": repository.BRANCH,
            **scene.application,
            "variables": {
                "env:HOOK_SECONDS": str(scene.hook_seconds),
                **scene.application.get("variables", {}),
            },
        },
        "cluster": cluster,
        "edge": {
            "service": standin.service_id,
            "url": standin.edge_url,
            "health_url": standin.edge_url + cluster["health_path"],
            "api_url": standin.api_url,
            "token_file": str(folder / "token"),
            "base_grace": 1,  # shorter than the closure, so that visitors notice a claim that has no effect
            "propagation": 1,
            "confirm_timeout": 20,
            "healthy_for": 0.3,
            "healthy_timeout": 10,
        },
        "claim": {"duration": scene.hook_seconds + 115, "hold": 10},
        "purge": {"release_key": "release"} if bundled else {"pace": 0.1},
        "visitors": {
            "anonymous": list(pages),
            "authenticated": [pages[0]],
            "origin": [scene.driver.origin.rstrip("/") + pages[0]],
            "rate": 25,
        },
    }
    if scene.driver.release_header is not None:
        tables["edge"]["release_header"] = scene.driver.release_header
    return {**tables, "doctor": dict(scene.driver.doctor)} if scene.driver.doctor else tables


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """Tables as TOML; a table in a table of a table is written in one line."""
    lines = []
    for table, content in tables.items():
        lines.append(f"\n[{table}]")
        nested = {key: value for key, value in content.items() if isinstance(value, dict)}
        lines += [f"{json.dumps(key)} = {_value(value)}" for key, value in content.items() if key not in nested]
        for name, inner in nested.items():
            lines.append(f"[{table}.{_table(name)}]")
            lines += [f"{json.dumps(key)} = {_value(value)}" for key, value in inner.items()]
    return "\n".join(lines) + "\n"


def _table(name: str) -> str:
    """A table's name as TOML: bare if it can be. Keys are always quoted: scripts read single lines of this file."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(value: object) -> str:
    """One value as TOML, which JSON writes in the same way, but for tables and times."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)
