"""The policy as text: the settings that rendering takes and refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard import settings
from edgeguard.edge.claim import SLOTS
from edgeguard.edge.fastly import policy
from edgeguard.errors import UsageError
from edgeguard.settings import EdgeSettings

HERE = Path(__file__).parent
SETTINGS = EdgeSettings(
    service="s",
    url="http://edge.example",
    health_url="http://edge.example/",
    dictionary="edgeguard",
    status_name="edgeguard-status",
    healthy_rounds=1,
)


def having(**settings: object) -> EdgeSettings:
    """Settings without their own validation, so that rendering must refuse by itself."""
    return SETTINGS.model_copy(update=settings)


def test_the_same_settings_give_the_same_text_and_every_setting_shows_in_the_revision(tmp_path: Path) -> None:
    assert policy.render(SETTINGS) == policy.render(having())
    others = [having(base_grace=60), having(ceiling=86_400), having(dictionary="other"), having(status_name="other")]
    others += [having(authenticate_purges=False)]
    others += [having(respect_must_revalidate=True), having(closed_page=tmp_path / "closed.html")]
    (tmp_path / "closed.html").write_text("one")
    revisions = {policy.revision(one) for one in (SETTINGS, *others)}
    (tmp_path / "closed.html").write_text("One")
    assert len(revisions | {policy.revision(others[-1])}) == len(others) + 2


def test_the_rendered_policy_tells_its_revision() -> None:
    told = {policy.revision_in(one.content) for one in policy.render(SETTINGS)} - {None}
    assert told == {policy.revision(SETTINGS)}


def test_an_installed_policy_tells_the_settings_that_are_literals_in_it() -> None:
    told = {"base_grace": 61, "ceiling": 86_401, "dictionary": "grace_of_the_site", "status_name": "a-B_9"}
    there = {one.name: one.content for one in policy.render(having(**told))}
    others = {"somebody's": 'table.lookup(theirs, "deploy0", "") req.url.path == "/theirs" " base=7" " ceiling=8"'}

    assert policy.literals_in(there | others) == told
    with pytest.raises(ValueError, match="nothing"):
        policy.literals_in(others)
    second = {one.name + "_2": one.content for one in policy.render(having(**told | {"base_grace": 62}))}
    with pytest.raises(ValueError, match="61, 62"):
        policy.literals_in(there | second)


def test_nothing_is_left_to_fill_in_and_all_names_are_ours() -> None:
    for one in policy.render(SETTINGS):
        assert "{{" not in one.content
        assert one.name.startswith(policy.NAME_PREFIX)
        code = re.sub(r"#.*", "", re.sub(r'{".*?"}', "", one.content, flags=re.DOTALL))
        assert set(re.findall(r"var\.(?!eg_)\w+", code)) == set()
        assert {name for name in re.findall(r"\.http\.(\w+)-", code) if name == name.title()} <= KNOWN_HEADERS
        assert set(re.findall(r"\bsub (\w+)", code)) <= {"edgeguard_grace"}


KNOWN_HEADERS = {"Edgeguard", "Fastly", "Cache", "Surrogate", "Set", "Content", "Retry", "Last"}


@pytest.mark.parametrize(
    "settings",
    [
        {"base_grace": 0},
        {"base_grace": -5},
        {"base_grace": 3600.5},
        {"base_grace": True},
        {"base_grace": "3600"},
        {"ceiling": 10**10},
        {"dictionary": "Edge guard"},
        {"dictionary": 'x", "deploy0", ""); error 200; #'},
        {"dictionary": "edgeguard\n"},
        {"status_name": ""},
        {"status_name": 'status") { error 200; } #'},
        {"status_name": "a/b"},
        {"status_name": "x" * 65},
    ],
)
def test_nothing_but_plain_literals_gets_into_the_policy(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="can't be put into the policy"):
        policy.render(having(**settings))


@pytest.mark.parametrize(
    "content",
    [None, b"", b" \n", b"\xff\xfe<p>", b"a\x00b", b"\x1b[31m", b"x" * (policy.PAGE_BYTES + 1)],
    ids=["no file", "empty", "blank", "no UTF-8", "NUL", "an escape", "too large"],
)
def test_a_page_that_cannot_be_taken_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "closed.html"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"edge\.closed_page: .*closed\.html") as refused:
        policy.render(having(closed_page=path))
    assert "64 KiB" in refused.value.remedy


def test_a_page_lies_beside_the_environments_file(tmp_path: Path) -> None:
    reference = (HERE.parents[2] / "config" / "production.toml").read_text(encoding="utf-8")
    for named, found in (("closed.html", tmp_path / "closed.html"), ("/srv/closed.html", Path("/srv/closed.html"))):
        (tmp_path / "production.toml").write_text(
            reference.replace('# closed_page = "closed.html"', f'closed_page = "{named}"')
        )
        assert settings.load("production", tmp_path).edge.closed_page == found


@given(st.dictionaries(st.sampled_from(SLOTS), st.text(), min_size=len(SLOTS)))
def test_a_status_line_is_read_back_whatever_is_in_the_slots(slots: dict[str, str]) -> None:
    encoded = "".join(f" {slot}={_urlencode(value)}" for slot, value in slots.items())
    head = "node=cache-x revision=0123456789ab now=1800000000 base=60 ceiling=3600 grace=120 hold=1"
    seen = policy.read_status(head + encoded)
    assert (seen.slots, seen.hold, seen.grace) == (slots, True, 120)


def _urlencode(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8"))
