"""Support's claims, on a stand-in that runs the policy: the command's options, and the grace at the edge afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.edge.claim import SLOTS, SUPPORT_SLOTS, Claim
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.edge.fastly.policy import Snippet
from edgeguard.environment import EdgeSide, ServiceOnly
from edgeguard.errors import EdgeError, EdgeUnauthorized, NotConfirmed, UsageError
from edgeguard.grace import pipeline, show, support
from edgeguard.machine.signals import Stop
from edgeguard.site.asking import ask
from edgeguard.times import apart, duration
from tests.edge.standin_edge import BASE, CEILING, TOKEN, StandinEdge
from tests.grace.edge_side import claimed, edge_side, history, in_force, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeguard.edge import Policy, Purged, Status

HOUR = 1800  # as much as the ceiling allows


def extend(environment: EdgeSide, lasting: int = HOUR, reason: str = "the database moves") -> dict[str, Any]:
    return support.extend(environment, lasting=lasting, reason=reason)


def test_extending_is_one_write_and_reaches_the_edge(standin_edge: StandinEdge) -> None:
    before = len(history(standin_edge))
    made = extend(edge_side(standin_edge))

    assert writes(standin_edge, before) == ["PATCH"]
    assert (made["id"], made["grace"]) == ("support1", BASE + HOUR)
    assert in_force(standin_edge) == BASE + HOUR


def test_releasing_is_one_write_and_leaves_the_others(standin_edge: StandinEdge) -> None:
    environment = edge_side(standin_edge)
    claimed(standin_edge, support1=600, support2=1200, support3=300)
    before = len(history(standin_edge))
    done = support.release(environment, "support2", reason="it was quicker")

    assert writes(standin_edge, before) == ["PATCH"]
    assert done["released"]
    assert in_force(standin_edge) == BASE + 600
    assert [claim["id"] for claim in shown(environment)["claims"]] == ["support1", "support3"]


def test_what_is_not_claimed_is_said_and_not_written(standin_edge: StandinEdge) -> None:
    claimed(standin_edge, support1=600)
    standin_edge.later(601)
    before = len(history(standin_edge))

    assert [
        support.release(edge_side(standin_edge), slot, reason="")["released"] for slot in ("support1", "support2")
    ] == [False] * 2
    assert writes(standin_edge, before) == []


def test_a_claim_ends_by_itself_at_the_edge(standin_edge: StandinEdge) -> None:
    environment = edge_side(standin_edge)
    claimed(standin_edge, support1=600)
    extend(environment, 1200)
    value = standin_edge.edge.items()["support2"]
    standin_edge.later(601)
    first = in_force(standin_edge), [claim["id"] for claim in shown(environment)["claims"]]
    standin_edge.later(600)

    assert first == (BASE + 1200, ["support2"])
    assert in_force(standin_edge) == BASE
    assert shown(environment)["claims"] == []
    assert standin_edge.edge.items()["support2"] == value  # nobody removed it
    assert extend(environment)["id"] == "support1"  # and its slot is free


def test_a_claim_lasts_as_long_by_the_edge_s_clock(standin_edge: StandinEdge) -> None:
    """This machine's clock may be a day behind."""
    standin_edge.later(86_400)
    made = extend(edge_side(standin_edge), 600)
    [claim] = shown(edge_side(standin_edge))["claims"]

    assert made["clock_difference"] == pytest.approx(standin_edge.skew, abs=2)
    assert in_force(standin_edge) == BASE + 600
    assert 590 <= claim["seconds_left"] <= 601


def test_what_can_t_be_granted_is_refused_before_anything_is_written(standin_edge: StandinEdge) -> None:
    before = len(history(standin_edge))
    for lasting, stale in ((CEILING - BASE + 1, None), (600, CEILING + 1), (CEILING + 1, CEILING), (0, 60), (600, 0)):
        with pytest.raises(UsageError) as refused:
            support.extend(edge_side(standin_edge), lasting=lasting, reason="", stale=stale)
        told = refused.value.message + refused.value.remedy
        assert duration(CEILING) in told or f"{CEILING} s" in told

    assert writes(standin_edge, before) == []
    assert support.extend(edge_side(standin_edge), lasting=CEILING, reason="", stale=CEILING)["grace"] == CEILING


def test_a_grace_below_the_base_is_refused(standin_edge: StandinEdge) -> None:
    before = len(history(standin_edge))
    with pytest.raises(UsageError, match=f"the base grace of {duration(BASE)}"):
        support.extend(edge_side(standin_edge), lasting=600, reason="", stale=BASE - 1)

    assert writes(standin_edge, before) == []


def test_a_write_of_which_no_answer_came_is_named(standin_edge: StandinEdge) -> None:
    standin_edge.control("POST", "/faults", {"api": {"drop": "after", "times": 4, "match": {"method": "PATCH"}}})
    with pytest.raises(EdgeError, match="support1 may have been written") as failed:
        extend(edge_side(standin_edge))

    assert in_force(standin_edge) == BASE + HOUR
    assert "edgeguard grace show site" in failed.value.remedy
    assert "edgeguard grace release site support1" in failed.value.remedy


def test_a_reason_is_needed_where_it_is_configured(standin_edge: StandinEdge) -> None:
    with pytest.raises(UsageError, match="reason"):
        extend(edge_side(standin_edge, claim__reason_required=True), reason=" ")

    assert extend(edge_side(standin_edge), reason="")["id"] == "support1"


def test_eight_are_the_most(standin_edge: StandinEdge) -> None:
    claimed(standin_edge, **dict.fromkeys(SUPPORT_SLOTS, 600))
    with pytest.raises(UsageError, match="all 8"):
        extend(edge_side(standin_edge))


@pytest.mark.parametrize("slot", ["deploy0", "deploy1", "support9", "../x", ""])
def test_only_support_s_own_slots_can_be_released(standin_edge: StandinEdge, slot: str) -> None:
    standin_edge.claim("deploy0", grace=600)
    with pytest.raises(UsageError):
        support.release(edge_side(standin_edge), slot, reason="")

    assert in_force(standin_edge) == 600


# -- two at one time ------------------------------------------------------------------------------------------------


class Overtaken:
    """The edge with a colleague who claims the slot that somebody else has just claimed: right after the write, or when
    the edge has been asked so many times since."""

    def __init__(self, standin_edge: StandinEdge, questions: int) -> None:
        self._stage = standin_edge
        self._left: int | None = None
        self._questions = questions
        self.theirs = ""

    def write(self, items: Mapping[str, str | None]) -> None:
        self._stage.edge.write(items)
        if not self.theirs:
            [self._slot] = [key for key in items if key.startswith("support")]
            self._left = self._questions
            self._strike()

    def require_claims(self) -> None:
        self._stage.edge.require_claims()

    def status(self, *, timeout: float) -> Status:
        self._strike()
        return self._stage.edge.status(timeout=timeout)

    def items(self) -> Mapping[str, str]:
        return self._stage.edge.items()

    def item(self, key: str) -> str:
        return self._stage.edge.item(key)

    def policy(self) -> Policy:
        return self._stage.edge.policy()

    def install(self, reason: str) -> Policy:
        return self._stage.edge.install(reason)

    def purge(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        return self._stage.edge.purge(keys, soft=soft)

    def _strike(self) -> None:
        if self._left == 0:
            self.theirs = Claim(self._slot, self._stage.now() + 900, 900, "beef0001").value()
            self._stage.edge.write({self._slot: self.theirs})
        self._left = None if self._left in (None, 0) else self._left - 1


@pytest.mark.parametrize("questions", [0, 10], ids=["at once", "at the last moment"])
def test_who_loses_a_slot_is_told_and_takes_another(standin_edge: StandinEdge, questions: int) -> None:
    edge, said = Overtaken(standin_edge, questions), list[str]()
    made = support.extend(
        edge_side(standin_edge, edge),  # type: ignore[arg-type]  # an Edge, as far as claims use one
        lasting=600,
        reason="",
        say=said.append,
    )

    assert made["id"] == "support2"
    assert said == ["support1 was taken by somebody else at the same moment; taking another"]
    assert standin_edge.edge.items()["support1"] == edge.theirs
    assert {claim["id"] for claim in shown(edge_side(standin_edge))["claims"]} == {"support1", "support2"}


def test_four_people_at_one_moment_have_four_claims(standin_edge: StandinEdge) -> None:
    made: list[dict[str, Any]] = []
    environments = [edge_side(standin_edge, edge__propagation=0.5) for _ in range(4)]
    people = [threading.Thread(target=lambda each=each: made.append(extend(each, 600))) for each in environments]
    for person in people:
        person.start()
    for person in people:
        person.join()

    assert len({each["id"] for each in made}) == 4
    assert {each["id"] for each in made} <= {claim["id"] for claim in shown(edge_side(standin_edge))["claims"]}


# -- not confirmed --------------------------------------------------------------------------------------------------


def test_a_write_that_the_edge_does_not_show_is_never_called_done(standin_edge: StandinEdge) -> None:
    standin_edge.control("POST", "/propagation", {"seconds": 1})
    with pytest.raises(NotConfirmed) as failed:
        extend(edge_side(standin_edge, edge__confirm_timeout=0.3))

    assert failed.value.exit_code == 9
    assert failed.value.message.startswith("support1: written, but not confirmed")
    assert "edgeguard grace release site support1" in failed.value.remedy
    time.sleep(1)  # it arrives, so that the next test begins with an edge that has heard of everything


def test_a_policy_that_grants_less_is_found_out(standin_edge: StandinEdge) -> None:
    """The environment's file has another ceiling than the policy in the service."""
    with pytest.raises(NotConfirmed, match="grants {} instead of {}".format(*apart(CEILING, 7260))):
        extend(edge_side(standin_edge, edge__ceiling=86_400), 7200)


def test_an_api_that_fails_leaves_nothing_claimed(standin_edge: StandinEdge) -> None:
    standin_edge.control("POST", "/faults", {"api": {"status": 403, "match": {"method": "PATCH"}}})
    with pytest.raises(EdgeError):
        extend(edge_side(standin_edge))

    assert in_force(standin_edge) == BASE


# -- who, when and why ----------------------------------------------------------------------------------------------


def shown(environment: EdgeSide, audit_lines: int = 0) -> dict[str, Any]:
    return show.grace(environment, now=time.time(), audit_lines=audit_lines)


def test_show_tells_whose_claims_there_are_and_why(standin_edge: StandinEdge) -> None:
    environment = edge_side(standin_edge)
    claimed(standin_edge, support1=600)
    support.release(environment, "support1", reason="moved")
    extend(environment, 1200, "evil \x1b[2J words")
    found = shown(environment, 2)
    text = show.text(found)

    assert (found["base"], found["ceiling"], found["in_force"]) == (BASE, CEILING, BASE + 1200)
    assert [claim["why"] for claim in found["claims"]] == ["evil \x1b[2J words"]
    assert [(line["did"], line["why"]) for line in found["audit"]] == [
        ("grace extend", "evil \x1b[2J words"),
        ("grace release", "moved"),
    ]
    assert all(line["who"] for line in found["audit"])
    assert "support1" in text
    assert "\x1b" not in text


def test_show_of_long_names_fits_a_terminal(standin_edge: StandinEdge) -> None:
    who = f"{'a-long-name' * 12}@host"
    support.extend(edge_side(standin_edge), lasting=600, reason="the database moves, " * 9, who=who)
    found = shown(edge_side(standin_edge), 1)
    lines = show.text(found).splitlines()

    assert found["claims"][0]["who"] == who
    assert max(map(len, lines)) <= 80
    assert "".join(line.strip() for line in lines).count(who) == 2  # the claim's and the audit's


def test_the_audit_keeps_200_lines_in_the_same_write(standin_edge: StandinEdge) -> None:
    old = {f"audit-{1_700_000_000_000 + n}-abcd": json.dumps({"did": "x", "id": "support1"}) for n in range(250)}
    others = {"somebody-else-s": "item", "audit-notes": "not a line of ours"}
    standin_edge.edge.write({**old, **others, "audit-1600000000000-abcd": "{torn"})
    before = len(history(standin_edge))
    extend(edge_side(standin_edge), reason="the newest")
    items = standin_edge.edge.items()

    assert writes(standin_edge, before) == ["PATCH"]
    assert len([key for key in items if key.startswith("audit-1")]) == 200
    assert others.items() <= items.items()
    assert shown(edge_side(standin_edge), 1)["audit"][0]["why"] == "the newest"


def test_show_says_what_it_can_where_the_edge_is_silent(standin_edge: StandinEdge) -> None:
    claimed(standin_edge, support1=600)
    found = shown(
        edge_side(
            standin_edge, ByVcl(standin_edge.settings.model_copy(update={"status_name": "another-name"}), TOKEN, ask)
        )
    )

    assert [claim["id"] for claim in found["claims"]] == ["support1"]
    assert "another-name" in found["edge"]["error"]
    assert "unknown" in show.text(found)


# -- a service without a file ---------------------------------------------------------------------------------------


def in_empty_folder(
    folder: Path, standin_edge: StandinEdge, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    quick = {"EDGEGUARD_EDGE__API_URL": standin_edge.ready["api_url"], "EDGEGUARD_EDGE__PROPAGATION": "0.05"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEGUARD_", "FASTLY_"))}
    return subprocess.run(
        [sys.executable, "-m", "edgeguard", "grace", *arguments],
        cwd=folder,
        env={**clean, **quick, "FASTLY_API_TOKEN": TOKEN, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_token_that_may_only_read_has_written_nothing_and_nothing_is_to_be_taken_back(
    standin_edge: StandinEdge,
) -> None:
    standin_edge.control("POST", "/plants", {"tokens": {TOKEN: {"scopes": ["global:read"]}}})
    try:
        for claim in (
            lambda: extend(edge_side(standin_edge)),
            lambda: pipeline.pre(edge_side(standin_edge), stop=Stop(), lasting=HOUR),
        ):
            with pytest.raises(EdgeUnauthorized) as refused:
                claim()
            said = f"{refused.value.message} {refused.value.remedy}"
            assert not [slot for slot in SLOTS if slot in said], said
    finally:
        standin_edge.control("DELETE", "/plants")
    assert in_force(standin_edge) == BASE


def test_a_service_s_id_and_a_token_are_enough(standin_edge: StandinEdge, tmp_path: Path) -> None:
    """The service's policy tells base, ceiling and names, and its domains tell the front door."""
    service = standin_edge.ready["service_id"]
    made = in_empty_folder(tmp_path, standin_edge, "extend", "--service", service, "--for", "20m", "--json")
    seen = in_empty_folder(tmp_path, standin_edge, "show", "--service", service, "--json")
    freed = in_empty_folder(tmp_path, standin_edge, "release", "--service", service, "support1")

    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["grace"] == BASE + 1200
    found = json.loads(seen.stdout)
    assert (found["base"], found["ceiling"], found["in_force"]) == (BASE, CEILING, BASE + 1200)
    assert freed.returncode == 0, freed.stderr
    assert in_force(standin_edge) == BASE
    assert list(tmp_path.iterdir()) == []
    assert TOKEN not in made.stdout + made.stderr + seen.stdout + seen.stderr


@pytest.mark.parametrize("arguments", [["show"], ["show", "site", "--service", "abc"], ["show", "--service", "a/b"]])
def test_nonsense_is_bad_usage(standin_edge: StandinEdge, tmp_path: Path, arguments: list[str]) -> None:
    done = in_empty_folder(tmp_path, standin_edge, *arguments)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.fixture
def read(standin_edge: StandinEdge, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServiceOnly]:
    def of_service(service: str = standin_edge.ready["service_id"], **variables: str) -> ServiceOnly:
        told = {"EDGEGUARD_EDGE__API_URL": standin_edge.ready["api_url"], "FASTLY_API_TOKEN": TOKEN, **variables}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        return ServiceOnly.read(service)

    return of_service


def test_a_variable_names_the_front_door_where_the_domains_don_t(
    standin_edge: StandinEdge, read: Callable[..., ServiceOnly]
) -> None:
    given = standin_edge.ready["edge_url"].replace("127.0.0.1", "localhost")

    assert read().settings.edge.url == standin_edge.ready["edge_url"]
    assert read(EDGEGUARD_EDGE__URL=given).settings.edge.url == given


def test_what_is_no_service_with_our_policy_is_said(
    standin_edge: StandinEdge, read: Callable[..., ServiceOnly]
) -> None:
    with pytest.raises(EdgeError, match="there is no Fastly service"):
        read("SU1Z0isxPaozGVKXdv0eY")
    with pytest.raises(UsageError, match="another service"):
        read(EDGEGUARD_EDGE__SERVICE="another")
    standin_edge.install([Snippet("others", "recv", 100, "# nothing of ours")])
    with pytest.raises(UsageError, match="no policy"):
        read(EDGEGUARD_EDGE__SERVICE=standin_edge.ready["service_id"])


def test_a_claim_of_one_s_own_is_prolonged_and_shortened(standin_edge: StandinEdge) -> None:
    environment, told = edge_side(standin_edge), list[str]()
    support.extend(environment, lasting=600, reason="it takes time", who="ann")
    extend(environment, 700)
    longer = support.extend(environment, lasting=1200, reason="more time", who="ann", prolongs="support1")
    grace = in_force(standin_edge)
    with pytest.raises(UsageError, match="support1 is of ann, not of bob"):
        support.extend(environment, lasting=900, reason="", who="bob", prolongs="support1")
    with pytest.raises(UsageError, match="support3 holds no claim"):
        support.extend(environment, lasting=900, reason="", who="ann", prolongs="support3")
    shorter = support.extend(environment, lasting=300, reason="", who="ann", prolongs="support1", say=told.append)

    assert (longer["id"], longer["grace"], longer["warnings"], grace) == ("support1", BASE + 1200, [], BASE + 1200)
    assert (shorter["id"], in_force(standin_edge)) == ("support1", BASE + 700)
    assert shorter["warnings"] == told
    assert ["sooner than before" in said for said in told] == [True, False]
    assert [claim["id"] for claim in shown(environment)["claims"]] == ["support1", "support2"]
    line = show.grace(environment, now=time.time(), audit_lines=1)["audit"][0]
    assert (line["who"], line["grace"], "until" in line) == ("ann", BASE + 300, True)


def test_releasing_over_a_sick_front_door_warns_and_obeys(standin_edge: StandinEdge) -> None:
    environment, told = edge_side(standin_edge), list[str]()
    extend(environment, 600)
    standin_edge.origin.closed = True
    done = support.release(environment, "support1", reason="", say=told.append)
    standin_edge.origin.closed = False

    assert (done["released"], done["warnings"], in_force(standin_edge)) == (True, told, BASE)
    assert "without support1, visitors may see errors sooner" in told[0]


def test_progress_is_told_from_the_beginning(standin_edge: StandinEdge) -> None:
    told: list[str] = []
    support.extend(edge_side(standin_edge), lasting=600, reason="", progress=told.append)

    assert told[:2] == ["looking at the claims that are in force", "writing support1"]
    assert told[2].startswith("support1 is written, and cache-")
