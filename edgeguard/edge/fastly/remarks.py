"""Remarks on a service: findings from the rows of its active version that conflict with nothing. Pure.

The policy works all the same, and something is less good than it could be. The names are REMARKS of edgeguard/edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.fastly import running
from edgeguard.edge.fastly.running import ends_with
from edgeguard.edge.fastly.vcl import every, statements
from edgeguard.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeguard.edge.fastly.rows import Rows
    from edgeguard.edge.fastly.running import Step

_SEGMENTS = "req.enable_segmented_caching"
_DEMANDS = "req.http.fastly-purge-requires-auth"


def find(version: Rows) -> tuple[Finding, ...]:
    """The remarks on the active version; () if there are none."""
    if version.kind != "vcl":
        return ()
    steps = running.steps(version)
    known = {str(step.statement) for step in steps}
    steps += tuple(step for step in running.generated(version) if str(step.statement) not in known)
    return (*_restarts(steps), *_segments(steps), *_open_purges(version))


def _restarts(steps: tuple[Step, ...]) -> Iterator[Finding]:
    """The restarts of others.

    Clustering and shielding are off for a restarted request (Fastly: reference/vcl/statements/restart).
    """
    places = {(step.where, step.kind) for step in steps if ends_with(step.statement.words, "restart")}
    for where, kind in sorted(places):
        yield Finding(
            "restarts",
            "warning",
            f"{where} restarts requests in vcl_{kind}: hold does nothing for them, so they wait for the origin",
            "Let it restart only requests that need it. A restarted request is also fetched past cluster and shield.",
        )


def _segments(steps: tuple[Step, ...]) -> Iterator[Finding]:
    for where in sorted({step.where for step in steps if _turns_on(step.statement.words)}):
        yield Finding(
            "segmented-caching",
            "warning",
            f"{where} sets {_SEGMENTS}: a page in segments (206) does not get the ceiling",
            "Limit it to large files, and let no page of visitors.anonymous be among them.",
        )


def _turns_on(words: tuple[str, ...]) -> bool:
    return words[:2] == ("set", _SEGMENTS) and words[2:] != ("=", "false")


def _open_purges(version: Rows) -> Iterator[Finding]:
    """The finding that nothing demands a token of a PURGE request (Fastly: reference/api/purging)."""
    texts = (version.generated, *(str(row.get("content") or "") for row in (*version.snippets, *version.files)))
    heads = (statement.words[:2] for text in texts for statement in every(statements(text)))
    if not any(head[:1] == ("set",) and head[-1].lower() == _DEMANDS for head in heads):
        yield Finding(
            "open-purges",
            "note",
            "anybody may purge a page by a PURGE request; purged while the site is closed, it has no copy",
            "edge.authenticate_purges = true and edgeguard edge install ENV demand a token for it while a claim is in "
            "force; or set req.http.Fastly-Purge-Requires-Auth for FASTLYPURGE in recv, as Fastly recommends.",
        )
