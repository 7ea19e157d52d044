"""edgeguard where a home, an entry in the list of users, or a variable is not as people at a desk have it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.edge.standin_edge import TOKEN, StandinEdge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERBS = {
    "probe": ("probe", "site"),
    "grace show": ("grace", "show", "site"),
    "grace release": ("grace", "release", "site", "support1", "--reason", "a test"),
    "purge": ("purge", "site", "--key", "news"),
    "edge diff": ("edge", "diff", "site"),
}
"""Verbs that need an edge alone."""


@dataclass
class Site:
    """An environment that is an edge alone."""

    folder: Path
    _usual: dict[str, int] = field(default_factory=dict)

    def usual(self, verb: str) -> int:
        """The exit code of a verb at a desk."""
        if verb not in self._usual:
            self._usual[verb] = self.run(*VERBS[verb], has={"HOME": str(self.folder)}).returncode
        return self._usual[verb]

    def run(
        self, *arguments: str, has: Mapping[str, str], prefix: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb with the token and exactly these variables. No verb ends with a traceback."""
        done = subprocess.run(
            [*prefix, sys.executable, "-P", "-m", "edgeguard", *arguments, "--config", str(self.folder)],
            env={"PATH": os.environ["PATH"], "FASTLY_API_TOKEN": TOKEN, **has},
            cwd=self.folder,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def site(module_standin_edge: StandinEdge, tmp_path_factory: pytest.TempPathFactory) -> Site:
    module_standin_edge.install(module_standin_edge.policy())
    folder = tmp_path_factory.mktemp("site")
    settings = module_standin_edge.settings
    (folder / "site.toml").write_text(
        f"""
        [edge]
        service = "{settings.service}"
        url = "{settings.url}"
        health_url = "{settings.health_url}"
        api_url = "{settings.api_url}"
        base_grace = {settings.base_grace}
        ceiling = {settings.ceiling}
        propagation = 0.05
        confirm_timeout = 10
        """,
        encoding="utf-8",
    )
    return Site(folder)


@functools.cache
def unlisted() -> tuple[str, ...]:
    """The start of an argv that runs a program as a uid that no list of users has."""
    namespace = ("unshare", "--user", "--map-user=54321", "--")
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0:
        return namespace
    return ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("home", [None, "", "here", "/nonexistent"])
def test_a_verb_that_writes_no_journal_needs_no_home(site: Site, verb: str, home: str | None) -> None:
    variables = {} if home is None else {"HOME": home}
    assert site.run(*VERBS[verb], prefix=unlisted(), has=variables).returncode == site.usual(verb)
    assert sorted(path.name for path in site.folder.iterdir()) == ["site.toml"]


@pytest.mark.parametrize("home", [None, "", "here"])
def test_a_deploy_without_a_home_asks_for_a_folder(site: Site, tmp_path: Path, home: str | None) -> None:
    edge = (site.folder / "site.toml").read_text(encoding="utf-8")
    whole = f"""
        [application]
        repository = "{tmp_path}"
        branch = "main"
        [cluster]
        root = "{tmp_path}/root"
        options = {{ gate_port = 1 }}
    """
    (tmp_path / "site.toml").write_text(whole + edge, encoding="utf-8")
    variables = {} if home is None else {"HOME": home}
    done = Site(tmp_path).run("deploy", "site", prefix=unlisted(), has=variables)

    assert done.returncode == 2
    assert "--state" in done.stderr


def test_a_home_that_is_not_known_is_named_with_its_setting(site: Site) -> None:
    has = {"EDGEGUARD_EDGE__TOKEN_FILE": "~/token", "FASTLY_API_TOKEN": ""}
    done = site.run("grace", "show", "site", prefix=unlisted(), has=has)

    assert done.returncode == 2
    assert "edge.token_file: ~/token" in done.stderr


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EDGEGUARD_CLUSTER__DRIVER", "local"),
        ("EDGEGUARD_CLUSTER__SERVERS", "[no JSON"),
        ("EDGEGUARD_CLUSTER__NONSENSE", "x"),
        ("EDGEGUARD_CLUSTER__ROOT", "~nobody-at-all/root"),
        ("EDGEGUARD_CLUSTER", "no JSON"),
        ("EDGEGUARD_APPLICATION__REPOSITORY", "/nowhere"),
        ("edgeguard_application__variables", "{"),
    ],
)
def test_a_variable_for_a_part_that_is_not_there_changes_nothing(
    site: Site, verb: str, variable: str, value: str
) -> None:
    assert site.run(*VERBS[verb], has={variable: value}).returncode == site.usual(verb)


def test_such_a_variable_is_named_where_the_part_is_needed(site: Site) -> None:
    done = site.run("status", "site", has={"EDGEGUARD_CLUSTER__SERVERS": "[no JSON"})
    assert done.returncode == 2
    assert "EDGEGUARD_CLUSTER__SERVERS can't be read" in done.stderr
