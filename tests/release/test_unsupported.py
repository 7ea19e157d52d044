"""What becomes of each key that an application's file may have at the reference, and that edgeguard does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.errors import UsageError
from edgeguard.release.application_file import described

if TYPE_CHECKING:
    from edgeguard.release.application import Application


def application(ignore: tuple[str, ...] = (), **keys: object) -> Application:
    said: dict[str, Any] = {"name": "a", "type": "python:3", **keys}
    said["web"] = {"commands": {"start": "./serve"}, **said.get("web", {})}
    return described(said, "the file", ignore=ignore)


def located(**location: object) -> dict[str, object]:
    return {"locations": {"/": location}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"stack": ["python@3.12"]}, "stack: composable images"),
    ({"runtime": {"extensions": ["redis"]}}, "runtime: edgeguard sets up no runtime"),
    ({"additional_hosts": {"a.example": "10.0.0.1"}}, "additional_hosts: "),
    ({"firewall": {"outbound": []}}, "firewall: "),
    ({"dependencies": {"ruby": {"sass": "*"}}}, "dependencies.ruby: only packages of python3 and nodejs"),
    ({"workers": {"w": {"commands": {"start": "s"}, "firewall": {}}}}, "workers.w.firewall: "),
    ({"mounts": {"a": {"source": "nowhere"}}}, "mounts.a.source: 'nowhere' is none of"),
    ({"web": {"commands": {"start": "s", "stop": "t"}}}, "web.commands.stop: a web process gets SIGTERM"),
    ({"web": {"document_root": "/web"}}, "web.document_root: no gate serves files"),
    ({"web": {"locations": ["/"]}}, "web.locations: a mapping"),
    ({"web": located(root="static")}, "web.locations./.root: no gate serves the files of 'static'"),
    ({"web": located(root="public", passthru=True)}, "web.locations./.root: "),
    ({"web": located(root="a", allow=False, rules={"css$": {"allow": True}})}, "web.locations./.root: "),
    ({"web": located(passthru="/index.php")}, "web.locations./.passthru: requests can't be led to one script"),
    ({"web": located(passthru=False)}, "web.locations./: no gate refuses what is not passed on"),
    ({"web": located()}, "web.locations./: "),
    ({"web": located(passthru=True, rules={"^/private": {"passthru": False}})}, "web.locations./: "),
]


@pytest.mark.parametrize(("keys", "named"), REFUSED)
def test_a_key_that_can_matter_is_refused_with_what_to_do(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as refused:
        application(**keys)

    assert refused.value.message.startswith(f"the file: {named}")
    assert refused.value.remedy.endswith(".")


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"disk": 512}, "disk"),
        ({"size": "S"}, "size"),
        ({"container_profile": "HIGH_CPU"}, "container_profile"),
        ({"access": {"ssh": "admin"}}, "access"),
        ({"operations": {"clean": {}}}, "operations"),
        ({"nonsense": 1}, "nonsense"),
        ({"hooks": {"pre_build": "a"}}, "hooks.pre_build"),
        ({"crons": {"c": {"spec": "* * * * *", "cmd": "a", "shutdown_timeout": 30}}}, "crons.c.shutdown_timeout"),
        ({"workers": {"w": {"commands": {"start": "s"}, "disk": 256}}}, "workers.w.disk"),
        ({"mounts": {"a": {"source": "service", "service": "files"}}}, "mounts.a.source"),
        ({"mounts": {"a": {"source": "storage"}}}, "mounts.a.source"),
        ({"web": located(passthru=True, request_buffering={"enabled": False})}, "web.locations./.request_buffering"),
    ],
)
def test_a_key_that_cannot_matter_is_named(keys: dict[str, Any], named: str) -> None:
    assert [warning.partition(":")[0] for warning in application(**keys).warnings] == [named]


@pytest.mark.parametrize(
    "location",
    [
        {"passthru": True},
        {"passthru": True, "allow": False, "scripts": False, "expires": "1h", "headers": {"A": "b"}, "index": ["i"]},
        {"passthru": True, "root": "public", "allow": False},
        {"passthru": True, "root": None, "rules": {"css$": {"expires": "1d"}}},
    ],
)
def test_a_location_that_passes_everything_on_is_as_if_it_were_not_there(location: dict[str, Any]) -> None:
    assert application(web=located(**location)) == application()


@pytest.mark.parametrize("ignore", ["web.locations./static.root", "web.locations./static", "web.locations", "web"])
def test_a_refused_key_may_be_ignored_by_name_and_is_named_then(ignore: str) -> None:
    web = {"locations": {"/static": {"root": "static"}}}

    assert application((ignore,), web=web).warnings == (
        "web.locations./static.root: ignored, as application.ignore says",
    )
    with pytest.raises(UsageError):
        application((f"{ignore}x", "web.loc"), web=web)


def test_what_stays_refused_is_said_where_another_key_is_ignored() -> None:
    with pytest.raises(UsageError) as refused:
        application(("firewall",), firewall={}, runtime={})

    assert "runtime" in refused.value.message


@pytest.mark.parametrize("source", ["local", "tmp", "temporary", "instance"])
def test_every_source_of_a_mount_is_a_folder_of_the_servers_own(source: str) -> None:
    found = application(mounts={"/web/uploads/": {"source": source, "source_path": "up"}, "x": "shared:files/y"})

    assert (found.mounts, found.warnings) == ({"web/uploads": "up", "x": "y"}, ())


@pytest.mark.parametrize("type_", ["golang:1.22", "ruby:3.3", "php:8.3"])
def test_another_language_is_refused_before_its_keys_are(type_: str) -> None:
    with pytest.raises(UsageError) as refused:
        application(type=type_, runtime={}, web=located(root="public"))
    assert f"there is no default build for '{type_}'" in refused.value.message

    assert application(type=type_, build={"flavor": "none"}).language == type_.partition(":")[0]
