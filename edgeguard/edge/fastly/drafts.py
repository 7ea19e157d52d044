"""Drafts that an earlier attempt of ours has left. Pure.

An attempt that was throttled or interrupted goes on with its draft, but only if nobody else's change is in it: what is
not ours has to be as in the active version. The draft is known by its comment, which a clone of it has, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.edge.fastly import policy, wanted
from edgeguard.edge.fastly.rows import true

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OF_A_VERSION = frozenset(
    (
        *("number", "name", "version", "comment", "active", "locked", "staging", "testing", "deployed"),
        *("environments", "created_at", "updated_at", "deleted_at", "service_id"),
    )
)
_OF_A_ROW = frozenset(["version", "created_at", "updated_at"])


def mark(revision: str | None) -> str:
    """The beginning of the comment of a draft that is to have this policy (None: no policy)."""
    return f"edgeguard {f'policy {revision}' if revision else 'policy removed'}: "


def left(versions: Sequence[Mapping[str, Any]], active: int, revision: str | None) -> int | None:
    """The newest draft after the active version that an attempt of ours has left; None if there is none.

    A clone has the comment of the version it was made from, so a draft with the active version's comment is not ours.
    """
    comments = {int(row["number"]): str(row.get("comment") or "") for row in versions}
    drafts = [int(row["number"]) for row in versions if not (true(row.get("locked")) or true(row.get("active")))]
    marked = (one for one in drafts if one > active and comments[one].startswith(mark(revision)))
    return max((one for one in marked if comments[one] != comments.get(active)), default=None)


def same(draft: Any, active: Any, numbers: tuple[int, int], dictionary: str) -> bool:  # noqa: ANN401 - JSON
    """Whether these are the two versions of these numbers, as whole JSON, and all that is not ours is alike in them."""
    if not isinstance(draft, dict) or not isinstance(active, dict):
        return False
    if (draft.get("number"), active.get("number")) != numbers:
        return False
    return _foreign(draft, dictionary) == _foreign(active, dictionary)


def _foreign(version: Mapping[str, Any], dictionary: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, content in version.items():
        if kind in _OF_A_VERSION or not content:
            continue
        if isinstance(content, list):
            rows = [_row(kind, row) for row in content if not _ours(kind, row, dictionary)]
            if rows:
                found[kind] = sorted(rows, key=repr)
        elif isinstance(content, dict):
            settings = {key: value for key, value in content.items() if key not in _OF_A_ROW}
            found[kind] = {key: value for key, value in settings.items() if not key.startswith(wanted.SERVE_STALE)}
        else:
            found[kind] = content
    return found


def _row(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what a clone may change."""
    left_out = _OF_A_ROW | ({"id"} if kind == "snippets" and not true(row.get("dynamic")) else frozenset())
    return {key: row[key] for key in sorted(row) if key not in left_out}


def _ours(kind: str, row: Mapping[str, Any], dictionary: str) -> bool:
    name = str(row.get("name"))
    return (kind == "snippets" and name.startswith(policy.NAME_PREFIX)) or (
        kind == "dictionaries" and name == dictionary
    )
