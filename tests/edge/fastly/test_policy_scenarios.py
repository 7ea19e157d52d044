from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.edge.fastly import policy
from tests.edge.fastly.scenarios import SCENARIOS, SHORT_PAGE, STRANGERS, served_stale
from tests.edge.standin_edge import BASE, CEILING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.edge.standin_edge import StandinEdge


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_policy_keeps_its_promises(standin_edge: StandinEdge, name: str) -> None:
    standin_edge.install([*standin_edge.policy(), *STRANGERS[name]])
    standin_edge.write({})
    SCENARIOS[name](standin_edge)


REVALIDATE = ("max-age=10, must-revalidate", "max-age=10, Proxy-Revalidate")


def test_must_revalidate_is_respected_where_that_is_configured(standin_edge: StandinEdge) -> None:
    """Then such a page has the grace of its own headers: none."""
    for respected in (False, True):
        standin_edge.respect_must_revalidate = respected
        standin_edge.install(standin_edge.policy())
        for cache in REVALIDATE:
            assert served_stale(standin_edge, 10 + 2 * BASE, grace=CEILING, cache=cache) is not respected
        surrogate = {"Surrogate-Control": "max-age=10, must-revalidate"}
        assert served_stale(standin_edge, 10 + 2 * BASE, grace=CEILING, more=surrogate) is not respected
        assert served_stale(standin_edge, 10 + 2 * BASE, grace=CEILING)


def test_a_page_of_ones_own_is_shown_to_the_byte_while_the_site_is_closed(
    standin_edge: StandinEdge, tmp_path: Path
) -> None:
    """No text in it becomes code."""
    standin_edge.closed_page = tmp_path / "closed.html"
    for content in (
        "<p>Wartung \u2013 bis gleich</p>\r\n",
        """"}; error 200; {"\"}\"}}} {{base}} {{revision}} %41 %zz " revision=0123456789ab \\" # not a comment
        <script>let a = {"b": {"c": "d"}}</script> {"x"} {EG"y"EG} /* \t""",
        '"',
        "}",
        'ends with "',
        "x" * policy.PAGE_BYTES,
    ):
        standin_edge.closed_page.write_bytes(content.encode())
        standin_edge.install(standin_edge.policy())
        standin_edge.origin.closed = True
        page = standin_edge.get(standin_edge.page())
        assert (page.status, page.body) == (SHORT_PAGE, content.encode())
        assert standin_edge.edge.status().revision == policy.revision(standin_edge.settings)
