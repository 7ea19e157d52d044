"""JSON of others and of damaged files: read, or refused with a reason; never a traceback, never for long."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import files, strict_json
from edgeguard.cluster.host.errors import DAMAGED, HostError

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = {
    "": "not JSON",
    '{"a": 1': "not JSON",
    '{"a": 1, "a": 2}': "twice",
    '{"a": {"b": 1, "b": 1}}': "twice",
    "NaN": "NaN",
    '{"at": -Infinity}': "-Infinity",
    "1e300": "too large",
    "1e999": "too large",
    "9" * 4000: "digits",
    "9" * 5000: "digits",
    str(2**63): "digits",
    "[" * 101 + "]" * 101: "deep",
    "[" * 100_000: "deep",
    '{"a":' * 100_000: "deep",
    "[" + "0," * 1_000_000 + "0]": "values",
    '"' + "a" * 16_000_000 + '"': "longer",
}


@pytest.mark.parametrize("text", REFUSED, ids=[f"{text[:12]} {len(text)}" for text in REFUSED])
def test_refused(text: str) -> None:
    for given in (text, text.encode()):
        with pytest.raises(strict_json.Fault, match=REFUSED[text]):
            strict_json.read(given)


def test_bytes_that_are_no_text_are_refused() -> None:
    for content in (b'"\xff"', "{}".encode("utf-16"), b"\x00"):
        with pytest.raises(strict_json.Fault):
            strict_json.read(content)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('{"a": [1, 1.5, null, true, "\\u001b"]}', {"a": [1, 1.5, None, True, "\x1b"]}),
        ('\ufeff{"mark": 1}', {"mark": 1}),
        ("[" * 100 + "]" * 100, None),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        ('"\\ud800"', "\ud800"),
    ],
)
def test_read(text: str, content: object) -> None:
    for given in (text, text.encode()):
        assert content in (None, strict_json.read(given))


WORST = {
    "objects": '"[" + \'{"a":0},\' * 330_000 + "0]"',
    "lists": '"[" + "[]," * 499_000 + "0]"',
    "text": "chr(34) + 'a' * 15_999_900 + chr(0x1F600) + chr(34)",
}
PROGRAM = """
import resource
from edgeguard.cluster.host import strict_json
content = ({}).encode()
resource.setrlimit(resource.RLIMIT_DATA, (200 * 2**20, 200 * 2**20))
strict_json.read(content)
"""


@pytest.mark.parametrize("worst", WORST)
def test_the_largest_text_takes_less_than_200_mib(worst: str) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM.format(WORST[worst])], check=True)


def test_a_damaged_file_is_named_and_its_content_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "variables.json"
    for content in ('{"KEY": "sesame"', '["sesame"]', '{"KEY": "sesame", "KEY": 1}', '{"KEY": 5}'):
        path.write_text(content)
        with pytest.raises(HostError) as told:
            files.read(path, {"KEY": (str,)})
        assert told.value.code == DAMAGED
        assert str(path) in told.value.message
        assert "sesame" not in told.value.message
        assert told.value.remedy == files.PUT_BACK
