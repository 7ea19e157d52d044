"""What other programs are told of this process's environment."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from edgeguard.machine import process

if TYPE_CHECKING:
    import pytest


def test_git_s_own_repository_and_our_secrets_are_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Git itself keeps to one repository, but for the configuration that people pass on by variables."""
    listed = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, check=True, text=True)
    kept = {"GIT_CONFIG_COUNT", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL", "EDGEGUARDED", "SOMETHING"}
    ours = {"GIT_QUARANTINE_PATH", "GIT_NAMESPACE", "FASTLY_API_TOKEN", "fastly_key", "EDGEGUARD_CLUSTER__ROOT"}
    for name in {*listed.stdout.split(), *kept, *ours}:
        monkeypatch.setenv(name, "sentinel")

    assert kept == {name for name, value in process.environment().items() if value == "sentinel"}
