"""A pipeline's hooks and `wrap`, on a stand-in that runs the policy. No test makes a real deploy in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.edge.claim import FREE, Claim, parse, parse_all
from edgeguard.errors import (
    CleanupUnfinished,
    EdgeError,
    Interrupted,
    Locked,
    NotConfirmed,
    OriginsUnhealthy,
    UsageError,
)
from edgeguard.grace import pipeline
from edgeguard.grace import wrap as wrapping
from edgeguard.machine.signals import Stop
from tests.edge.standin_edge import BASE, CEILING, TOKEN, StandinEdge
from tests.grace.edge_side import edge_side, history, in_force, writes
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeguard.environment import EdgeSide

HOUR = 1800  # as much as the ceiling allows


@pytest.fixture
def standin_edge(standin_edge: StandinEdge) -> StandinEdge:
    """The stand-in, with an origin that answers well on every page."""
    standin_edge.origin.pages = Well()
    return standin_edge


class Well(dict[str, Any]):
    """A site on which every page is found and may be kept for a second."""

    def get(self, _path: str, _default: object = None) -> tuple[int, dict[str, str]]:
        return 200, {"Cache-Control": "max-age=1"}


@pytest.fixture
def site(standin_edge: StandinEdge) -> EdgeSide:
    return edge_side(standin_edge, purge__default="none")


def pre(site: EdgeSide, lasting: int = HOUR, renews: str | None = None) -> dict[str, Any]:
    return pipeline.pre(site, stop=Stop(), lasting=lasting, renews=renews).json()


def post(site: EdgeSide, slot: str | None = None, *keys: str) -> dict[str, Any]:
    return pipeline.post(site, slot, stop=Stop(), purge_keys=keys)


def put(standin_edge: StandinEdge, nonce: str, slot: str = "deploy0", lasting: int = 600, hold: int = 0) -> None:
    """A claim that is there already."""
    until = standin_edge.now() + lasting
    held = standin_edge.now() + hold if hold else 0
    standin_edge.edge.write({slot: Claim(slot, until, BASE + lasting, nonce, held).value()})


def test_pre_is_one_write_and_post_gives_back_that_claim_alone(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "abcd1234", "support1", 300)
    began = len(history(standin_edge))
    made = pre(site)
    claimed, first = in_force(standin_edge), writes(standin_edge, began)
    began = len(history(standin_edge))
    done = post(site, made["id"], "news", "sport")
    asked = [(call["method"], call.get("keys"), call.get("soft")) for call in history(standin_edge)[began:]]

    assert (made["id"], made["grace"], claimed, first) == ("deploy0", BASE + HOUR, BASE + HOUR, ["PATCH"])
    assert (done["outcome"], done["purged"]["keys"]) == ("released", 2)
    assert [call for call in asked if call[0] != "GET"] == [
        ("POST", ["news", "sport"], True),
        ("PATCH", None, None),  # not before the purge
    ]
    assert in_force(standin_edge) == BASE + 300


def test_post_without_a_key_purges_every_page_at_the_origins_pace(standin_edge: StandinEdge) -> None:
    """If the purge fails, the claim is given back all the same, and the error names the purge."""
    put(standin_edge, "h1234567")
    done = post(edge_side(standin_edge, purge__pace=0), "deploy0")
    put(standin_edge, "h1234567")
    standin_edge.control("POST", "/faults", {"api": {"status": 503, "match": {"method": "POST"}}})
    with pytest.raises(CleanupUnfinished, match=r"purge .*nothing is purged"):
        post(edge_side(standin_edge, purge__patience=0), "deploy0")

    assert (done["outcome"], done["purged"]["keys"], done["purged"]["requests"]) == ("released", 256, 32)
    assert in_force(standin_edge) == BASE


def test_post_finds_the_claim_by_itself(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "h1234567", "deploy1")
    put(standin_edge, "abcd1234", "deploy0")  # of a guarded deploy, which gives it back itself

    assert post(site)["id"] == "deploy1"
    assert in_force(standin_edge) == BASE + 600
    with pytest.raises(Locked, match="belongs to `edgeguard deploy`"):
        post(site, "deploy0")


def test_post_asks_which_of_two(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "h1234567", "deploy0")
    put(standin_edge, "k1234567", "deploy1")

    with pytest.raises(UsageError) as refused:
        post(site)
    assert "deploy0 or deploy1" in refused.value.remedy


def test_post_without_pre_does_nothing_and_says_so(standin_edge: StandinEdge, site: EdgeSide) -> None:
    began = len(history(standin_edge))
    for slot in (None, "deploy0", "support1", "nonsense"):
        with pytest.raises(UsageError):
            post(site, slot, "news")
        with pytest.raises(UsageError):
            pipeline.post_failed(site, slot)

    assert writes(standin_edge, began) == []


def test_post_twice(standin_edge: StandinEdge, site: EdgeSide) -> None:
    """With the claim's id, `post` may be repeated. Without it, only the audit tells that there was a `pre`."""
    put(standin_edge, "h1234567")
    first = post(site, "deploy0")
    again = post(site, "deploy0", "news")
    with pytest.raises(UsageError, match="the last, deploy0, was given back"):
        post(site)

    assert (first["outcome"], again["outcome"]) == ("released", "free")
    assert again["purged"]["keys"] == 1


def test_post_after_the_claim_has_ended(standin_edge: StandinEdge, site: EdgeSide) -> None:
    """The deploy took longer than its claim. `post` purges all the same, and says that the claim had ended."""
    put(standin_edge, "h1234567")
    standin_edge.later(601)
    done = post(site, None, "news")

    assert (done["outcome"], done["purged"]["keys"]) == ("ended", 1)
    assert "visitors may have seen errors" in pipeline.text(done)
    with pytest.raises(UsageError, match="ended by itself"):
        pipeline.post_failed(site, "deploy0")


def test_a_site_that_is_not_well_keeps_the_claim(standin_edge: StandinEdge) -> None:
    put(standin_edge, "h1234567", hold=100)
    standin_edge.origin.closed = True
    began = len(history(standin_edge))
    with pytest.raises(OriginsUnhealthy) as failed:
        post(edge_side(standin_edge, edge__healthy_timeout=0.3), None, "news")

    assert failed.value.exit_code == 7
    assert "deploy0 stays in force until" in failed.value.message
    assert writes(standin_edge, began) == ["PATCH"]  # the end of its hold: no purge, and nothing given back
    assert (standin_edge.edge.status().hold, in_force(standin_edge)) == (False, BASE + 600)


def test_a_deploy_that_failed_keeps_the_claim_without_its_hold(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "h1234567", hold=100)
    kept = pipeline.post_failed(site, None)

    assert (kept["outcome"], kept["grace"]) == ("kept", BASE + 600)
    assert 590 <= kept["seconds_left"] <= 600
    assert "left)" in pipeline.text(kept)
    assert in_force(standin_edge) == BASE + 600
    assert not standin_edge.edge.status().hold


def test_another_pre_is_refused_and_told_whose_claim_there_is(standin_edge: StandinEdge, site: EdgeSide) -> None:
    pre(site, 600)
    before = standin_edge.edge.items()
    with pytest.raises(Locked) as refused:
        pre(site)

    assert refused.value.exit_code == 3
    assert "deploy0, by hook pre of " in refused.value.message
    assert "hook post site deploy0" in refused.value.remedy
    with pytest.raises(Locked):
        pre(site, renews="deploy1")
    assert standin_edge.edge.items() == before


def test_by_its_id_a_claim_is_renewed_and_never_shortened(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "h1234567", lasting=1200)
    made = pre(site, 600, renews="deploy0")
    [claim] = parse_all(standin_edge.edge.items())

    assert (made["id"], made["grace"], claim.until - standin_edge.now() > 1100) == ("deploy0", BASE + 1200, True)
    with pytest.raises(UsageError):
        pre(site, renews="support1")


def test_a_guarded_deploy_s_claim_is_never_taken_over(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "abcd1234")
    with pytest.raises(Locked):
        pre(site, renews="deploy0")


def test_the_fix_takes_over_what_a_failed_deploy_left(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "h1234567", "deploy1")
    pipeline.post_failed(site, None)
    made = pre(site, 300)

    assert (made["id"], made["grace"]) == ("deploy1", BASE + 600)
    assert post(site)["outcome"] == "released"
    assert in_force(standin_edge) == BASE


def test_a_claim_that_is_not_seen_is_taken_back(standin_edge: StandinEdge) -> None:
    standin_edge.control("POST", "/propagation", {"seconds": 1})
    with pytest.raises(NotConfirmed) as failed:
        pre(edge_side(standin_edge, edge__confirm_timeout=0.3))

    assert failed.value.exit_code == 9
    assert failed.value.remedy.startswith("Its claim is taken back")
    assert standin_edge.edge.items()["deploy0"] == FREE
    time.sleep(1)  # it arrives, so that the next test begins with an edge that has heard of everything


def test_a_pipeline_that_is_cancelled_while_it_claims_leaves_nothing(standin_edge: StandinEdge, site: EdgeSide) -> None:
    class Impatient(Stop):
        def sleep(self, seconds: float) -> None:
            raise Interrupted(f"interrupted after {seconds} s")

    with pytest.raises(Interrupted):
        pipeline.pre(site, stop=Impatient(), lasting=600)

    assert standin_edge.edge.items()["deploy0"] == FREE


def test_a_pipeline_that_is_cancelled_after_its_deploy_has_something_left_to_do(
    standin_edge: StandinEdge, site: EdgeSide
) -> None:
    """Its deploy has closed something, so this is no mere interruption."""

    class Impatient(Stop):
        def sleep(self, seconds: float) -> None:
            raise Interrupted(f"interrupted after {seconds} s")

    put(standin_edge, "h1234567")
    standin_edge.origin.closed = True
    with pytest.raises(CleanupUnfinished, match="nothing is purged or given back yet; deploy0 stays in force") as left:
        pipeline.post(site, "deploy0", stop=Impatient())

    assert left.value.exit_code == 12
    assert left.value.remedy == "Then repeat it: edgeguard hook post site deploy0"


@pytest.mark.parametrize("nonce", ["", "k1234567"], ids=["free", "kept"])
def test_a_write_of_which_no_answer_came_is_taken_back(standin_edge: StandinEdge, site: EdgeSide, nonce: str) -> None:
    if nonce:
        put(standin_edge, nonce)
    before = standin_edge.edge.items().get("deploy0", FREE)
    lost = {"drop": "after", "times": 4, "match": {"method": "PATCH"}}
    standin_edge.control("POST", "/faults", {"api": lost})
    with pytest.raises(EdgeError) as failed:
        pre(site)

    assert failed.value.remedy.startswith("Its claim is taken back")
    assert standin_edge.edge.items()["deploy0"] == before
    assert pre(site, 600)["id"] == "deploy0"


def test_a_claim_that_can_t_be_taken_back_is_named(standin_edge: StandinEdge, site: EdgeSide) -> None:
    standin_edge.control("POST", "/faults", {"api": {"drop": "after", "times": 8, "match": {"method": "PATCH"}}})
    with pytest.raises(EdgeError) as failed:
        pre(site)

    assert "deploy0, could not be taken back" in failed.value.remedy
    assert "edgeguard hook pre site --id deploy0" in failed.value.remedy


@pytest.mark.parametrize("nonce", ["", "k1234567"], ids=["free", "kept"])
def test_wrap_that_is_stopped_before_its_command_leaves_what_there_was(
    standin_edge: StandinEdge, site: EdgeSide, nonce: str
) -> None:
    if nonce:
        put(standin_edge, nonce)
    before = standin_edge.edge.items().get("deploy0", FREE)

    def stopped(_words: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as failed:
        wrapping.wrap(site, ["true"], lasting=600, say=stopped)

    assert failed.value.remedy.startswith("Its claim is taken back")
    assert standin_edge.edge.items()["deploy0"] == before


def test_post_that_can_t_ask_the_api_says_what_is_left(standin_edge: StandinEdge, site: EdgeSide) -> None:
    """The front door needs no API, so the error says whether the site is well."""
    put(standin_edge, "h1234567")
    standin_edge.control("POST", "/faults", {"api": {"status": 403}})
    with pytest.raises(CleanupUnfinished, match="the site is well, but left to do: purge and release") as unfinished:
        post(site, "deploy0", "news")
    with pytest.raises(CleanupUnfinished, match="could not be marked as kept") as not_kept:
        pipeline.post_failed(site, "deploy0")
    standin_edge.origin.closed = True
    with pytest.raises(OriginsUnhealthy, match="deploy0 stays in force"):
        post(edge_side(standin_edge, edge__healthy_timeout=0.3), "deploy0")

    assert "edgeguard hook post site deploy0 --purge-key news" in unfinished.value.remedy
    assert "edgeguard hook post site deploy0 --failed" in not_kept.value.remedy


def test_wrap_tells_that_the_command_succeeded_where_the_api_fails_after_it(
    standin_edge: StandinEdge, site: EdgeSide
) -> None:
    def fails(_words: str) -> None:
        standin_edge.control("POST", "/faults", {"api": {"status": 403}})

    with pytest.raises(CleanupUnfinished, match=r"true succeeded; .*deploy0 stays in force .* until 2"):
        wrapping.wrap(site, ["true"], lasting=600, say=fails)


def test_what_can_t_be_finished_is_named_and_the_rest_is_done(standin_edge: StandinEdge, site: EdgeSide) -> None:
    put(standin_edge, "h1234567")
    purges = {"path_prefix": f"/service/{standin_edge.ready['service_id']}/purge"}
    standin_edge.control("POST", "/faults", {"api": {"status": 403, "match": purges}})
    with pytest.raises(CleanupUnfinished, match="left to do: purge"):
        post(site, None, "news")

    assert in_force(standin_edge) == BASE


# -- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config(module_standin_edge: StandinEdge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's file with an [edge] alone, and the fewest keys in it."""
    folder = tmp_path_factory.mktemp("config")
    ready = module_standin_edge.ready
    (folder / "site.toml").write_text(
        f'[edge]\nservice = "{ready["service_id"]}"\nurl = "{ready["edge_url"]}"\nhealth_url = "{ready["edge_url"]}/"\n'
        f'api_url = "{ready["api_url"]}"\nbase_grace = {BASE}\nceiling = {CEILING}\npropagation = 0.05\n'
        f"confirm_timeout = 5\nhealthy_rounds = 1\nhealthy_for = 0\nhealthy_timeout = 0.3\n"
        f"[claim]\nduration = 600\nhold = 3\n"
        '[purge]\ndefault = "none"\n'
    )
    return folder


def begin(config: Path, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command in a session of its own, so that no terminal's keyboard reaches it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEGUARD_", "FASTLY_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "edgeguard", *arguments],
        env={**clean, "EDGEGUARD_CONFIG": str(config), "FASTLY_API_TOKEN": TOKEN},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(config: Path, *arguments: str, given: str = "") -> tuple[int, str, str]:
    process = begin(config, *arguments)
    out, err = process.communicate(given, timeout=60)
    return process.returncode, out, err


def test_pre_prints_the_id_that_post_takes(site: EdgeSide, config: Path) -> None:
    code, out, err = run(config, "hook", "pre", "site", "--for", "20m")
    claimed = site.edge.status().grace
    done = run(config, "hook", "post", "site", out.strip(), "--json")

    assert (code, out, claimed) == (0, "deploy0\n", BASE + 1200)
    assert "confirmed" in err
    assert done[0] == 0, done[2]
    assert json.loads(done[1])["outcome"] == "released"


BACKWARDS = "import sys; sys.stderr.write('to stderr'); print(sys.stdin.read()[::-1], end='')"


def test_wrap_leaves_the_command_its_streams(site: EdgeSide, config: Path) -> None:
    code, out, err = run(config, "wrap", "site", "--quiet", "--", sys.executable, "-c", BACKWARDS, given="olleh")

    assert (code, out, err) == (0, "hello", "to stderr")
    assert site.edge.status().grace == BASE


def test_wrap_gives_the_command_s_code_and_keeps_the_claim(site: EdgeSide, config: Path) -> None:
    code, out, err = run(config, "wrap", "site", "--json", "--", "sh", "-c", "exit 42")

    assert code == 42
    assert json.loads(out)["outcome"] == "kept"
    assert "deploy0 stays in force until" in err
    assert site.edge.status().grace == BASE + 600


def test_wrap_ends_with_7_where_the_command_was_content_and_the_site_is_not_well(
    standin_edge: StandinEdge, site: EdgeSide, config: Path
) -> None:
    standin_edge.origin.closed = True
    code, _, err = run(config, "wrap", "site", "--", "true")

    assert code == 7, err
    assert site.edge.status().grace == BASE + 600


@pytest.mark.parametrize(
    ("command", "expected"),
    [(["no-such-command"], 127), (["./no/such"], 127), (["/etc/passwd"], 126), (["/etc"], 126)],
)
def test_what_can_t_be_run_claims_nothing(
    standin_edge: StandinEdge, site: EdgeSide, config: Path, command: Sequence[str], expected: int
) -> None:
    began = len(history(standin_edge))
    code, out, err = run(config, "wrap", "site", "--", *command)

    assert (code, out) == (expected, "")
    assert command[0] in err
    assert writes(standin_edge, began) == []
    assert site.edge.status().grace == BASE


def test_a_script_that_only_looks_like_a_program_leaves_no_claim(site: EdgeSide, config: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("no interpreter is named here")
    script.chmod(0o755)
    code, _, err = run(config, "wrap", "site", "--", str(script))

    assert code == 126, err
    assert site.edge.items()["deploy0"] == FREE


NOTES = """
import signal, sys, time
def heard(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(5)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, heard)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def test_signals_go_on_to_the_command(site: EdgeSide, config: Path) -> None:
    process = begin(config, "wrap", "site", "--quiet", "--", sys.executable, "-c", NOTES)
    assert process.stdout is not None
    heard = [process.stdout.readline()]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
        heard.append(process.stdout.readline())
    process.communicate(timeout=60)

    assert heard == ["ready\n", "SIGINT\n", "SIGHUP\n", "SIGTERM\n"]
    assert process.returncode == 5
    assert site.edge.status().grace == BASE + 600


COUNTS = """
import signal, sys, time
count = 0
def interrupted(number, frame):
    global count
    count += 1
    print(count, flush=True)
def ended(number, frame):
    print("in all", count, flush=True)
    sys.exit(int(sys.argv[1]))
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, ended)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize(("code", "left"), [(0, BASE), (7, BASE + 600)])
def test_on_a_terminal_the_command_gets_each_ctrl_c_once(site: EdgeSide, config: Path, code: int, left: int) -> None:
    """Also where stdin is not the terminal."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEGUARD_", "FASTLY_"))}
    terminal = Terminal(
        *("/bin/sh", "-c", 'exec "$@" </dev/null', "sh", sys.executable, "-m", "edgeguard", "wrap", "site"),
        *("--quiet", "--", sys.executable, "-c", COUNTS, str(code)),
        environment={**clean, "EDGEGUARD_CONFIG": str(config), "FASTLY_API_TOKEN": TOKEN},
    )
    assert terminal.process.stdout is not None
    heard = [terminal.process.stdout.readline()]
    for _ in range(2):
        terminal.press_ctrl_c()
        heard.append(terminal.process.stdout.readline())
    terminal.process.send_signal(signal.SIGTERM)

    assert terminal.end() == (code, "in all 2\n")
    assert heard == ["ready\n", "1\n", "2\n"]
    assert site.edge.status().grace == left


def test_a_command_that_a_signal_ends_is_128_and_its_number(site: EdgeSide, config: Path) -> None:
    assert run(config, "wrap", "site", "--quiet", "--", "sh", "-c", "kill -9 $$")[0] == 128 + 9
    assert site.edge.status().grace == BASE + 600


def test_a_machine_that_dies_leaves_a_service_that_is_back_at_its_base_by_itself(
    standin_edge: StandinEdge, config: Path
) -> None:
    """While the machine lives, the claim and its hold are renewed. Afterwards the hold ends, and then the claim."""
    process = begin(config, "wrap", "site", "--quiet", "--", sys.executable, "-c", NOTES)
    assert process.stdout is not None
    process.stdout.readline()
    first = parse("deploy0", standin_edge.edge.items()["deploy0"])
    time.sleep(2.2)  # two thirds of the hold
    second = parse("deploy0", standin_edge.edge.items()["deploy0"])
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    held, claimed = standin_edge.edge.status().hold, in_force(standin_edge)
    standin_edge.later(5)
    after = standin_edge.edge.status().hold, in_force(standin_edge)
    standin_edge.later(600)

    assert first is not None
    assert second is not None
    assert second.until > first.until
    assert second.hold_until > first.hold_until
    assert (held, claimed) == (True, BASE + 600)
    assert after == (False, BASE + 600)
    assert (standin_edge.edge.status().hold, in_force(standin_edge)) == (False, BASE)


def test_a_slot_that_became_somebody_else_s_is_left_to_them(standin_edge: StandinEdge, config: Path) -> None:
    process = begin(config, "wrap", "site", "--", sys.executable, "-c", NOTES)
    assert process.stdout is not None
    process.stdout.readline()
    put(standin_edge, "h7654321", lasting=900)
    theirs = standin_edge.edge.items()["deploy0"]
    time.sleep(1.2)  # more than a third of the hold
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert standin_edge.edge.items()["deploy0"] == theirs
    assert "is somebody else's now" in err
    assert "is not in force any more" in err
