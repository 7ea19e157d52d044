"""What an error keeps of its words."""

from __future__ import annotations

from edgeguard.errors import ClusterError, Held


def test_a_remedy_behind_an_empty_one_begins_with_its_first_word() -> None:
    assert Held("it failed", f"{ClusterError('web1 is gone').remedy} Look at it.").remedy == "Look at it."
    assert ClusterError("it failed").with_more(remedy="\n  Look at it.").remedy == "Look at it."
