"""What is hidden of what is said, and what is not."""

from __future__ import annotations

import base64
import html
import json
import shlex
import subprocess
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from edgeguard.environment import EdgeSide
from edgeguard.machine.redaction import HIDDEN, Redaction, redacted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "-----BEGIN KEY-----\n  c2FtZSBvbGQga2V5\n-----END KEY-----\n"
PASSWORD = 'p@ss "w" ö'
URL = "postgresql://user:p%40ss%20%22w%22%20%C3%B6@db.internal:5432/main"


def hiding(*secrets: str, clear: tuple[str, ...] = ()) -> Redaction:
    redaction = Redaction()
    redaction.learn(secrets, clear=clear)
    return redaction


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "said",
    [
        *(URL, PASSWORD, "p%40ss%20%22w%22%20%C3%B6"),
        *(json.dumps(PASSWORD)[1:-1], json.dumps(PASSWORD, ensure_ascii=False)[1:-1]),
        encoded(json.dumps({"database": [{"username": "user", "password": PASSWORD}]})),
        *(encoded(before + PASSWORD + "after") for before in ("", "1", "22", "333")),
        base64.urlsafe_b64encode(f"??>>{PASSWORD}".encode()).decode().rstrip("="),
    ],
)
def test_a_url_and_its_password_are_hidden_in_every_form(said: str) -> None:
    assert hiding(URL)(f"can't connect: {said}.") == f"can't connect: {HIDDEN}."


SECRETS = (
    "simple-token-123",
    "p@ss \"w\" 'ö' $HOME `x` \\n%41&amp;+z",
    "tok en+with=a/b?c&d%e#f",
    "Zo\u00eb\U0001f600secret",
    "back\\slash\\end\\",
    "a''b\"\"c&lt;%25+x",
)


def by_shell(script: str, secret: str, shell: str = "bash") -> str:
    done = subprocess.run([shell, "-c", script, "-", secret], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


WRITTEN: dict[str, Callable[[str], str]] = {
    "JSON": json.dumps,
    "JSON, not ASCII": lambda said: json.dumps(said, ensure_ascii=False),
    "JSON with \\/": lambda said: json.dumps(said).replace("/", "\\/"),
    "JSON in JSON": lambda said: json.dumps({"a": json.dumps(said)}),
    "JSON in JSON in JSON": lambda said: json.dumps({"a": json.dumps({"b": json.dumps(said)})}),
    "URL": lambda said: quote(said, safe=""),
    "URL's path": quote,
    "URL, all in lower case": lambda said: "".join(f"%{byte:02x}" for byte in said.encode()),
    "form": quote_plus,
    "URL in URL": lambda said: quote(quote(said, safe=""), safe=""),
    "JSON in URL": lambda said: quote(json.dumps({"a": said})),
    "HTML": html.escape,
    "HTML, decimal": lambda said: "".join(f"&#{ord(char)};" for char in said),
    "HTML, hex": lambda said: "".join(f"&#x{ord(char):X};" for char in said),
    "JSON in HTML": lambda said: html.escape(json.dumps({"a": said})),
    "Python": repr,
    "Python's ASCII": ascii,
    "Python's bytes": lambda said: repr(said.encode()),
    "Python in Python": lambda said: repr({"a": repr(said)}),
    "shlex": shlex.quote,
    "single quotes": lambda said: "'{}'".format(said.replace("'", "'\\''")),
    "double quotes": lambda said: '"{}"'.format("".join(f"\\{char}" if char in '"\\$`' else char for char in said)),
    "printf %q": lambda said: by_shell('printf %q "$1"', said),
    "bash's @Q": lambda said: by_shell('echo "${1@Q}"', said),
    "bash -x": lambda said: by_shell('set -x; : "$1"', said),
    "bash -x in C": lambda said: by_shell('LC_ALL=C; set -x; : "$1"', said),
    "sh -x": lambda said: by_shell('set -x; : "$1"', said, "sh"),
    "SQL": lambda said: "'{}'".format(said.replace("'", "''")),
    "CSV": lambda said: '"{}"'.format(said.replace('"', '""')),
    "hex": lambda said: said.encode().hex(),
    "HEX": lambda said: said.encode().hex().upper(),
    "hex with colons": lambda said: said.encode().hex(":"),
    "hex after a digit": lambda said: f"a{said.encode().hex()}",
    "C's bytes": lambda said: "".join(f"\\x{byte:02x}" for byte in said.encode()),
    "base64": encoded,
    "base64 after a": lambda said: encoded(f"a{said}after"),
    "base64 after ab": lambda said: encoded(f"ab{said}after"),
    "base64 after abc": lambda said: encoded(f"abc{said}after"),
    "wrapped base64": lambda said: base64.encodebytes(f"{'x' * 50}{said}{'y' * 70}".encode()).decode(),
    "narrow base64": lambda said: "\n    ".join(textwrap.wrap(encoded(f"{'x' * 50}{said}{'y' * 70}"), 20)),
    "quoted base64": lambda said: "\n  | ".join(textwrap.wrap(encoded(f"{'x' * 50}{said}{'y' * 70}"), 64)),
    "wrapped base64 in JSON": lambda said: json.dumps(base64.encodebytes(f"{'x' * 50}{said}".encode()).decode()),
    "base64 in base64": lambda said: encoded(encoded(f"key={said}")),
    "JSON in base64": lambda said: encoded(json.dumps({"key": said})),
    "base64 in hex": lambda said: encoded(said).encode().hex(),
}
"""How programs write a value that they were given."""


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_value_is_hidden_however_it_is_written(secret: str, write: Callable[[str], str]) -> None:
    said = write(secret)
    hide = hiding(secret, "another one")
    for around in ("{}", "it is {}, no more", "KEY={}", '{{"a": {}, "b": 1}}', "/{}/"):
        shown = hide(around.format(said))
        assert HIDDEN in shown
        assert said.strip("'\"") not in shown
        assert len(shown) <= len(around.format(said)) - len(secret) + len(HIDDEN) + 1
    assert hide(write("harmless, and nobody's word")) == write("harmless, and nobody's word")


def test_what_stands_around_a_secret_stays() -> None:
    hide = hiding("sesame", "öffne dich", "x" * 4000)
    assert hide("C:\\sesame\\n 100%sesame&amp;ä%C3%B6ffne+dich%20ü") == f"C:{HIDDEN}\\n 100%{HIDDEN}&amp;ä{HIDDEN}%20ü"
    assert hide(f"ä{'x' * 4000}ö\udc80") == f"ä{HIDDEN}ö\udc80"


def test_secrets_that_overlap_are_hidden_whole() -> None:
    assert hiding("sesame", "amelie", "same")("the sesamelie, samesesame") == f"the {HIDDEN}, same{HIDDEN}"


@pytest.mark.parametrize(
    ("url", "secrets", "words"),
    [
        ("https://ghp-token@github.invalid/a/b.git", ("ghp-token",), ("github",)),
        ("https://me-myself:pass%2Fword@a.invalid", ("pass/word", "pass%2Fword", "me-myself:pass%2Fword"), ("myself",)),
        ("https://a.invalid/x?private_token=gl%20pat&ref=production", ("gl pat", "gl%20pat"), ("production",)),
        ("ssh://deployer@a.invalid/x.git?sslmode=require", (), ("deployer", "require")),
    ],
)
def test_the_secrets_of_a_url_are_hidden_and_its_words_are_not(
    url: str, secrets: tuple[str, ...], words: tuple[str, ...]
) -> None:
    hide = hiding(url)
    assert [hide(secret) for secret in secrets] == [HIDDEN] * len(secrets)
    assert [hide(word) for word in words] == list(words)


def test_each_line_of_a_value_is_hidden_wherever_it_is_broken() -> None:
    hide = hiding(KEY)
    assert HIDDEN in hide(f"the key is {KEY}")
    for said in (KEY, KEY.replace("\n", "\r\n"), KEY.replace("\n", "\n  | "), *KEY.splitlines()):
        assert "c2FtZSBvbGQga2V5" not in hide(said)
        assert "BEGIN" not in hide(said)


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert hiding("sesame", "sesame-opens")("sesame-opens, sesame") == f"{HIDDEN}, {HIDDEN}"


def test_short_values_are_no_secrets() -> None:
    text = "12345 of true files"
    assert hiding("12345", "true", "", "\n\n", "no\nyes\n")(text) == text


def test_what_is_said_in_the_clear_is_no_secret() -> None:
    """Else nobody could read what to do: many a variable's value is the environment's name."""
    hide = hiding("production", "example.com", "sesame", clear=("production", "https://www.example.com/sesames"))
    text = "edgeguard resume production; see https://www.example.com"
    assert hide(text) == text
    assert hide("sesame") == HIDDEN


def test_every_string_is_searched_and_nothing_else_is_changed() -> None:
    entry = {"event": "failed", "at": 1.5, "step": "deploy", "error": "deploy: sesame", "nodes": ["sesame", 7, None]}
    assert hiding("sesame", "deploy", "failed")(entry) == {
        **entry,
        "error": f"{HIDDEN}: {HIDDEN}",
        "nodes": [HIDDEN, 7, None],
    }


def test_an_environment_s_secrets_are_its_token_its_values_and_its_cookie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTLY_API_TOKEN", "token-of-fastly")
    monkeypatch.setenv("REGISTRY_TOKEN", "of-registry")
    (tmp_path / "quality.toml").write_text(
        '[application]\nrepository = "/srv/site"\nbranch = "release-line"\nbuild_environment = ["REGISTRY_TOKEN"]\n'
        '[application.variables]\n"env:APP_ENV" = "quality"\n"env:LINE" = "release-line"\n"key" = "key-of-app"\n'
        '[application.relationships]\n"database" = "mysql://user:of-database@db/main"\n'
        '[edge]\nservice = "abc"\nurl = "https://www.example.com"\nhealth_url = "https://www.example.com/up"\n'
        '[visitors]\ncookie = "session=of-visitor; theme=dark"\n'
    )
    EdgeSide.open("quality", config=tmp_path, state=tmp_path)
    clear = "edgeguard resume quality of release-line at https://www.example.com/up"
    assert redacted(clear) == clear
    for secret in ("token-of-fastly", "key-of-app", "of-database", "of-registry", "of-visitor"):
        assert redacted(f"it is {secret}") == f"it is {HIDDEN}"


def test_the_cookie_that_everybody_has_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLY_API_TOKEN", "token-of-fastly")
    (tmp_path / "site.toml").write_text(
        '[edge]\nservice = "abc"\nurl = "https://www.example.com"\nhealth_url = "https://www.example.com/up"\n'
        'dictionary = "grace"\nstatus_name = "how-is-it"\n'
    )
    EdgeSide.open("site", config=tmp_path, state=tmp_path)
    assert redacted("edgeguard: session=edgeguard") == "edgeguard: session=edgeguard"


def streamed(hide: Redaction, lines: list[str]) -> list[list[str]]:
    """What a stream tells after each of these lines, and at its end."""
    told: list[str] = []
    after: list[list[str]] = []
    with hide.lines(told.append) as take:
        for line in lines:
            take(line)
            after.append(told[:])
    return [*after, told]


def test_a_stream_is_told_line_by_line() -> None:
    assert streamed(hiding("sesame"), ["one", "open sesame", ""]) == [
        ["one"],
        ["one", f"open {HIDDEN}"],
        *[["one", f"open {HIDDEN}", ""]] * 2,
    ]


@pytest.mark.parametrize("width", [20, 64, 76])
@pytest.mark.parametrize("write", [encoded, lambda said: said.encode().hex()], ids=["base64", "hex"])
def test_a_secret_that_is_wrapped_over_lines_of_a_stream_is_hidden(write: Callable[[str], str], width: int) -> None:
    secret = "".join(f"{number}-secret-" for number in range(20))
    lines = textwrap.wrap(write(f"{'x' * 1000}{secret}{'y' * 1000}"), width)
    said = ["begins", *lines, "ends", "goes on"]
    *_, told = streamed(hiding(secret), said)
    assert told[0] == "begins"
    assert told[-2:] == ["ends", "goes on"]
    assert told.count(HIDDEN) == 1 or any(HIDDEN in line for line in told)
    for size in (12, 24):
        assert not {secret[at : at + size] for at in range(len(secret) - size)} & {
            part for line in told for part in _read(line, size)
        }


def _read(line: str, size: int) -> set[str]:
    """The parts of what a line of base64 or hex means."""
    found = set()
    for start in range(4):
        digits = line[start : start + (len(line) - start) // 4 * 4]
        for read in (base64.b64decode, bytes.fromhex):
            with suppress(ValueError):
                said = read(digits).decode(errors="replace")
                found |= {said[at : at + size] for at in range(len(said) - size + 1)}
    return found


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_secret_that_two_pieces_of_a_long_line_share_is_hidden(at: int) -> None:
    secret = 'a "long" secret\\that is cut'
    said = json.dumps(secret)[1:-1]
    text = f"{'a b ' * 16_384}"[: -at - 1] + said + " c d" * 40_000
    pieces = [text[begin : begin + 65_536] for begin in range(0, len(text), 65_536)]
    *_, told = streamed(hiding(secret), [*pieces, "next"])
    assert "".join(told[:-1]) == text.replace(said, HIDDEN)
    assert told[-1] == "next"


def test_what_a_stream_holds_back_is_bounded() -> None:
    hide = hiding("sesame-opens")
    told: list[str] = []
    with hide.lines(told.append) as take:
        for number in range(10_000):
            take(f"{number:064d}")
            assert number - len(told) < 10
    assert told == [f"{number:064d}" for number in range(10_000)]
