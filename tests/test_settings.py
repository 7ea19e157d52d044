from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from edgeguard import settings
from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SENTINEL = "sentinel-that-nobody-may-see"
COMPLETE = """
[application]
repository = "/srv/git/site.git"
branch = "production"
variables = { "env:PASSWORD" = "sentinel-that-nobody-may-see" }
relationships = { database = "postgresql://site:sentinel-that-nobody-may-see@localhost/site" }
[cluster]
root = "/var/lib/edgeguard"
[edge]
service = "abc"
url = "https://www.example.com"
health_url = "https://www.example.com/"
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith(("EDGEGUARD_", "FASTLY_")):
            monkeypatch.delenv(variable)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(tmp_path)


class Load:
    """Loads an environment's file: the complete one with something replaced, added, or wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, text: str = COMPLETE) -> settings.Settings:
        (self.folder / "production.toml").write_text(text, encoding="utf-8")
        return settings.load("production", self.folder)

    def refused(self, text: str) -> str:
        with pytest.raises(UsageError) as caught:
            self(text)
        assert caught.value.remedy
        assert SENTINEL not in caught.value.message + caught.value.remedy
        return caught.value.message


@pytest.mark.parametrize(
    ("written", "meant"),
    [("90s", 90), ("5m", 300), ("4h", 14_400), ("7d", 604_800), ("1.5h", 5400), ("12", 12), (" 3 s ", 3), (0.5, 0.5)],
)
def test_a_duration_has_a_unit_or_is_in_seconds(written: object, meant: float) -> None:
    assert settings.seconds(written) == meant


@pytest.mark.parametrize(
    "written", ["", "4 hours", "-1s", -1, "1h30m", "s", True, None, [], "1e3", float("inf"), float("nan"), "٣s"]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        settings.seconds(written)


def test_durations_in_the_file_are_seconds_in_the_settings(load: Load) -> None:
    loaded = load(COMPLETE + 'base_grace = "2h"\nceiling = "30d"\npropagation = 1.5')

    assert (loaded.edge.base_grace, loaded.edge.ceiling, loaded.edge.propagation) == (7200, 2_592_000, 1.5)


@pytest.mark.parametrize(
    ("added", "path"),
    [
        ("[nonsense]\nkey = 1", "nonsense: unknown key"),
        ("base_graze = 1", "edge.base_graze: unknown key"),
        ("[visitors]\nrates = 1", "visitors.rates: unknown key"),
    ],
)
def test_an_unknown_key_is_named_with_its_path(load: Load, added: str, path: str) -> None:
    assert path in load.refused(COMPLETE + added)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('branch = "production"', "", "application.branch"),
        ("[edge]", "[edges]", "edge: "),
        ('service = "abc"', "service = 7", "edge.service"),
        ("[edge]", '[claim]\nheld = "9d"\n[edge]', "claim.held"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nedge_check_path = "/"', "cluster.edge_check_path"),
        ('url = "https://www.example.com"', 'url = "https://www.example.com/shop"', "more than a site's address"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nclosed_status = 404', "cluster.closed_status"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nservers = []', "servers: name at least one"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nservers = ["a", "a"]', "each once"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nservers = ["../etc"]', "not a server's name"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nhook_server = "web9"', "not one of the servers"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nafter_hook_failure = "hope"', "cluster.after_hook_failure"),
        ('root = "/var/lib/edgeguard"', 'root = "/r"\nhook_timeout = "soon"', "cluster.hook_timeout: 'soon'"),
        ('service = "abc"', 'service = "abc"\nbase_grace = "8d"', "base_grace <= ceiling"),
        ('service = "abc"', 'service = "abc"\nbase_grace = 0', "0 < base_grace"),
        ('service = "abc"', 'service = "abc"\nceiling = "31d"', "ceiling <= 30d"),
        ('service = "abc"', 'service = "abc"\nstatus_name = "a/b"', "edge.status_name"),
        ('service = "abc"', 'service = "abc"\nhealthy_rounds = 0', "edge.healthy_rounds"),
        ("[edge]", "[visitors]\nrate = 0\n[edge]", "visitors.rate"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(load: Load, before: str, after: str, said: str) -> None:
    assert before in COMPLETE
    assert said in load.refused(COMPLETE.replace(before, after))


def test_every_fault_is_named_at_once(load: Load) -> None:
    message = load.refused(COMPLETE.replace('branch = "production"', 'brunch = "production"'))

    assert "application.branch" in message
    assert "application.brunch" in message


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("EDGEGUARD_EDGE__BASE_GRACE", "2h", lambda loaded: loaded.edge.base_grace == 7200),
        ("EDGEGUARD_APPLICATION__BRANCH", "other", lambda loaded: loaded.application.branch == "other"),
        ("EDGEGUARD_CLUSTER__SERVERS", '["a", "b"]', lambda loaded: loaded.cluster.servers == ("a", "b")),
        ("EDGEGUARD_CLUSTER__OPTIONS", '{"gate_port": 1}', lambda loaded: loaded.cluster.options == {"gate_port": 1}),
        ("EDGEGUARD_VISITORS__RATE", "9", lambda loaded: loaded.visitors.rate == 9),
    ],
)
def test_the_environment_wins_over_the_file(
    load: Load, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, read: Callable[[settings.Settings], bool]
) -> None:
    monkeypatch.setenv(variable, value)
    loaded = load()

    assert read(loaded)
    assert loaded.edge.url == "https://www.example.com"  # what no variable names is still the file's


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EDGEGUARD_EDGE__BASE_GRAZE", "2h"),
        ("EDGEGUARD_EGDE__BASE_GRACE", "2h"),
        ("EDGEGUARD_CLUSTER__SERVERS", "web1, web2"),
        ("EDGEGUARD_EDGE", SENTINEL),
    ],
)
def test_a_variable_that_can_not_be_used_is_named(
    load: Load, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    name = variable.removeprefix("EDGEGUARD_").replace("__", ".").lower()
    assert name in load.refused(COMPLETE).lower().replace("__", ".")


def test_variables_of_the_programs_own_are_no_settings(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """EDGEGUARD_CONFIG and EDGEGUARD_STATE say where to look; EDGEGUARD_SERVER is what an application is told."""
    for name in ("CONFIG", "STATE", "SERVER"):
        monkeypatch.setenv(f"EDGEGUARD_{name}", "/somewhere")

    assert load().edge.service == "abc"


@pytest.mark.parametrize("name", ["", "../production", "Production", "a.b", "-x"])
def test_an_environments_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not an environment's name"):
        settings.load(name, tmp_path)


def test_an_unknown_environment_is_answered_with_those_there_are(load: Load) -> None:
    load()
    with pytest.raises(UsageError) as caught:
        settings.load("staging", load.folder)

    assert "Environments in" in caught.value.remedy
    assert "production" in caught.value.remedy


@pytest.mark.parametrize("text", ["[edge", "edge = ", "\x00"])
def test_what_is_not_toml_is_refused(load: Load, text: str) -> None:
    assert "can't be read" in load.refused(text)


def test_what_is_not_text_is_refused(load: Load) -> None:
    (load.folder / "production.toml").write_bytes(b"\xff\xff")
    with pytest.raises(UsageError, match="can't be read"):
        settings.load("production", load.folder)


def test_an_address_that_is_none_is_named(load: Load) -> None:
    said = load.refused(COMPLETE.replace('url = "https://www.example.com"', 'url = "www.example.com"', 1))
    assert "url: this is no address" in said


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, encoding: str) -> None:
    """Windows' editors and shells write it in front."""
    (tmp_path / "production.toml").write_text(COMPLETE, encoding=encoding)
    assert settings.load("production", tmp_path).edge.service == "abc"
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("a-token\r\n", encoding=encoding)
    assert settings.token(edge(file)) == "a-token"


def test_a_byte_order_mark_is_no_part_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLY_API_TOKEN", "\ufeffa-token")
    assert settings.token(edge()) == "a-token"


def test_variables_can_give_a_part_that_the_file_does_not_have(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGUARD_CLUSTER__ROOT", "/srv")
    load(COMPLETE.replace('[cluster]\nroot = "/var/lib/edgeguard"\n', ""))
    found = settings.load_edge_only("production", load.folder)

    assert found.cluster is not None
    assert str(found.cluster.root) == "/srv"


def test_values_of_secrets_show_nowhere(load: Load) -> None:
    """Not in what is refused beside them, not in the settings' own picture."""
    assert SENTINEL not in repr(load())
    load.refused(COMPLETE.replace('branch = "production"', f'branch = ["{SENTINEL}"]'))
    load.refused(COMPLETE.replace('"env:PASSWORD" = ', '"env:PASSWORD" = 7, "env:OTHER" = '))


def edge(token_file: Path | None = None) -> settings.EdgeSettings:
    where = "https://www.example.com"
    return settings.EdgeSettings(service="abc", url=where, health_url=where, token_file=token_file)


def test_the_token_comes_from_variables_first_and_then_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("of-the-file\n")

    assert settings.token(edge(file)) == "of-the-file"
    monkeypatch.setenv("FASTLY_KEY", "second")
    assert settings.token(edge(file)) == "second"
    monkeypatch.setenv("FASTLY_API_TOKEN", " first\n")
    assert settings.token(edge(file)) == "first"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_token_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text(SENTINEL)
    file.chmod(mode)

    with pytest.raises(UsageError) as caught:
        settings.token(edge(file))
    assert SENTINEL not in caught.value.message
    assert "chmod 600" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"  \n", "is empty"), (b"\xff\xff", "can't be read"), (None, "can't be")]
)
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.touch(mode=0o600)
        file.write_bytes(content)

    with pytest.raises(UsageError, match=said):
        settings.token(edge(file))


@pytest.mark.parametrize("value", ["two words", f"{SENTINEL}\r\nX: y", "naïve"])
def test_a_token_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FASTLY_API_TOKEN", value)

    with pytest.raises(UsageError) as caught:
        settings.token(edge())
    assert value not in caught.value.message
    assert "FASTLY_API_TOKEN" in caught.value.message


def test_without_any_token_the_refusal_says_where_one_may_be() -> None:
    with pytest.raises(UsageError) as caught:
        settings.token(edge())

    assert "FASTLY_API_TOKEN" in caught.value.remedy


def test_an_edge_alone_needs_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "production.toml").write_text(
        '[edge]\nservice = "abc"\nurl = "https://www.example.org"\nhealth_url = "https://www.example.org/"\n',
        encoding="utf-8",
    )
    loaded = settings.load_edge_only("production", tmp_path)
    assert (loaded.edge.service, loaded.cluster, loaded.application) == ("abc", None, None)
    with pytest.raises(UsageError, match="cluster: Field required"):
        settings.load("production", tmp_path)
