from __future__ import annotations

from edgeguard.findings import Finding, together


def page(number: int, name: str = "cold", remedy: str = "Warm it.") -> Finding:
    return Finding(name, "critical", f"https://site/{number} has no copy", remedy, f"https://site/{number}")


def test_many_pages_with_one_trouble_are_one_finding() -> None:
    policy = Finding("policy", "ok", "as it should be", "")
    found = together([page(1), policy, page(2), page(9, "private"), page(3), policy, page(4), page(2)])

    assert [finding.text for finding in found] == [
        "https://site/1 has no copy (and 3 more pages: https://site/2, https://site/3, …)",
        "as it should be",
        "https://site/9 has no copy",
        "as it should be",
    ]
    assert (found[0].url, found[0].more) == ("https://site/1", ("https://site/2", "https://site/3", "https://site/4"))


def test_another_remedy_is_another_trouble() -> None:
    assert together([page(1), page(2, remedy="Let it be cached.")]) == [page(1), page(2, remedy="Let it be cached.")]
