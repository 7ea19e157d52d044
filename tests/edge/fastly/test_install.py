"""`edgeguard edge install | diff | remove`, by the command line, on the stand-in as a program of its own."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cli import main
from edgeguard.cluster.lock import SharedRecord
from edgeguard.cluster.record import Unfinished
from edgeguard.edge.claim import Claim
from edgeguard.edge.fastly import policy
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.environment import Environment
from edgeguard.site.asking import ask
from tests.edge.standin_edge import TOKEN, StandinEdge

if TYPE_CHECKING:
    from collections.abc import Iterator

BEFORE = Path(__file__).with_name("before.json")
THEIRS = {"name": "theirs", "type": "recv", "content": "# theirs", "priority": 5}


@dataclass
class Operator:
    """A person with a configuration folder and a token, who runs `edgeguard edge`."""

    standin_edge: StandinEdge
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command on the environment `site`: exit code, standard output, standard error."""
        verb, *rest = arguments
        code = main(["edge", verb, "site", *rest, "--config", str(self.folder)])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = self.run(*arguments, "--json")
        return code, json.loads(out)

    def installed(self) -> int:
        """Install the policy over the present state. Returns the version's number."""
        code, found = self.json("install")
        assert code == 0
        return int(found["version"])

    def plant(self, **plant: object) -> dict[str, Any]:
        planted: dict[str, Any] = self.standin_edge.control("POST", "/plants", plant)
        return planted

    def fail(self, **fault: object) -> None:
        self.standin_edge.control("POST", "/faults", {"api": fault})

    def versions(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.standin_edge.api("GET", "/version")
        return rows

    def snippets(self, version: int) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.standin_edge.api("GET", f"/version/{version}/snippet")}

    def asked(self) -> list[str]:
        """The changing requests so far."""
        rows = self.standin_edge.control("GET", "/history")
        return [f"{row['method']} {row['path']}" for row in rows if row["method"] != "GET"]


@pytest.fixture
def operator(
    module_standin_edge: StandinEdge,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Operator]:
    """An operator of the service without the policy. After the test, the service is as it was before."""
    monkeypatch.setenv("FASTLY_API_TOKEN", TOKEN)
    module_standin_edge.control("POST", "/plants", {})
    module_standin_edge.reset()
    settings = module_standin_edge.settings
    tables = {
        "edge": {name: getattr(settings, name) for name in ("service", "url", "api_url", "health_url", "ceiling")}
        | {"base_grace": settings.base_grace, "propagation": 0},
        "visitors": {"anonymous": [module_standin_edge.page()]},
    }
    write_config(tmp_path, tables)
    yield Operator(module_standin_edge, tmp_path, capsys)
    module_standin_edge.control("DELETE", "/plants")
    module_standin_edge.control("DELETE", "/faults")


def write_config(folder: Path, tables: dict[str, dict[str, Any]]) -> None:
    lines = []
    for table, content in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in content.items())]
    (folder / "site.toml").write_text("\n".join(lines), encoding="utf-8")


# -- install, diff, remove -------------------------------------------------------------------------------------------


def test_installing_shows_the_difference_and_says_who_and_why_in_the_version(operator: Operator) -> None:
    operator.plant(add={"snippet": [THEIRS]}, comment="the site's own")
    code, out, _ = operator.run("install", "--reason", "ticket 7")
    assert code == 0
    assert "+++ wanted/snippet edgeguard_recv" in out
    assert "+dictionary edgeguard" in out
    active = operator.standin_edge.active()
    assert f"version {active} of {operator.standin_edge.settings.service} is active" in out
    comment = next(row["comment"] for row in operator.versions() if row["active"])
    assert comment.startswith(f"edgeguard policy {policy.revision(operator.standin_edge.settings)}: ticket 7 (")
    assert "@" in comment
    assert operator.snippets(active).keys() == {"theirs", *(one.name for one in operator.standin_edge.policy())}
    assert ByVcl(operator.standin_edge.settings, TOKEN, ask).status().base == operator.standin_edge.settings.base_grace


def test_installing_again_writes_nothing_and_says_so(operator: Operator) -> None:
    version = operator.installed()
    before = operator.asked()
    code, out, _ = operator.run("install")
    assert (code, operator.asked()) == (0, before)
    assert f"version {version} " in out
    assert "nothing was written" in out
    assert operator.json("install")[1]["changed"] is False


def test_diff_ends_with_4_until_the_service_is_as_it_should_be(operator: Operator) -> None:
    before = operator.asked()
    code, out, err = operator.run("diff")
    assert (code, operator.asked()) == (4, before)
    assert "+++ wanted/snippet edgeguard_miss" in out
    assert "edgeguard edge install site" in err
    operator.installed()
    assert operator.run("diff") == (0, "", "")
    code, found = operator.json("diff")
    assert (code, found["differences"], found["diff"]) == (0, [], "")


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        ({"change": {"snippet": {"edgeguard_miss": {"content": "# by hand"}}}}, "edgeguard_miss has another content"),
        ({"change": {"snippet": {"edgeguard_recv": {"priority": 50}}}}, "edgeguard_recv has another priority"),
        ({"remove": {"snippet": ["edgeguard_error"]}}, "edgeguard_error is missing"),
        ({"add": {"snippet": [THEIRS | {"name": "edgeguard_of_old"}]}}, "edgeguard_of_old is superfluous"),
    ],
)
def test_what_was_changed_by_hand_is_drift_and_installing_mends_it(
    operator: Operator, plant: dict[str, Any], word: str
) -> None:
    operator.installed()
    operator.plant(**plant)
    code, found = operator.json("diff")
    assert (code, found["differences"]) == (4, [f"snippet {word}"])
    operator.installed()
    assert operator.json("diff")[0] == 0


def test_an_older_policy_is_replaced_whole_and_its_claims_stay(operator: Operator) -> None:
    """The older policy has another revision, and a snippet that the present one does not have."""
    settings = operator.standin_edge.settings.model_copy(update={"status_name": "of-old"})
    ByVcl(settings, TOKEN, ask).install("long ago")
    operator.plant(add={"snippet": [THEIRS | {"name": "edgeguard_of_old"}]})
    operator.standin_edge.edge.write({"support1": "0:0"})
    code, found = operator.json("install")
    assert (code, found["changed"]) == (0, True)
    assert operator.snippets(found["version"]).keys() == {one.name for one in operator.standin_edge.policy()}
    assert ByVcl(operator.standin_edge.settings, TOKEN, ask).items()["support1"] == "0:0"


def test_the_policy_of_the_release_before_is_upgraded_while_its_pages_and_claims_last(operator: Operator) -> None:
    """before.json has the snippets of that release, for the settings of these tests."""
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    edge = operator.standin_edge
    operator.plant(add={"snippet": before["snippets"], "dictionary": [{"name": "edgeguard"}]})
    path = edge.page()
    edge.get(path)
    ByVcl(edge.settings, TOKEN, ask).write({"support1": Claim("support1", edge.now() + 9000, 900, "abcd1234").value()})
    assert edge.edge.status().revision == before["revision"]

    code, found = operator.json("diff")
    assert (code, found["revision"]) == (4, before["revision"])
    changed = [f"snippet edgeguard_{name} has another content" for name in ("fetch_ceiling", "error", "deliver")]
    assert sorted(found["differences"]) == sorted([*changed, "snippet edgeguard_recv_purges is missing"])
    code, found = operator.json("install")
    assert (code, found["changed"]) == (0, True)
    assert operator.run("diff") == (0, "", "")
    assert edge.edge.status().revision == policy.revision(edge.settings)
    edge.origin.closed = True
    edge.later(500)
    assert (edge.get(path).status, edge.get(path).stale) == (200, "error")


def test_drafts_of_others_are_left_alone(operator: Operator) -> None:
    """They are not even cloned: unfinished work in them must not become active with the policy."""
    draft = operator.plant(draft={"comment": "half done"})["draft"]
    operator.standin_edge.api("POST", f"/version/{draft}/snippet", {key: str(value) for key, value in THEIRS.items()})
    active = operator.installed()
    assert active != draft
    assert "theirs" not in operator.snippets(active)
    assert operator.snippets(draft).keys() == {"theirs"}
    assert next(row["comment"] for row in operator.versions() if row["number"] == draft) == "half done"


def test_removing_takes_the_policy_out_and_leaves_the_rest(operator: Operator) -> None:
    operator.plant(add={"snippet": [THEIRS]})
    operator.installed()
    code, out, _ = operator.run("remove", "--reason", "the site moves")
    assert code == 0
    assert "--- active/snippet edgeguard_recv" in out
    active = operator.standin_edge.active()
    assert operator.snippets(active).keys() == {"theirs"}
    assert [row["name"] for row in operator.standin_edge.api("GET", f"/version/{active}/dictionary")] == ["edgeguard"]
    assert "policy removed: the site moves" in next(row["comment"] for row in operator.versions() if row["active"])
    before = operator.asked()
    code, out, _ = operator.run("remove")
    assert (code, operator.asked()) == (0, before)
    assert "nothing was written" in out
    assert operator.run("remove", "--dictionary")[0] == 0
    assert operator.standin_edge.api("GET", f"/version/{operator.standin_edge.active()}/dictionary") == []


# -- refusals --------------------------------------------------------------------------------------------------------

EARLY = {"snippet": [THEIRS | {"content": 'if (req.url ~ "^/x") { return(pass); }', "priority": 0}]}


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        ({"settings": {"general.stale_if_error": True}}, "serve-stale"),
        ({"add": {"cache_settings": [{"name": "c", "stale_ttl": 300}]}}, "cache-settings"),
        ({"add": {"request_settings": [{"name": "r", "max_stale_age": 60}]}}, "request-settings"),
        ({"add": {"snippet": [THEIRS | {"content": "set req.max_stale_if_error = 9s;"}]}}, "grace-in-vcl"),
        ({"add": EARLY}, "early-return"),
        (
            {"add": {"vcl": [{"name": "own", "content": "sub vcl_log {\n  #FASTLY log\n}\n", "main": True}]}},
            "no-macros",
        ),
    ],
)
def test_what_fights_the_policy_is_refused_by_name_and_may_be_accepted(
    operator: Operator, plant: dict[str, Any], name: str
) -> None:
    operator.plant(**plant)
    before = operator.asked()
    code, out, err = operator.run("install")
    assert (code, out, operator.asked()) == (4, "", before)
    assert f"--accept {name}" in err
    code, found = operator.json("install")
    assert (code, found["changed"], {each["name"] for each in found["findings"]}) == (4, False, {name})
    code, out, err = operator.run("install", "--accept", name)
    assert code == 0
    assert f"! {name}: " in err


def test_a_compute_service_is_refused_for_good(operator: Operator) -> None:
    operator.plant(type="wasm")
    code, _, err = operator.run("install", *(f"--accept={name}" for name in ("no-macros", "early-return")))
    assert code == 4
    assert "'wasm'" in err
    assert "--accept" not in err


def test_a_name_that_is_no_refusal_is_refused(operator: Operator) -> None:
    code, _, err = operator.run("install", "--accept", "compute-service")
    assert code == 2
    assert "serve-stale" in err


@pytest.mark.parametrize("header", ["Cache-Control", "Surrogate-Control"])
def test_what_the_origin_promises_is_not_shortened_unasked(operator: Operator, header: str) -> None:
    """Also a promise in Surrogate-Control, which the edge hides from visitors."""
    page = operator.standin_edge.page(more={header: "max-age=60, stale-if-error=2000"})
    config = operator.folder / "site.toml"
    config.write_text(config.read_text().partition("[visitors]")[0] + f'[visitors]\nanonymous = ["{page}"]')
    code, _, err = operator.run("install")
    assert code == 4
    assert f"{page} promises stale-if-error=2000" in err
    assert "edge.base_grace = 2000" in err
    assert operator.run("install", "--accept", "shortens")[0] == 0


def test_a_deploys_claim_refuses_and_a_persons_does_so_for_removing_only(operator: Operator) -> None:
    operator.installed()
    edge = ByVcl(operator.standin_edge.settings, TOKEN, ask)
    until = int(time.time()) + 600
    edge.write({"deploy0": f"{until}:900:{until}:abcd1234", "support1": f"{until}:900:abcd1234"})
    operator.plant(remove={"snippet": ["edgeguard_recv"]})
    code, _, err = operator.run("install")
    assert code == 4
    assert "--accept deploy-under-way" in err
    assert "deploy0" in err
    edge.write({"deploy0": "0:0"})
    code, _, err = operator.run("remove")
    assert code == 4
    assert "--accept claims-in-force" in err
    operator.installed()
    assert operator.run("remove", "--accept", "claims-in-force")[0] == 0


def test_a_held_lock_on_the_cluster_refuses(operator: Operator) -> None:
    config = operator.folder / "site.toml"
    config.write_text(
        config.read_text()
        + f'\n[application]\nrepository = "/nowhere"\nbranch = "main"\n[cluster]\nroot = "{operator.folder / "root"}"\n'
        "[cluster.options]\ngate_port = 1\n"
    )
    environment = Environment.open("site", config=operator.folder)
    record = SharedRecord(environment.cluster, "site")
    record.take(Unfinished.new(id="d1", phase="lock"))
    code, _, err = operator.run("install")
    assert code == 4
    assert "d1 holds the lock" in err
    record.release()
    code, _, err = operator.run("install")
    assert code == 4
    assert "edgeguard rollback site" in err
    record.take_over(wait=lambda _: None, say=lambda _: None)
    record.note(deploy=None)
    record.release()
    assert operator.run("install")[0] == 0


# -- bad days --------------------------------------------------------------------------------------------------------


def of_version(operator: Operator, number: int, last: str) -> dict[str, str]:
    return {"path_prefix": f"/service/{operator.standin_edge.settings.service}/version/{number}/{last}"}


def test_a_clone_whose_answer_is_lost_is_made_again_and_the_stray_is_named(operator: Operator) -> None:
    active = operator.standin_edge.active()
    operator.fail(drop="after", times=1, match={"method": "PUT"} | of_version(operator, active, "clone"))
    code, found = operator.json("install")
    stray = active + 1
    assert (code, found["version"]) == (0, active + 2)
    [note] = found["notes"]
    assert f"draft {stray} is probably from a clone" in note
    assert operator.snippets(stray) == {}


@pytest.mark.parametrize(("drop", "done"), [("after", True), ("before", False)])
def test_an_activation_whose_answer_is_lost_is_looked_up(operator: Operator, drop: str, *, done: bool) -> None:
    active = operator.standin_edge.active()
    operator.fail(drop=drop, times=1, match={"method": "PUT"} | of_version(operator, active + 1, "activate"))
    code, _, err = operator.run("install")
    assert (code, operator.standin_edge.active()) == ((0, active + 1) if done else (5, active))
    assert ("is left behind, not activated" in err) is not done
    assert len([call for call in operator.asked()[-1:] if call.endswith("/activate")]) == 1


def test_an_activation_that_can_not_be_looked_up_is_not_called_undone(operator: Operator) -> None:
    active = operator.standin_edge.active()
    match = {"method": "PUT"} | of_version(operator, active + 1, "activate")
    operator.fail(drop="after", delay=1.0, times=1, match=match)
    blinding = threading.Thread(target=_blind, args=(operator, match["path_prefix"]))
    blinding.start()
    code, _, err = operator.run("install")
    blinding.join()
    operator.standin_edge.control("DELETE", "/faults")
    assert code == 5
    assert f"whether version {active + 1} is active now is unknown" in err
    assert "not activated" not in err


def _blind(operator: Operator, path: str) -> None:
    """From the activation on, the API answers no reading call."""
    while not any(row["path"] == path for row in operator.standin_edge.control("GET", "/history")[-1:]):
        time.sleep(0.01)
    operator.fail(status=400, match={"method": "GET"})


def test_a_snippet_whose_answer_is_lost_is_not_there_twice(operator: Operator) -> None:
    operator.fail(
        drop="after",
        times=1,
        match={"method": "POST"} | of_version(operator, operator.standin_edge.active() + 1, "snippet"),
    )
    version = operator.installed()
    assert len(operator.snippets(version)) == len(operator.standin_edge.policy())


@pytest.mark.parametrize("how", [{"status": 429, "headers": {"Retry-After": "3000"}}, {"status": 401}])
@pytest.mark.parametrize("done", [0, 1, 4])
def test_an_install_that_was_throttled_goes_on_at_the_missing_piece(
    operator: Operator, done: int, how: dict[str, Any]
) -> None:
    draft = operator.standin_edge.active() + 1
    operator.fail(**how, skip=done, match={"method": "POST"} | of_version(operator, draft, "snippet"))
    code, _, err = operator.run("install")
    assert code == 5
    assert f"draft {draft} is left behind, not activated" in err
    assert f"The same command goes on with draft {draft}." in err
    assert ("Try again in 50 min" in err) is (how["status"] == 429)
    operator.standin_edge.control("DELETE", "/faults")
    before = len(operator.asked())
    code, found = operator.json("install")
    assert (code, found["version"]) == (0, draft)
    assert [note for note in found["notes"] if f"went on with draft {draft}" in note]
    written = [call.split("/")[-1] for call in operator.asked()[before:]]
    assert written == [str(draft), *["snippet"] * (len(operator.standin_edge.policy()) - done), "activate"]


def test_within_one_install_a_throttled_piece_alone_is_repeated(operator: Operator) -> None:
    draft = operator.standin_edge.active() + 1
    match = {"method": "POST"} | of_version(operator, draft, "snippet")
    operator.fail(status=429, headers={"Retry-After": "1"}, skip=3, times=2, match=match)
    before = len(operator.asked())
    assert operator.installed() == draft
    calls = [call for call in operator.asked()[before:] if call.endswith(f"/version/{draft}/snippet")]
    assert len(calls) == len(operator.standin_edge.policy()) + 2


@pytest.mark.parametrize("theirs", ["edited", "cloned", "older"])
def test_a_draft_with_changes_of_others_is_left_alone(operator: Operator, theirs: str) -> None:
    """A draft that somebody edited; a clone of it; a draft of a version that is not active any more."""
    draft = operator.standin_edge.active() + 1
    operator.fail(status=400, match={"method": "POST"} | of_version(operator, draft, "snippet"))
    assert operator.run("install")[0] == 5
    operator.standin_edge.control("DELETE", "/faults")
    snippet = {"name": "theirs", "type": "recv", "content": "# theirs", "priority": "5", "dynamic": "0"}
    if theirs == "older":
        other = operator.standin_edge.api("PUT", f"/version/{draft - 1}/clone")["number"]
        operator.standin_edge.api("POST", f"/version/{other}/snippet", snippet)
        operator.standin_edge.api("PUT", f"/version/{other}/activate")
    else:
        operator.standin_edge.api("POST", f"/version/{draft}/snippet", snippet)
    if theirs == "cloned":
        operator.standin_edge.api("PUT", f"/version/{draft}/clone")
    newest = max(int(row["number"]) for row in operator.versions())
    assert operator.installed() == newest + 1


def test_an_install_starts_over_when_somebody_else_activates_a_version(operator: Operator) -> None:
    """Somebody activates another version while our draft is validated."""
    first = operator.standin_edge.active()
    operator.fail(delay=1.0, times=1, match=of_version(operator, first + 1, "validate"))
    ended: list[tuple[int, dict[str, Any]]] = []
    ours = threading.Thread(target=lambda: ended.append(operator.json("install")))
    ours.start()
    while not any("validate" in row["path"] for row in operator.standin_edge.control("GET", "/history")[-3:]):
        time.sleep(0.01)
    theirs = operator.standin_edge.api("PUT", f"/version/{first}/clone")["number"]
    operator.standin_edge.api("POST", f"/version/{theirs}/snippet", {key: str(value) for key, value in THEIRS.items()})
    operator.standin_edge.api("PUT", f"/version/{theirs}/activate")
    ours.join()
    [(code, found)] = ended
    assert (code, found["version"]) == (0, theirs + 1)
    assert "theirs" in operator.snippets(theirs + 1)


# -- mechanism = "settings" ------------------------------------------------------------------------------------------


@pytest.fixture
def by_settings(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setenv("EDGEGUARD_EDGE__MECHANISM", "settings")
    return operator


def told(operator: Operator) -> tuple[bool, int]:
    settings = operator.standin_edge.api("GET", f"/version/{operator.standin_edge.active()}/settings")
    return settings["general.stale_if_error"], settings["general.stale_if_error_ttl"]


def test_by_settings_the_services_own_grace_is_raised_to_the_ceiling_once(by_settings: Operator) -> None:
    operator = by_settings
    ceiling = operator.standin_edge.settings.ceiling
    assert operator.json("diff")[1]["differences"] == ["general.stale_if_error is off"]
    code, out, _ = operator.run("install")
    assert code == 0
    assert f"+general.stale_if_error_ttl = {ceiling}" in out
    assert (told(operator), operator.snippets(operator.standin_edge.active())) == ((True, ceiling), {})
    before = operator.asked()
    assert operator.run("install")[0] == 0
    assert (operator.run("diff")[0], operator.asked()) == (0, before)
    code, _, err = operator.run("remove")
    assert (code, told(operator)) == (0, (True, ceiling))
    assert "stays as it is" in err


def test_by_settings_a_longer_grace_is_not_shortened(by_settings: Operator) -> None:
    by_settings.plant(settings={"general.stale_if_error": True, "general.stale_if_error_ttl": 999_999})
    assert by_settings.json("diff")[0] == 0
    by_settings.plant(settings={"general.stale_if_error_ttl": 10})
    [difference] = by_settings.json("diff")[1]["differences"]
    assert "is 10, less than" in difference


def test_from_vcl_to_settings_no_vcl_of_ours_stays(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.installed()
    operator.plant(settings={"general.stale_if_error": True, "general.stale_if_error_ttl": 999_999})
    monkeypatch.setenv("EDGEGUARD_EDGE__MECHANISM", "settings")
    assert operator.snippets(operator.installed()) == {}
    assert told(operator) == (True, 999_999)


def test_by_settings_there_are_no_claims_and_show_says_what_there_is(by_settings: Operator) -> None:
    operator = by_settings
    config = ["--config", str(operator.folder)]
    operator.installed()
    before = operator.asked()
    for command in (["grace", "extend", "site", "--for", "1h"], ["grace", "release", "site", "support1"]):
        assert main([*command, "--reason", "x", *config]) == 2
        assert "edge.mechanism is settings" in operator.capsys.readouterr().err
    assert main(["hook", "pre", "site", *config]) == 2
    assert "edge.mechanism is settings" in operator.capsys.readouterr().err
    assert main(["grace", "show", "site", *config]) == 0
    assert "by the service's own setting; no claims are possible" in operator.capsys.readouterr().out
    assert main(["grace", "show", "site", *config, "--json"]) == 0
    assert json.loads(operator.capsys.readouterr().out)["in_force"] == operator.standin_edge.settings.ceiling
    assert operator.asked() == before


def test_by_settings_the_doctor_misses_no_policy_at_the_edge(by_settings: Operator) -> None:
    operator = by_settings
    config = ["--config", str(operator.folder), "--json"]
    main(["doctor", "site", *config])
    before = {each["name"] for each in json.loads(operator.capsys.readouterr().out)["findings"]}
    operator.installed()
    main(["doctor", "site", *config])
    found = {each["name"]: each["severity"] for each in json.loads(operator.capsys.readouterr().out)["findings"]}
    assert "policy-changed" in before
    assert found["policy"] == "ok"
    assert not {"policy-changed", "no-status", "api-unknown", "nodes"} & found.keys()


def test_by_settings_a_visitor_is_served_stale(by_settings: Operator) -> None:
    operator = by_settings
    operator.installed()
    page = operator.standin_edge.page(cache="max-age=10")
    assert operator.standin_edge.get(page).status == 200
    operator.standin_edge.later(60)
    operator.standin_edge.origin.closed = True
    assert operator.standin_edge.get(page).status == 200
