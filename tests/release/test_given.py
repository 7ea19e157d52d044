"""The values that an environment gives its application, wherever its file says that they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgeguard import settings as files
from edgeguard.errors import UsageError
from edgeguard.machine.redaction import Redaction
from edgeguard.release import given
from edgeguard.release.application_file import parse
from edgeguard.settings import ApplicationSettings, Elsewhere
from tests.release.test_application import LEAST, variables

if TYPE_CHECKING:
    from pathlib import Path

SENTINEL = "sentinel-that-nobody-may-see"


def settings(**values: Any) -> ApplicationSettings:  # noqa: ANN401 (values, or their places)
    return ApplicationSettings(repository="/r", branch="main", variables=values)


def private(path: Path, content: bytes, mode: int = 0o600) -> Elsewhere:
    path.touch()
    path.chmod(mode)
    path.write_bytes(content)
    return Elsewhere(file=path)


def refused(wanted: ApplicationSettings) -> str:
    with pytest.raises(UsageError) as raised:
        given.variables(wanted)
    assert SENTINEL not in raised.value.message + raised.value.remedy
    assert raised.value.remedy
    return raised.value.message


def test_values_come_from_the_file_the_runner_and_private_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "of the $runner\n")
    lines = private(tmp_path / "key", b"-----BEGIN-----\n'\"$x\n-----END-----\n")
    wanted = settings(a="plain", b={"from_env": "DATABASE_PASSWORD"}, c=lines)

    assert given.variables(wanted) == {
        "a": "plain",
        "b": "of the $runner\n",
        "c": "-----BEGIN-----\n'\"$x\n-----END-----",  # as editors and `echo` write a line
    }
    assert [given.source(value) for value in wanted.variables.values()] == [
        "the environment's file",
        "the variable DATABASE_PASSWORD of who deploys",
        f"the file {tmp_path / 'key'}",
    ]


def test_a_value_that_is_not_where_the_file_says_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLY_API_TOKEN", SENTINEL)
    monkeypatch.setenv("RAW", f"{SENTINEL}\udcff")
    assert "the variable NOT_THERE is not set" in refused(settings(a={"from_env": "NOT_THERE"}))
    assert "FASTLY_API_TOKEN never goes to an application" in refused(settings(a={"from_env": "FASTLY_API_TOKEN"}))
    assert "RAW is no text" in refused(settings(a={"from_env": "RAW"}))
    open_to_all = private(tmp_path / "open", SENTINEL.encode(), 0o644)
    assert "application.variables.a: " in refused(settings(a=open_to_all))
    assert "can be read by others" in refused(settings(a=open_to_all))
    assert "can't be read" in refused(settings(a={"file": str(tmp_path / "gone")}))
    assert "is no text" in refused(settings(a=private(tmp_path / "raw", b"\xff" + SENTINEL.encode())))
    assert "more than 131072 bytes" in refused(settings(a=private(tmp_path / "long", b"x" * 131_073)))
    assert "can't be read" in refused(settings(a={"file": str(tmp_path)}))


@pytest.mark.parametrize("place", [{}, {"from_env": "1X"}, {"from_env": ""}, {"file": ""}, {"text": SENTINEL}, 7])
def test_a_place_that_is_none_is_refused_with_the_file(tmp_path: Path, place: object) -> None:
    with pytest.raises(ValueError, match="write a text in quotes") as raised:
        settings(a=place)
    assert SENTINEL not in files.explain(raised.value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="write a text in quotes"):
        settings(a={"from_env": "A", "file": str(tmp_path)})


def test_a_file_is_beside_the_environment_s_file(tmp_path: Path) -> None:
    (tmp_path / "production.toml").write_text(
        '[application]\nrepository = "/r"\nbranch = "main"\nvariables = { "env:A" = { file = "secrets/a" } }\n'
        '[cluster]\nroot = "/srv"\n[edge]\nservice = "s"\nurl = "http://x"\nhealth_url = "http://x/"\n'
    )
    (tmp_path / "secrets").mkdir(mode=0o700)
    private(tmp_path / "secrets" / "a", b"sesame\n")
    assert given.variables(files.load("production", tmp_path).application) == {"env:A": "sesame"}


def test_commands_that_need_no_value_hide_what_they_can_read(tmp_path: Path) -> None:
    wanted = settings(a={"from_env": "NOT_THERE"}, b=private(tmp_path / "b", SENTINEL.encode()))
    redaction = Redaction()
    redaction.learn(given.secrets(wanted))
    assert redaction(f"it is {SENTINEL}") == "it is •••"


def test_what_no_process_can_be_given_is_refused() -> None:
    longest = given.LONGEST - len("LONG=") - 1
    application = parse(LEAST)
    assert len(variables(application, settings(**{"env:long": "x" * longest}))["LONG"]) == longest
    for values, said in (
        ({"env:long": "x" * (longest + 1)}, "the variable LONG is too long"),
        ({"env:long": "ü" * (longest // 2 + 1)}, "the variable LONG is too long"),
        ({"listed": "x" * 100_000}, "the variable PLATFORM_VARIABLES is too long"),
        ({f"env:n{number}": "x" * 100_000 for number in range(11)}, "more than 1048576 bytes together"),
        ({"env:nul": "a\0b"}, "'env:nul' can't be an environment variable"),
        ({"env:no-name": "x"}, "'env:no-name' can't be an environment variable"),
        ({"env:": "x"}, "'env:' can't be an environment variable"),
    ):
        with pytest.raises(UsageError, match=said):
            variables(application, settings(**values))
