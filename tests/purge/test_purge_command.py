"""`edgeguard purge`, as who types it sees it: in front of the stand-in, of an environment that is an edge alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cli import main
from tests.edge.standin_edge import TOKEN, StandinEdge

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Site:
    """A running stand-in, with an environment's file."""

    standin_edge: StandinEdge
    config: Path

    def purge(self, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("EDGEGUARD_", "FASTLY_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "edgeguard", "purge", "production", "--config", str(self.config), *arguments],
            env=environment | variables,
            capture_output=True,
            check=False,
            input=stdin,
            text=True,
            timeout=60,
        )
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def purged(self) -> list[dict[str, Any]]:
        """The purges that the API was asked for since the test began."""
        rows: list[dict[str, Any]] = self.standin_edge.control("GET", "/history")[self._since :]
        return [row for row in rows if "/purge" in row["path"]]

    def begin(self) -> None:
        self._since = len(self.standin_edge.control("GET", "/history"))


@pytest.fixture(scope="module")
def _site(module_standin_edge: StandinEdge, tmp_path_factory: pytest.TempPathFactory) -> Site:
    module_standin_edge.install(module_standin_edge.policy())
    config = tmp_path_factory.mktemp("config")
    (config / "production.toml").write_text(
        f"""
        [edge]
        service = "{module_standin_edge.ready["service_id"]}"
        url = "{module_standin_edge.ready["edge_url"]}"
        health_url = "{module_standin_edge.ready["edge_url"]}/health"
        api_url = "{module_standin_edge.ready["api_url"]}"
        token_file = "{config}/token"
        [purge]
        pace = 0.01
        """
    )
    (config / "token").touch(0o600)
    (config / "token").write_text(TOKEN)
    return Site(module_standin_edge, config)


@pytest.fixture
def site(_site: Site) -> Site:
    """Well, and with no deploy under way."""
    _site.standin_edge.reset()
    _site.standin_edge.origin.pages["/health"] = (200, {"Cache-Control": "no-store"})
    _site.standin_edge.write({})
    _site.begin()
    return _site


def test_keys_and_pages_are_purged_softly_and_the_ids_are_told(site: Site) -> None:
    path = site.standin_edge.page(cache="max-age=1000", more={"Surrogate-Key": "news sport"})
    other = site.standin_edge.page(cache="max-age=1000")
    for page in (path, other):
        site.standin_edge.get(page)
    done = site.purge("--key", "news", "--key", "front", "--url", site.standin_edge.ready["edge_url"] + other)
    assert done.returncode == 0, done.stderr
    assert [row.get("keys") for row in site.purged()] == [["news", "front"], None]
    assert all(row["soft"] for row in site.purged())
    assert "soft-purged 2 keys and 1 URL in 2 requests; ids " in done.stdout
    for page in (path, other):
        site.standin_edge.get(page)
        assert site.standin_edge.asked(page) == 2


def test_a_pipeline_gets_one_object(site: Site) -> None:
    done = site.purge("--file", "-", "--hard", "--json", stdin="".join(f"key-{n}\r\n\n" for n in range(600)))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    ids, seconds = said.pop("ids"), said.pop("seconds")
    assert said == {
        "environment": "production",
        "keys": 600,
        "urls": 0,
        "requests": 3,
        "soft": False,
        "second_pass": False,
        "warnings": [],
    }
    assert (len(ids), seconds > 0, done.stderr) == (600, True, "")
    assert [row["soft"] for row in site.purged()] == [False] * 3


def test_all_goes_by_the_groups_and_all_hard_takes_everything(site: Site, tmp_path: Path) -> None:
    done = site.purge("--all")
    assert done.returncode == 0, done.stderr
    rows = site.purged()
    assert len({key for row in rows for key in row["keys"]}) == 256
    assert all(row["soft"] for row in rows)
    assert done.stdout.startswith("soft-purged every page in 32 requests")
    site.begin()
    done = site.purge("--all", "--hard")
    assert [row["path"].split("/")[-1] for row in site.purged()] == ["purge_all"]
    assert done.stdout == "hard-purged every page in 1 request\n"
    listed = tmp_path / "keys"
    listed.write_text("news\n")
    site.begin()
    assert site.purge("--file", str(listed)).returncode == 0
    assert [row["keys"] for row in site.purged()] == [["news"]]


def test_a_page_of_another_host_is_purged_with_a_warning_if_that_is_a_domain_too(site: Site) -> None:
    site.standin_edge.control("POST", "/plants", {"add": {"domain": [{"name": "www.example.com"}]}})
    done = site.purge("--url", "https://www.example.com/x?y=1")
    site.standin_edge.control("DELETE", "/plants")
    assert done.returncode == 0, done.stderr
    assert "another host than edge.url" in done.stderr
    assert site.purged()[0]["path"] == "/purge/www.example.com/x?y=1"
    refused = site.purge("--url", "https://www.example.com/x?y=1")
    assert refused.returncode == 5
    assert "https://www.example.com/x?y=1: its host is no domain of a service of this account" in refused.stderr
    assert "Check the host" in refused.stderr


def test_all_needs_the_policy(site: Site) -> None:
    names = [snippet.name for snippet in site.standin_edge.policy()]
    site.standin_edge.control("POST", "/plants", {"remove": {"snippet": names}})
    done = site.purge("--all")
    site.standin_edge.control("DELETE", "/plants")
    assert (done.returncode, site.purged()) == (4, [])
    assert "--all --hard" in done.stderr
    done = site.purge("--all", EDGEGUARD_EDGE__MECHANISM="settings")
    assert (done.returncode, site.purged()) == (4, [])
    assert "--all --hard" in done.stderr


# -- nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "nothing is named"),
        (["--key", ""], "'' is not a surrogate key"),
        (["--key", "good", "--key", "two words"], "'two words' is not a surrogate key"),
        (["--key", "two\nlines"], "is not a surrogate key"),
        (["--key", "k" * 1025], "kkk…' is not a surrogate key"),
        (["--key", "caf\u00e9"], "is not a surrogate key"),
        (["--url", "news"], "'news' is not a URL"),
        (["--url", "ftp://h/x"], "is not a URL"),
        (["--key", "good", "--url", "http://"], "names no host"),
        (["--all", "--key", "news"], "--all leaves nothing to name"),
        (["--file", "FOLDER/nowhere"], "can't be read: No such file"),
        (["--file", "FOLDER"], "can't be read: Is a directory"),
        (["--file", "FOLDER/empty"], "names no key"),
        (["--file", "FOLDER/binary"], "has more than ASCII in it"),
        (["--file", "FOLDER/bad"], "bad, line 3: 'two words' is not"),
        (["--key", "news", "--accept", "closed"], "--accept closed: no refusal has this name"),
    ],
)
def test_nonsense_is_refused_before_anything_is_asked(
    site: Site, tmp_path: Path, arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text("\n  \n")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "bad").write_text("good\n\ntwo words\n")
    asked = len(site.standin_edge.control("GET", "/history"))
    given = [argument.replace("FOLDER", str(tmp_path)) for argument in arguments]
    assert main(["purge", "production", "--config", str(site.config), *given]) == 2
    said = capsys.readouterr()
    assert part in said.err
    assert (said.out, said.err.count("\n")) == ("", 2), "a message, and what to do"
    assert len(site.standin_edge.control("GET", "/history")) == asked


# -- while closed ----------------------------------------------------------------------------------------------------


def test_nothing_is_purged_while_the_origin_is_closed(site: Site) -> None:
    site.standin_edge.origin.closed = True
    for more in ((), ("--hard",), ("--accept", "origins-sick", "--accept", "deploy-claim")):
        done = site.purge("--key", "news", *more)
        assert (done.returncode, site.purged()) == (3, []), done.stderr
        assert "the cluster is closed (d1)" in done.stderr
        assert "nothing is purged" not in done.stdout


@pytest.mark.parametrize("sign", ["deploy-claim", "origins-sick"])
def test_signs_of_a_closure_can_be_passed_over_by_name(site: Site, sign: str) -> None:
    if sign == "deploy-claim":
        site.standin_edge.claim(grace=100)
    else:
        site.standin_edge.origin.pages["/health"] = (503, {})
    done = site.purge("--key", "news")
    assert (done.returncode, site.purged()) == (4, []), done.stderr
    assert f"--accept {sign}" in done.stderr
    assert site.purge("--key", "news", "--accept", sign).returncode == 0
    assert len(site.purged()) == 1


def test_a_claim_of_support_is_no_reason(site: Site) -> None:
    site.standin_edge.claim("support3", grace=100)
    assert site.purge("--key", "news").returncode == 0


def test_a_list_is_given_up_where_the_origin_is_closed_meanwhile(site: Site) -> None:
    environment = {**os.environ, "EDGEGUARD_PURGE__PACE": "0.2"}
    command = [sys.executable, "-m", "edgeguard", "purge", "production", "--config", str(site.config), "--file", "-"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write("".join(f"key-{n}\n" for n in range(10_000)))
    process.stdin.close()
    process.stdin = None
    while not site.purged():
        assert process.poll() is None
    site.standin_edge.origin.closed = True
    _, said = process.communicate(timeout=60)
    made = len(site.purged())
    assert process.returncode == 3
    assert 1 <= made < 40
    assert f"{made} of 40 calls are made, and what comes next is key-{256 * made}" in said
