"""Fastly's own VCL is no conflict, in any of its forms, and a single changed character in it is one again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.edge.fastly import conflicts, remarks
from edgeguard.edge.fastly.policy import Snippet
from edgeguard.edge.fastly.rows import Rows
from tests.edge.cases import CASES
from tests.edge.fastly.forms import ERROR, ERROR_RESTART, GENERATED, MAINS, RESTART, RESTART_OF_TODAY
from tests.edge.fastly.scenarios import PASS
from tests.edge.fastly.test_policy import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.edge.standin_edge import StandinEdge

SERVE_STALE = """
  if (beresp.status >= 500 && beresp.status < 600) {

    if (stale.exists) {
      return(deliver_stale);
    }

    if (req.restarts < 1 && (req.request == "GET" || req.request == "HEAD")) {
      restart;
    }

  }
  set beresp.stale_if_error = 43200s;
"""


def found(version: Rows) -> list[str]:
    """The names of the conflicts and the remarks, but for the one that each of these services has."""
    about = (*conflicts.with_policy(version, SETTINGS), *remarks.find(version))
    return [finding.name for finding in about if finding.name != "open-purges"]


def main(content: str) -> Rows:
    return Rows(1, "vcl", files=({"name": "main", "content": content, "main": True},))


def generated(content: str) -> Rows:
    return Rows(1, "vcl", generated=content)


@pytest.mark.parametrize("form", MAINS)
def test_a_main_file_of_fastlys_own_words_has_no_conflict(form: str) -> None:
    assert found(main(MAINS[form])) == []
    assert found(main(MAINS[form].replace("\n  ", "\n\t").replace("return (", "return("))) == []


def test_the_vcl_that_fastly_generates_today_has_no_conflict() -> None:
    assert found(generated(GENERATED)) == []
    for at in (60, 86_400):
        assert found(generated(GENERATED.replace("beresp.ttl = 3600s", f"beresp.ttl = {at}s"))) == []
    assert found(generated(GENERATED.replace(RESTART_OF_TODAY, RESTART))) == []


def test_serve_stale_is_the_settings_finding_alone() -> None:
    settings = {"general.stale_if_error": "1", "general.stale_if_error_ttl": 43200}
    text = GENERATED.replace("#--FASTLY FETCH BEGIN", f"#--FASTLY FETCH BEGIN{SERVE_STALE}")
    assert found(Rows(1, "vcl", generated=text, settings=settings)) == ["serve-stale"]
    assert set(found(generated(text))) == {"grace-in-vcl", "restarts"}


@pytest.mark.parametrize(
    ("block", "name", "acts"),
    [
        (ERROR, "grace-in-vcl", "set beresp.grace = "),
        (RESTART, "restarts", "restart;"),
        (RESTART_OF_TODAY, "restarts", "restart;"),
        (ERROR_RESTART, "restarts", "restart;"),
    ],
)
def test_one_changed_character_is_a_finding_again(block: str, name: str, acts: str) -> None:
    """Every character is changed once, but for white space, and for the words without which nothing is done."""
    text = GENERATED if block != RESTART else GENERATED.replace(RESTART_OF_TODAY, RESTART)
    spared = range(block.index(acts), block.index(acts) + len(acts))
    missed = []
    for place, character in enumerate(block):
        if character.isspace() or place in spared:
            continue
        changed = block[:place] + ("7" if character != "7" else "8") + block[place + 1 :]
        if name not in found(generated(text.replace(block, changed))):
            missed.append(changed)
    assert missed == []


def test_fastlys_own_words_count_only_where_fastly_has_them() -> None:
    deliver = GENERATED.replace("#--FASTLY DELIVER END", f"#--FASTLY DELIVER END\n{RESTART}")
    assert found(generated(deliver)) == ["restarts"]
    snippet = {"name": "theirs", "type": "fetch", "priority": "100", "content": ERROR}
    assert found(Rows(1, "vcl", snippets=(snippet,), generated=GENERATED)) == ["grace-in-vcl", "early-return"]


@pytest.fixture
def with_main(standin_edge: StandinEdge) -> Iterator[StandinEdge]:
    standin_edge.install([*standin_edge.policy(), PASS])
    yield standin_edge
    standin_edge.control("DELETE", "/plants")


@pytest.mark.parametrize("form", MAINS)
def test_every_case_holds_on_every_form(with_main: StandinEdge, form: str) -> None:
    """tests/edge/test_cases.py plays them on the form that the stand-in generates."""
    with_main.control("POST", "/plants", {"add": {"vcl": [{"name": "main", "main": True, "content": MAINS[form]}]}})
    for case in CASES:
        case.holds(with_main)


def test_a_service_that_marks_stale_copies_as_unusable_serves_none(standin_edge: StandinEdge) -> None:
    """Why these variables are critical: the policy can do nothing about them."""
    for name in ("req.hash_ignore_busy", "req.hash_always_miss"):
        standin_edge.install([*standin_edge.policy(), Snippet("theirs", "recv", 100, f"set {name} = true;")])
        standin_edge.write({})
        path = standin_edge.page()
        standin_edge.get(path)
        standin_edge.later(15)
        standin_edge.origin.closed = True
        assert standin_edge.get(path).status == 503
        standin_edge.origin.closed = False
