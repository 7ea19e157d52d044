"""The content of a generation: the commands that its image's application runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.errors import ClusterError, UsageError
from edgeguard.release import application as applications
from edgeguard.release import image

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.cluster import Generation


def content(generation: Generation, mounts: Path) -> dict[str, Any]:
    """The content of generation.json. The application's mounts are made below `mounts`.

    Raises:
        ClusterError: the image is unfinished, or holds another release.
    """
    try:
        release = image.load(generation.image)
    except UsageError as exc:
        raise ClusterError(f"{generation.name} can't be staged: {exc.message}", exc.remedy) from exc
    if release.digest != generation.release:
        raise ClusterError(f"{generation.image} holds the release {release.digest}, not {generation.release}")
    application = release.application
    for place in application.mounts.values():
        (mounts / place).mkdir(parents=True, exist_ok=True)
    return {
        "release": release.digest,
        "cwd": str(application.folder(generation.image)),
        "start": applications.shell(application.launch),
        "hooks": {
            name: applications.shell(command)
            for name, command in application.hooks.items()
            if name in ("deploy", "post_deploy")
        },
    }
