"""The policy read and run by others: falco (github.com/ysugimoto/falco, 1.10), a linter and interpreter for Fastly VCL.

Some facts can only be shown with the stand-in. falco's tester has no cache, so stale.exists is never set there and
deliver_stale delivers nothing. It calls each subroutine by itself, and none leads to the next.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeguard.edge.claim import DAY, SLOTS, Grace, in_force, parse_all
from edgeguard.edge.fastly import policy
from edgeguard.settings import EdgeSettings
from edgeguard.standin.vcl import Snippet, compile_service

FOLDER = Path(__file__).parent / "falco"
FALCO = FOLDER.parents[3] / ".tools" / "bin" / "falco"
SETTINGS = EdgeSettings(service="s", url="http://edge.example", health_url="http://edge.example/")
BASE, CEILING = SETTINGS.base_grace, SETTINGS.ceiling
NOW = 1_800_000_000
LONG = "edgeguard" * 1000


@dataclass(frozen=True)
class Row:
    """The claims that a node sees at a moment, and the grace that must be in force then."""

    why: str
    grace: int = BASE
    hold: bool = False
    items: dict[str, str] = field(default_factory=dict)
    now: int = NOW


def deploy(until: int, grace: int = 7200, hold: int = 0, nonce: str = "abcd1234") -> dict[str, str]:
    return {"deploy0": f"{until}:{grace}:{hold:010d}:{nonce}"}


ROWS = [
    Row("no item at all"),
    Row("free slots", items=dict.fromkeys(SLOTS, "0:0")),
    Row("a deploy's claim", 7200, items=deploy(NOW + 100)),
    Row("a deploy's claim in the other slot", 7200, items={"deploy1": f"{NOW + 100}:7200:0000000000:abcd"}),
    Row("a claim on hold", 7200, hold=True, items=deploy(NOW + 100, hold=NOW + 10)),
    Row("a hold that has ended, of a claim that has not", 7200, items=deploy(NOW + 100, hold=NOW - 1)),
    Row("a hold that ends at this second", 7200, items=deploy(NOW + 100, hold=NOW)),
    Row("a hold in a claim below the base", hold=True, items=deploy(NOW + 100, grace=5, hold=NOW + 10)),
    Row("nearly too long a hold", 7200, hold=True, items=deploy(NOW + 9000, hold=NOW + 3599)),
    Row("too long a hold", 7200, items=deploy(NOW + 9000, hold=NOW + 3600)),
    Row("a hold that outlasts its claim", items=deploy(NOW - 1, hold=NOW + 10)),
    Row("expired", items=deploy(NOW - 1)),
    Row("expired at this second", items=deploy(NOW)),
    Row("expired a second from now", 7200, items=deploy(NOW + 1)),
    Row("a little later the same claim is over", items=deploy(NOW + 100), now=NOW + 100),
    Row("and years later", items=deploy(NOW + 100, hold=NOW + 100), now=NOW + 10**8),
    Row("nearly too far in the future", 7200, items=deploy(NOW + CEILING + DAY - 1)),
    Row("too far in the future", items=deploy(NOW + CEILING + DAY, hold=NOW + 10)),
    Row("years ahead", items=deploy(9_999_999_999)),
    Row("in milliseconds", items=deploy(NOW * 1000)),
    Row("below the base", items=deploy(NOW + 100, grace=5)),
    Row("above the ceiling", CEILING, items=deploy(NOW + 100, grace=9_999_999)),
    Row("more digits than a grace has", items=deploy(NOW + 100, grace=10_000_000)),
    *(Row(f"a claim in {slot}", 7200, items={slot: f"{NOW + 100}:7200:abcd"}) for slot in SLOTS[2:]),
    Row(
        "several claims: the largest",
        9000,
        hold=True,
        items=deploy(NOW + 10, grace=4000, hold=NOW + 5)
        | {"support1": f"{NOW + 10}:9000:abcd", "support8": f"{NOW + 99}:8000:abcd"},
    ),
    Row(
        "the largest has expired: the next",
        8000,
        items={"support1": f"{NOW - 10}:9000:abcd", "support8": f"{NOW + 99}:8000:abcd"},
    ),
    Row("a deploy's slot in support's form", items={"deploy0": f"{NOW + 100}:7200:abcd"}),
    Row("a support's slot in a deploy's form", items={"support1": deploy(NOW + 100, hold=NOW + 9)["deploy0"]}),
    *(
        Row(f"garbage: {value[:40]!r}", items={"deploy0": value, "support3": value})
        for value in (
            "",
            "garbage",
            ":::",
            "-1:-1:-1:abcd",
            f"{NOW + 100}",
            f"{NOW + 100}:7200:0000000000:",
            f"{NOW + 100}:7200:0000000000:ABCD",
            f"{NOW + 100}:7200:0000000000:abc",
            f" {NOW + 100}:7200:0000000000:abcd",
            f"{NOW + 100}:7200:0000000000:abcd ",
            f"{NOW + 100}:0x1c20:0000000000:abcd",
            f"{NOW + 100}:7200.5:0000000000:abcd",
            f"{NOW + 100}:-7200:0000000000:abcd",
            f"{NOW + 100}:7200:0000000000:abcd\u00e4",
            LONG,
        )
    ),
    Row("a deploy's claim without its nonce", items={"deploy0": f"{NOW + 100}:7200:0000000000"}),
    Row("garbage beside a claim", 7200, items=deploy(NOW + 100) | {"deploy1": LONG, "support1": ":" * 99}),
]


def falco(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if not FALCO.exists():
        sentence = "falco, the linter for VCL, is not installed; scripts/tools installs it"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return subprocess.run([FALCO, *arguments], capture_output=True, text=True, timeout=60, check=False)


def whole(snippets: tuple[policy.Snippet, ...]) -> str:
    """One VCL file, as Fastly generates it: the table of the dictionary, and each snippet at its macro."""
    text = (FOLDER / "boilerplate.vcl").read_text(encoding="utf-8")
    for one in sorted(snippets, key=lambda one: (one.priority, one.name), reverse=True):
        macro = f"#FASTLY {one.type}\n"  # each goes in front of those already there
        assert macro in text
        text = text.replace(macro, f"{macro}{one.content}\n", 1)
    return 'table edgeguard {\n  "deploy0": "0:0",\n}\n' + text


def lint(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    main = folder / "main.vcl"
    main.write_text(text, encoding="utf-8")
    return falco("lint", "-v", main)


def run(folder: Path, text: str, tests: str) -> dict[str, str]:
    """Run test subroutines on VCL. Returns the failed ones, by name, with the reason."""
    (folder / "main.vcl").write_text(text, encoding="utf-8")
    (folder / "main.test.vcl").write_text(tests, encoding="utf-8")
    said = falco("test", "-json", folder / "main.vcl")
    try:
        result = json.loads(said.stdout[said.stdout.index("{") :])
    except ValueError:
        pytest.fail(said.stdout + said.stderr)
    cases = [case for group in result["tests"] for case in group["suites"]]
    assert len(cases) == tests.count("sub test_")
    return {case["name"].strip(): case["error"] for case in cases if case.get("error")}


def disagreements(folder: Path, text: str) -> dict[str, str]:
    """The rows for which falco finds another grace in force, and that grace."""
    tests = []
    for number, row in enumerate(ROWS):
        items = "".join(
            f'  testing.table_set(edgeguard, "{slot}", {{"{item}"}});\n' for slot, item in row.items.items()
        )
        tests.append(
            f"// @scope: recv\n// @suite: {number}\nsub test_{number} {{\n"
            f'  set req.http.Edgeguard-Hold = "1";\n  testing.fixed_time({row.now});\n{items}'
            '  testing.call_subroutine("edgeguard_grace");\n'
            f"  assert.equal(req.max_stale_if_error, {row.grace}s);\n"
            f'  assert.equal(req.http.Edgeguard-Grace, "{row.grace}");\n'
            f'  assert.equal(req.http.Edgeguard-Hold, "{int(row.hold)}");\n}}\n'
        )
    return {ROWS[int(number)].why: why for number, why in run(folder, text, "\n".join(tests)).items()}


# -- the linter ------------------------------------------------------------------------------------------------------


def test_a_foreign_linter_finds_no_error(tmp_path: Path) -> None:
    page = tmp_path / "closed.html"
    page.write_text('<script>let a = {"b": {"c": "d"}}</script> "}', encoding="utf-8")
    everything = {"respect_must_revalidate": True, "authenticate_purges": False, "closed_page": page}
    for settings in (SETTINGS, SETTINGS.model_copy(update=everything)):
        said = lint(whole(policy.render(settings)), tmp_path)
        assert (said.returncode, "0 errors" in said.stdout + said.stderr) == (0, True), said.stdout + said.stderr


def test_a_foreign_linter_takes_what_the_stand_in_runs(tmp_path: Path) -> None:
    """The stand-in's compiler has assembled the text, so both read the same one."""
    snippets = [Snippet(one.name, one.type, one.content, one.priority) for one in policy.render(SETTINGS)]
    text = compile_service(snippets, ["edgeguard"]).text
    said = lint('backend F_origin {\n  .host = "origin.example";\n  .port = "443";\n}\n' + text, tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("set req.max_stale_if_error = var.eg_grace;", "set req.max_stale_if_error = 3600;"),
        ("std.atoi(now.sec)", "now.sec"),
        ("call edgeguard_grace;  # overwrites", "return(deliver_stale);"),
        ("urlencode(table.lookup(edgeguard, ", "urlencode(table.lookup(elsewhere, "),
        ("declare local var.eg_far INTEGER;", ""),
        ("error 661", "error sixsixone"),
        ("set beresp.ttl = 1s;", "set beresp.ttl = 1;"),
        ("resp.stale.is_error", "beresp.stale"),
        ('{"<!doctype', '"<!doctype'),
    ],
)
def test_the_foreign_linter_finds_what_fastly_would_refuse(tmp_path: Path, old: str, new: str) -> None:
    text = whole(policy.render(SETTINGS))
    assert old in text
    assert lint(text.replace(old, new), tmp_path).returncode != 0


# -- the interpreter -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why[:50])
def test_the_table_is_what_edgeguard_computes(row: Row) -> None:
    claims = parse_all(row.items)
    assert Grace(row.grace, row.hold) == in_force(claims, base=BASE, ceiling=CEILING, now=row.now)


def test_a_foreign_interpreter_agrees_on_the_grace_in_force(tmp_path: Path) -> None:
    assert disagreements(tmp_path, whole(policy.render(SETTINGS))) == {}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("var.eg_until > var.eg_now && ", "", "expired"),
        ("[a-z0-9]{4,12}\\z", "[a-z0-9]{4,12}", f"garbage: '{NOW + 100}:7200:0000000000:abcd '"),
        ("set var.eg_hold = std.atoi(re.group.3);", "set var.eg_hold = 9;", "a claim on hold"),
        ("&& var.eg_until < var.eg_far", "", "too far in the future"),
    ],
)
def test_a_broken_policy_is_noticed_by_the_foreign_interpreter(tmp_path: Path, old: str, new: str, why: str) -> None:
    """Otherwise its agreement would mean nothing."""
    text = whole(policy.render(SETTINGS))
    assert old in text
    assert why in disagreements(tmp_path, text.replace(old, new))


def test_the_rest_of_the_policy_in_a_foreign_interpreter(tmp_path: Path) -> None:
    tests = (FOLDER / "policy.test.vcl").read_text(encoding="utf-8")
    assert run(tmp_path, whole(policy.render(SETTINGS)), tests) == {}


def test_a_purge_needs_a_token_only_while_a_claim_is_in_force(tmp_path: Path) -> None:
    tests = ""
    for number, (row, method, demanded) in enumerate(
        (
            (ROWS[0], "FASTLYPURGE", False),
            (Row("a claim", items=deploy(NOW + 100)), "FASTLYPURGE", True),
            (Row("a hold", items=deploy(NOW + 100, grace=5, hold=NOW + 10)), "FASTLYPURGE", True),
            (Row("expired", items=deploy(NOW - 1)), "FASTLYPURGE", False),
            (Row("no purge", items=deploy(NOW + 100)), "GET", False),
        )
    ):
        items = "".join(f'  testing.table_set(edgeguard, "{slot}", "{item}");\n' for slot, item in row.items.items())
        header = "req.http.Fastly-Purge-Requires-Auth"
        expected = f'assert.equal({header}, "1")' if demanded else f"assert.is_notset({header})"
        tests += (
            f"// @scope: recv\n// @suite: {row.why}\nsub test_{number} {{\n  testing.fixed_time({NOW});\n{items}"
            f'  set req.method = "{method}";\n  testing.call_subroutine("vcl_recv");\n  {expected};\n}}\n'
        )
    assert run(tmp_path, whole(policy.render(SETTINGS)), tests) == {}
