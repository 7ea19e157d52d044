"""The policy as text: what rendering takes and refuses, and what a foreign linter says of the whole."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.edge import policy
from edgeguard.edge.grace import SLOTS
from edgeguard.errors import UsageError
from edgeguard.settings import EdgeSettings

HERE = Path(__file__).parent
FALCO = HERE.parent.parent / ".tools" / "bin" / "falco"
SETTINGS = EdgeSettings(
    service="s",
    url="http://edge.example",
    health_url="http://edge.example/",
    dictionary="edgeguard",
    status_name="edgeguard-status",
    healthy_rounds=1,
)


def having(**settings: object) -> EdgeSettings:
    """Without the validation that settings have: rendering has to refuse by itself."""
    return SETTINGS.model_copy(update=settings)


def test_the_same_settings_give_the_same_text_and_every_setting_shows_in_the_revision() -> None:
    assert policy.render(SETTINGS) == policy.render(having())
    others = [having(base_grace=60), having(ceiling=86_400), having(dictionary="other"), having(status_name="other")]
    assert len({policy.revision(one) for one in (SETTINGS, *others)}) == 5


def test_the_rendered_policy_tells_its_revision() -> None:
    told = {policy.revision_in(one.content) for one in policy.render(SETTINGS)} - {None}
    assert told == {policy.revision(SETTINGS)}


def test_nothing_is_left_to_fill_in_and_all_names_are_ours() -> None:
    for one in policy.render(SETTINGS):
        assert "{{" not in one.content
        assert one.name.startswith(policy.NAME_PREFIX)
        code = re.sub(r"#.*", "", one.content)
        assert set(re.findall(r"var\.(?!eg_)\w+", code)) == set()
        assert {name for name in re.findall(r"\.http\.(\w+)-", code) if name == name.title()} <= KNOWN_HEADERS
        assert set(re.findall(r"\bsub (\w+)", code)) <= {"edgeguard_grace"}


KNOWN_HEADERS = {"Edgeguard", "Cache", "Surrogate", "Set", "Content"}


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


@given(st.dictionaries(st.sampled_from(SLOTS), st.text(), min_size=len(SLOTS)))
def test_a_status_line_is_read_back_whatever_is_in_the_slots(slots: dict[str, str]) -> None:
    encoded = "".join(f" {slot}={_urlencode(value)}" for slot, value in slots.items())
    head = "node=cache-x revision=0123456789ab now=1800000000 base=60 ceiling=3600 grace=120 hold=1"
    seen = policy.read_status(head + encoded)
    assert (seen.slots, seen.hold, seen.grace) == (slots, True, 120)


def _urlencode(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8"))


def whole(snippets: tuple[policy.Snippet, ...]) -> str:
    """One VCL file, as Fastly generates it: the table of the dictionary, and each snippet at its macro."""
    text = (HERE / "falco" / "boilerplate.vcl").read_text(encoding="utf-8")
    for one in sorted(snippets, key=lambda one: -one.priority):  # each goes in front of those already there
        macro = f"#FASTLY {one.type}\n"
        assert macro in text
        text = text.replace(macro, macro + one.content, 1)
    return 'table edgeguard {\n  "deploy0": "0:0",\n}\n' + text


def lint(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if not FALCO.exists():
        sentence = "falco, the linter for VCL, is not installed; scripts/tools installs it"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    main = folder / "main.vcl"
    main.write_text(text, encoding="utf-8")
    return subprocess.run([FALCO, "lint", "-v", main], capture_output=True, text=True, timeout=60, check=False)


def test_a_foreign_linter_finds_no_error(tmp_path: Path) -> None:
    said = lint(whole(policy.render(SETTINGS)), tmp_path)
    assert (said.returncode, "0 errors" in said.stdout + said.stderr) == (0, True), said.stdout + said.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("set req.max_stale_if_error = var.eg_grace;", "set req.max_stale_if_error = 3600;"),
        ("std.atoi(now.sec)", "now.sec"),
        ("call edgeguard_grace;  # overwrites", "return(deliver_stale);"),
        ("urlencode(table.lookup(edgeguard, ", "urlencode(table.lookup(elsewhere, "),
        ("declare local var.eg_far INTEGER;", ""),
        ("error 661", "error sixsixone"),
    ],
)
def test_the_foreign_linter_finds_what_fastly_would_refuse(tmp_path: Path, old: str, new: str) -> None:
    text = whole(policy.render(SETTINGS))
    assert old in text
    assert lint(text.replace(old, new), tmp_path).returncode != 0
