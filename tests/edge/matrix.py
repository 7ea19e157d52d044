"""The cost of each open question about Fastly's edge if its answer is the other one, measured by playing every case.

`python -m tests.edge.matrix` writes docs/cases.md anew.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.standin import beliefs
from edgeguard.standin.vcl import request
from tests.edge.case import Promise, lost
from tests.edge.cases import CASES
from tests.edge.fastly.scenarios import PASS
from tests.edge.standin_edge import BASE, CEILING, running_standin_edge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.edge.case import Case
    from tests.edge.standin_edge import StandinEdge

    Losses = Mapping[Promise, list[Case]]

DOCUMENT = Path(__file__).parents[2] / "docs" / "cases.md"


def questions() -> dict[str, str]:
    """Every switch of the stand-in, and its docstring."""
    found = {}
    for kind in (beliefs.Beliefs, request.Semantics):
        body = ast.parse(inspect.getsource(kind)).body[0]
        assert isinstance(body, ast.ClassDef)
        for switch, words in zip(body.body, body.body[1:], strict=False):
            if isinstance(switch, ast.AnnAssign) and isinstance(words, ast.Expr):
                found[ast.unparse(switch.target)] = " ".join(str(ast.literal_eval(words.value)).split())
    return found


def losses(standin_edge: StandinEdge) -> Losses:
    """The cases in which each promise is broken, with the switches as they are."""
    found: dict[Promise, list[Case]] = {promise: [] for promise in Promise}
    for case in CASES:
        for promise in set().union(*(lost(*visit) for visit in case.run(standin_edge))):
            found[promise].append(case)
    return found


LAYOUTS: dict[str, dict[str, bool]] = {
    "one node": {},
    "a cluster of nodes": {"clustered": True},
    "behind a shield": {"shield": True},
    "clusters of nodes, behind a shield": {"clustered": True, "shield": True},
}


@dataclass(frozen=True)
class Measured:
    """The broken promises: in each layout with all switches as documented, and at one node with one switch turned."""

    usual: Mapping[str, bool]
    as_documented: Mapping[str, Losses]
    turned: Mapping[str, Losses]


def measure(standin_edge: StandinEdge) -> Measured:
    usual = standin_edge.control("GET", "/switches")
    as_documented, turned = {}, {}
    for layout, nodes in LAYOUTS.items():
        standin_edge.nodes(**nodes)
        as_documented[layout] = losses(standin_edge)
    standin_edge.nodes()
    for switch, value in usual.items():
        standin_edge.believe(**{switch: not value})
        turned[switch] = losses(standin_edge)
        standin_edge.believe(**{switch: value})
    return Measured(usual, as_documented, turned)


def document(measured: Measured) -> str:
    """The text of docs/cases.md."""
    return HEAD + _cases() + LAYERS + _layouts(measured) + MIDDLE + _open(measured)


HEAD = f"""# What visitors get

These are the promises, case by case. Each case is played on two caches that share only the claims edgeguard writes:
the stand-in for Fastly with [the policy](decisions/policy.md) installed, and a real Varnish with a text of its own.
This page is made from those cases, and a test fails if it says anything else.

A page may be cached for 10 s where nothing else is said; the base grace is {BASE} s, the ceiling {CEILING} s. The
visitor gets what is in bold. "The copy" is what the cache stored for an earlier visitor. The origin is asked each time,
except where it says "fresh" or "at once". The short page is a 503 with the gate's `Retry-After` and `Edgeguard-Closed`.

"""

LAYERS = """
## Clusters of nodes, and a shield

A case above is about one node. At Fastly the node that serves a page may fetch it through another node of its cluster,
and through a shield behind all of them if the service has one. So every case is played there, too. A node in front
that has no copy of its own keeps for a second what a shield serves stale, and for a minute more if the shield fails. It
may serve that copy for so long after the grace has ended or the origin has come back.

"""

MIDDLE = """
## What Fastly's documentation leaves open

Each question is a switch of the stand-in, and every case is played with each switch turned. The first line of a pair
is what the documentation says or implies. A case is named if its loss at one node depends on that switch alone:

- **no error**: a visitor gets the copy where the table above says so;
- **no wait**: the origin is not asked where the table above says so;
- **not too old**: nobody gets a copy that is older than the grace in force.

*No error* has to be kept on both lines, the other two on the first line. "Outside the promise" are the cases above that
say why no policy can promise them. Try first on a real service what is lost on either line.

"""


def _cases() -> str:
    lines = ["| case | what happens, and what the visitor gets |", "|---|---|"]
    for case in CASES:
        said = [f"`{name}: {value}`" for name, value in case.headers.items()]
        said += [f"`Cache-Control: {each}`" for each in case.cache.split("\n")] if case.cache != "max-age=10" else []
        about = f" ({', '.join(said)})" if said else ""
        more = f"<br>Where the cache can't: {case.outside}." if case.outside else ""
        lines.append(f"| {case.name}{about} | {' · '.join(step.words for step in case.steps)}{more} |")
    return "\n".join(lines) + "\n"


def _layouts(measured: Measured) -> str:
    lines = [f"| layout | {' | '.join(promise.value for promise in Promise)} |", "|---|---|---|---|"]
    for layout, found in measured.as_documented.items():
        lines.append(f"| {layout} | {' | '.join(_cell(found[promise]) for promise in Promise)} |")
    return "\n".join(lines) + "\n"


def _open(measured: Measured) -> str:
    words = questions()
    alone = next(iter(LAYOUTS))
    lines = [f"| switch | | {' | '.join(promise.value for promise in Promise)} |", "|---|---|---|---|---|"]
    for switch, value in measured.usual.items():
        here, there = measured.as_documented[alone], measured.turned[switch]
        lines.append(f"| `{switch}` | {_word(value)} | {_cells(here, there)} |")
        lines.append(f"| | {_word(not value)} | {_cells(there, here)} |")
    return "\n".join([*lines, "", *(f"- `{switch}`: {words[switch]}" for switch in measured.usual)]) + "\n"


def _word(value: object) -> str:
    return str(value).lower()


def _cells(mine: Losses, others: Losses) -> str:
    return " | ".join(_cell([case for case in mine[promise] if case not in others[promise]]) for promise in Promise)


def _cell(lost_in: list[Case]) -> str:
    if not lost_in:
        return "kept"
    return "lost: " + ", ".join(case.name + (" (outside the promise)" if case.outside else "") for case in lost_in)


if __name__ == "__main__":
    with running_standin_edge() as alone:
        alone.install([*alone.policy(), PASS])
        DOCUMENT.write_text(document(measure(alone)), encoding="utf-8")
