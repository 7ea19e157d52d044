"""Findings about the servers, where the environment has some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.facts import facts, mixed
from edgeguard.cluster.lock import SharedRecord
from edgeguard.cluster.preparing import drift
from edgeguard.errors import ClusterError
from edgeguard.findings import Finding
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.cluster import Cluster
    from edgeguard.cluster.facts import Facts

CLOCKS = 2.0
"""Seconds by which a clock may differ before anybody hears of it."""
_MB = 1_000_000


def findings(environment: str, cluster: Cluster) -> Iterator[Finding]:
    """What is wrong with the servers that are not left out, and what is good to know of them."""
    try:
        record = SharedRecord(cluster, environment).look()
        serving = cluster.without(record.left_out)
        for text in drift(serving, environment):
            yield Finding("not-prepared", "warning", text, f"Run `edgeguard cluster prepare {environment}`.")
        if not record.lock and (said := mixed(serving.state())):
            yield Finding(
                "mixed-releases", "warning", said, "edgeguard status ENV says what is under way, or was left."
            )
        yield from about(facts(serving))
    except ClusterError as exc:
        yield Finding("servers-unknown", "warning", exc.message, exc.remedy)


def about(found: Mapping[str, Facts]) -> Iterator[Finding]:
    """What servers of these facts have that differs, or is short."""
    yield from _versions(found)
    yield from _rooms(found)
    yield from _clocks(found)


def _versions(found: Mapping[str, Facts]) -> Iterator[Finding]:
    alike: dict[str, list[str]] = {}
    for server, its in found.items():
        said = ", ".join(f"{name} {version}" for name, version in its.versions.items())
        alike.setdefault(said, []).append(server)
    text = "; ".join(f"{', '.join(servers)}: {said}" for said, servers in alike.items())
    if len(alike) > 1:
        yield Finding("versions-differ", "note", text, "What works on one server may not work on another.")
    elif text:
        yield Finding("servers", "ok", text, "")


def _rooms(found: Mapping[str, Facts]) -> Iterator[Finding]:
    for server, its in found.items():
        if its.free < its.image:
            free, image = its.free // _MB, -(-its.image // _MB)
            text = f"{server} has {free} MB free for images, and the one that serves takes {image} MB"
            yield Finding("little-room", "warning", text, "Make room there: `deploy` refuses an image that has none.")


def _clocks(found: Mapping[str, Facts]) -> Iterator[Finding]:
    """Nothing depends on a server's clock but the times in what it logs."""
    for server, its in found.items():
        if abs(its.ahead) > CLOCKS + its.unsure:
            where = "ahead of" if its.ahead > 0 else "behind"
            text = f"the clock of {server} is {duration(abs(its.ahead))} {where} this machine's"
            remedy = "No deploy depends on it, but the order of lines in edgeguard logs does. See to NTP."
            yield Finding("clocks-differ", "note", text, remedy)
