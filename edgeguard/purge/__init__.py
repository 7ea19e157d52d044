"""Deciding what to purge, before anything is purged; `run.Run` then purges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.purge.rules import Derived, derive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.settings import PurgeSettings


@dataclass(frozen=True, kw_only=True)
class Purge:
    """What to purge: the keys, the URLs, and then every page. `reasons` say why, a sentence each."""

    keys: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    groups: bool = False
    """Whether to purge every page, a few groups at a time, as fast as the origin can bear it."""
    everything: bool = False
    """Whether to purge every page at once, never softly."""
    soft: bool = True
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """The files of the application that changed since the release whose pages are cached.

    `paths` is None where that is not known; `unknown` then says why.
    """

    paths: Sequence[str] | None
    unknown: str = ""


def of_deploy(settings: PurgeSettings, given: Sequence[str], changes: Changes, *, grouped: bool) -> Purge:
    """Decide what a deploy purges: the keys that were given, and the keys that the rules derive from the changes.

    If no key is given, and the rules don't cover all changes, it purges every page by its group, if pages have groups
    (`grouped`).
    """
    keys, reasons = list(given), []
    if given:
        reasons.append(f"named with --purge-key: {listed(given)}")
    if settings.release_key:
        keys.append(settings.release_key)
        reasons.append(f"purge.release_key: {settings.release_key}")
    named = bool(keys)
    covered = False
    if settings.rules:
        derived = derive(settings.rules, changes.paths or ())
        covered = bool(changes.paths) and not derived.uncovered
        keys += derived.keys
        reasons += _why(changes, derived)
    every = settings.default == "paced" and not named and not covered
    groups = every and grouped
    if groups:
        reasons.append("what changed is not named (purge.default = paced): every page, by its group")
    elif every:
        reasons.append("not every page: only under the policy (edge.mechanism = vcl) do pages have groups")
    elif not keys:
        reasons.append("nothing: what changed is on no page" if covered else "nothing (purge.default = none)")
    return Purge(keys=tuple(dict.fromkeys(keys)), groups=groups, reasons=tuple(reasons))


def _why(changes: Changes, derived: Derived) -> list[str]:
    """The reasons that the rules give, a sentence each."""
    if changes.paths is None:
        return [f"no key is derived from what changed: {changes.unknown}"]
    if not changes.paths:
        return ["no file of the application changed"]
    said = [f"{path} changed: {listed(found)}" for path, found in derived.because[:_SHOWN]]
    if (more := len(derived.because) - _SHOWN) > 0:
        said.append(f"and {more} more paths")
    return [*said, f"no rule is about {listed(derived.uncovered)}"] if derived.uncovered else said


_SHOWN = 8


def listed(names: Sequence[str]) -> str:
    """The first few of these names, and how many more there are."""
    shown = ", ".join(names[:_SHOWN]) or "no key"
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
