"""What is hidden of what is said, and what is not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from edgeguard.environment import EdgeSide
from edgeguard.machine.redaction import HIDDEN, Redaction, redacted

if TYPE_CHECKING:
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
