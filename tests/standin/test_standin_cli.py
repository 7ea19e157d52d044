"""Fastly's own command-line client, as it is, against the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.standin.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.standin.conftest import Standin, SwitchableOrigin

    Client = Callable[..., str]

PROGRAM = Path(__file__).parent.parent.parent / ".tools" / "bin" / "fastly"


@pytest.fixture
def client(standin: Standin, tmp_path: Path) -> Client:
    """Calls `fastly service …`; what it printed. It has nothing of the environment but where the stand-in is.

    Words that begin with "/" are those of another command.
    """
    if not PROGRAM.exists():
        sentence = "Fastly's command-line client is not installed; scripts/tools installs it"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    environment = {
        "HOME": str(tmp_path),
        "FASTLY_API_ENDPOINT": standin.api_url,
        "FASTLY_ACCOUNT_ENDPOINT": standin.api_url,
        "FASTLY_API_TOKEN": TOKEN,
    }

    def call(words: str, *more: str, exit_code: int = 0) -> str:
        service = ["service", *words.split(), *more, f"--service-id={standin.service_id}"]
        command = words[1:].split() if words.startswith("/") else service
        said = subprocess.run(
            [str(PROGRAM), *command, "--non-interactive"],
            check=False,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert said.returncode == exit_code, f"{words}: {said.stdout}{said.stderr}"
        return said.stdout + said.stderr

    return call


def parsed(said: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(said)


def test_dictionary_entries(standin: Standin, client: Client, tmp_path: Path) -> None:
    dictionary = standin.install(dictionary="entries")
    at = f"--dictionary-id={dictionary}"
    client("dictionary-entry create", at, "--key=a/b", "--value=1")
    assert "Duplicate record" in client("dictionary-entry create", at, "--key=a/b", "--value=1", exit_code=1)
    client("dictionary-entry update", at, "--key=a/b", "--value=2")
    described = parsed(client("dictionary-entry describe", at, "--key=a/b", "--json"))
    assert {"a/b", "2"} <= set(described.values())
    batch = [{"op": "upsert", "item_key": "c", "item_value": "3"}, {"op": "delete", "item_key": "a/b"}]
    (tmp_path / "batch.json").write_text(json.dumps({"items": batch}))
    client("dictionary-entry update", at, "--file=batch.json")
    rows = parsed(client("dictionary-entry list", at, "--json"))
    assert [{"c", "3"} <= set(map(str, row.values())) for row in rows] == [True]
    client("dictionary-entry delete", at, "--key=c")
    assert standin.ok("GET", f"/dictionary/{dictionary}/items") == []
    assert "Record not found" in client("dictionary-entry describe", at, "--key=c", exit_code=1)


def test_whose_token_it_is_and_services(standin: Standin, client: Client) -> None:
    assert client("/whoami") == "Stand-in <stand-in@example.com>\n"
    assert f"stand-in ({standin.service_id})" in client("/whoami --verbose")
    client("/service create --name=another --comment=ours --type=vcl")
    made = parsed(client("/service search --name=another --json"))
    key = "ServiceID" if "ServiceID" in made else "ID"
    rows = parsed(client("/service list --json"))
    assert {row[key] for row in rows} == {standin.service_id, made[key]}
    client(f"/service update --service-id={made[key]} --name=renamed")
    assert "renamed" in client(f"/service describe --service-id={made[key]}")
    client(f"/service delete --service-id={made[key]}")
    assert len(parsed(client("/service list --json"))) == 1
    assert "active version" in client(f"/service delete --service-id={standin.service_id}", exit_code=1)


def test_dictionaries_and_what_is_in_the_version(standin: Standin, client: Client) -> None:
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    at = f"--version={draft}"
    client("dictionary create", at, "--name=ours")
    client("healthcheck create", at, "--name=alive", "--path=/health")
    client("backend create", at, "--name=second", "--address=www.example.com", "--healthcheck=alive")
    assert "ours" in client("dictionary list", at)
    backends = parsed(client("backend list", at, "--json"))
    assert {"origin", "second"} == {str(row["Name"]) for row in backends}
    assert "/health" in client("healthcheck list", at, "--json")
    client("dictionary update", at, "--name=ours", "--new-name=theirs")
    client("dictionary delete", at, "--name=theirs")
    assert standin.ok("GET", f"/version/{draft}/dictionary") == []


def test_versions_and_snippets(standin: Standin, client: Client) -> None:
    standin.install()
    active = next(version["number"] for version in standin.versions() if version["active"])
    draft = int(parsed(client("version clone --version=active --json"))["Number"])
    at = f"--version={draft}"
    content = 'set resp.http.X-Client = "first";'
    client("vcl snippet create", at, "--name=seen", "--type=deliver", "--priority=5", f"--content={content}")
    client("vcl snippet update", at, "--name=seen", f"--content={content.replace('first', 'second')}")
    client("vcl snippet create", at, "--name=live", "--type=deliver", "--dynamic", "--content=# nothing yet")
    rows = parsed(client("vcl snippet list", at, "--json"))
    assert {"seen", "live"} == {str(row["Name"]) for row in rows}
    assert "second" in client("vcl snippet describe", at, "--name=seen")
    assert "valid" in client("version validate", at)
    client("version activate", at)
    assert standin.edge.get("/client").headers["X-Client"] == "second"
    live = next(str(row["SnippetID"] if "SnippetID" in row else row["ID"]) for row in rows if row["Name"] == "live")
    live_content = '--content=set resp.http.X-Live = "1";'
    client("vcl snippet update --dynamic --version=active", f"--snippet-id={live}", live_content)
    assert standin.edge.get("/client").headers["X-Live"] == "1"
    assert "# Snippet seen : 5" in client("vcl describe", at)
    assert "locked" in client("vcl snippet delete", at, "--name=seen", exit_code=1)
    listed = parsed(client("version list --json"))
    assert [row["Number"] for row in listed if row["Active"]] == [draft]
    client("version activate", f"--version={active}")
    assert "X-Client" not in standin.edge.get("/client").headers


def test_what_does_not_compile_is_told(standin: Standin, client: Client) -> None:
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    client("vcl snippet create", f"--version={draft}", "--name=bad", "--type=recv", "--content=nonsense")
    assert 'is not valid: bad:1: "nonsense"' in client("version validate", f"--version={draft}")


def test_purges(standin: Standin, origin: SwitchableOrigin, client: Client, tmp_path: Path) -> None:
    """By key, keys, URL and all, soft and hard: a soft one leaves what may be served stale."""
    (tmp_path / "keys").write_text("b\nc\n")
    standin.install(miss="if (stale.exists) { return(deliver_stale); }")
    url = f"{standin.edge_url}/purged"
    origin.answers(cache_control="max-age=60, stale-if-error=60", surrogate_key="a b")

    def stored(words: str, *more: str) -> tuple[bool, bool]:
        """Whether the page is served after the purge without asking the origin, and whether the purge was soft."""
        standin.edge.get("/purged")
        client(f"purge {words}", *more)
        asked = len(origin.asked)
        standin.edge.get("/purged")
        return len(origin.asked) == asked, bool(standin.control.get("/history").json()[-1]["soft"])

    assert stored("--key=a") == (False, False)
    assert stored("--key=a --soft") == (True, True)
    assert stored("--file=keys") == (False, False)
    assert stored("--file=keys --soft") == (True, True)
    assert stored(f"--url={url}") == (False, False)
    assert stored(f"--url={url} --soft") == (True, True)
    standin.edge.get("/purged")
    client("purge --all")
    asked = len(origin.asked)
    standin.edge.get("/purged")
    assert len(origin.asked) == asked + 1
