"""Deriving keys to purge from changed files, by the rules of an environment's file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard import patterns
from edgeguard.settings import SURROGATE_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.settings import PurgeRule


@dataclass(frozen=True)
class Derived:
    """The keys, each once; for each path the keys that follow from it; and the paths that no rule matches."""

    keys: tuple[str, ...]
    because: tuple[tuple[str, tuple[str, ...]], ...]
    uncovered: tuple[str, ...]


def derive(rules: Sequence[PurgeRule], paths: Sequence[str]) -> Derived:
    """Derive the keys from these changed paths. All rules that match a path count.

    If a rule makes an impossible key of a path (a file's name may hold any character), the path counts as uncovered.
    """
    compiled = [(patterns.compiled(rule.path), rule.keys) for rule in rules]
    because, uncovered = [], []
    for path in paths:
        matches = [(found, keys) for pattern, keys in compiled if (found := pattern.fullmatch(path))]
        keys = tuple(dict.fromkeys(patterns.filled(key, found) for found, keys in matches for key in keys))
        if matches and all(re.fullmatch(SURROGATE_KEY, key) for key in keys):
            because.append((path, keys))
        else:
            uncovered.append(path)
    every = dict.fromkeys(key for _, keys in because for key in keys)
    return Derived(tuple(every), tuple(because), tuple(uncovered))
