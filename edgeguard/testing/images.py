"""Frozen images of a small application, as a build leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import images, manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "application.py"
"""Where the application lies in its folder. It answers the content of the file `release` beside it."""


def make(folder: Path, name: str, *, facts: Mapping[str, Any] | None = None) -> str:
    """Make the image of an application that answers `name`, unless it is there. Returns its release: the digest.

    `facts` are more facts for release.json.
    """
    if (folder / "release.json").exists():
        return images.digest(folder)
    app = folder / "app"
    app.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).parent / "tiny_application.py"
    (app / PROGRAM).write_bytes(source.read_bytes())
    (app / "release").write_text(name, encoding="utf-8")
    (folder / "toolchain" / "bin").mkdir(parents=True)
    for part in images.CONTENT:
        manifest.freeze(folder / part)
    content = manifest.take(folder, images.CONTENT)
    said = {"inputs": folder.name, "ref": "main", "commit": "c", "tree": "t", **(facts or {})}
    digest = manifest.digest(content, images.CONTENT)
    (folder / "manifest").write_text(content, encoding="utf-8")
    (folder / "release.json").write_text(json.dumps({**said, "digest": digest}), encoding="utf-8")
    return digest
