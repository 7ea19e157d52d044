from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from edgeguard.errors import UsageError
from edgeguard.release import process_variables
from edgeguard.release.application import Application, Cron, Worker, shell
from edgeguard.release.application_file import parse, warnings
from edgeguard.settings import ApplicationSettings

WHOLE = """
name: shop
type: "python:3.11"
source: {root: api, operations: {update: {command: "true"}}}
build: {flavor: none}
dependencies:
  python3: {pipenv: "2024.1", ruff: "*"}
disk: 1024
hooks:
  build: make
  deploy: |
    ./migrate
    ./warm
  post_deploy: ./notify
web:
  commands: {pre_start: ./warm-up, start: ./serve, post_start: ./check}
  upstream: {socket_family: unix, protocol: http, keepalive: 3}
  locations: {"/": {passthru: true, request_buffering: {enabled: false}}}
mounts:
  "/var/cache/": {source: tmp, source_path: cache}
  uploads: {source: service, service: files}
  old: "shared:files/legacy"
variables:
  env: {PLAIN: text, LIST: [a, 1], FLAG: true}
  php: {memory_limit: 256M}
  "a.b": {c: d}
relationships: {database: "mysql:mysql", cache: }
timezone: Europe/Berlin
crons:
  tidy: {spec: "* * * * *", cmd: ./tidy}
  report: {spec: "H 3 * * mon", commands: {start: ./report, stop: ./end}, timeout: 600, shutdown_timeout: 5}
workers:
  queue:
    commands: {pre_start: ./wait, start: ./work, post_start: ./look, stop: ./rest}
    variables: {env: {PLAIN: other, N: 1}}
    size: S
  mail: {commands: {start: ./mail}, mounts: {spool: {source: local}}, relationships: {queue: "rabbitmq:rabbitmq"}}
"""
LEAST = "name: a\ntype: python:3\nweb: {commands: {start: ./serve}}\n"


def settings(**given: object) -> ApplicationSettings:
    return ApplicationSettings.model_validate({"repository": "/r", "branch": "main", **given})


def decoded(value: str) -> object:
    return json.loads(base64.b64decode(value))


def variables(application: Application, given: ApplicationSettings) -> dict[str, str]:
    return process_variables.runtime(
        application,
        settings=given,
        environment="production",
        branch="main",
        tree="t" * 40,
        image=Path("/i"),
        front_door="https://someone:sentinel@www.example.com:8443",
        entropy="ENTROPY",
    )


def test_uv_is_told_which_python_is_the_images() -> None:
    """On PATH it passes over those of virtual environments. The application may want another one."""
    settings = ApplicationSettings(repository="/r", branch="main")
    own = Application("a", "python:3.11", "s", environment={"UV_PYTHON": "3.12"})

    assert variables(Application("a", "python:3.11", "s"), settings)["UV_PYTHON"] == "/i/toolchain/bin/python"
    assert variables(own, settings)["UV_PYTHON"] == "3.12"
    assert "UV_PYTHON" not in variables(Application("a", "nodejs:20", "s"), settings)
    needed = Application("a", "nodejs:20", "s", dependencies={"python3": {"uv": "*"}})
    assert variables(needed, settings)["UV_PYTHON"] == "/i/toolchain/bin/python"


def test_everything_that_is_supported_is_read() -> None:
    application = parse(WHOLE)

    assert (
        Application(
            name="shop",
            type="python:3.11",
            start="./serve",
            pre_start="./warm-up",
            post_start="./check",
            socket=True,
            root="api",
            flavor="none",
            dependencies={"python3": {"pipenv": "2024.1", "ruff": "*"}},
            hooks={"build": "make", "deploy": "./migrate\n./warm", "post_deploy": "./notify"},
            mounts={"var/cache": "cache", "uploads": "uploads", "old": "legacy", "spool": "spool"},
            environment={"PLAIN": "text", "LIST": '["a", 1]', "FLAG": "true"},
            variables={"php:memory_limit": "256M", "a.b:c": "d"},
            workers={
                "queue": Worker("./work", "./wait", "./look", "./rest", {"PLAIN": "other", "N": "1"}),
                "mail": Worker("./mail"),
            },
            crons={"tidy": Cron("* * * * *", "./tidy"), "report": Cron("H 3 * * mon", "./report", "./end", 600)},
            timezone="Europe/Berlin",
            relationships=("database", "cache", "queue"),
            warnings=application.warnings,
        )
        == application
    )
    assert Path("/i/app/api") == application.folder(Path("/i"))


def test_everything_that_is_not_supported_is_named_with_its_path() -> None:
    assert {
        "source.operations",
        "disk",
        "web.upstream.keepalive",
        "web.locations./.request_buffering",
        "mounts.uploads.source",
        "crons.report.shutdown_timeout",
        "workers.queue.size",
        "variables.php",
    } == {warning.partition(":")[0] for warning in parse(WHOLE).warnings}
    assert parse(LEAST).warnings == ()


def test_a_relationship_that_the_settings_do_not_give_is_named() -> None:
    said = warnings(parse(WHOLE), settings(relationships={"database": "mysql://db/main"}))

    assert [w.partition(":")[0] for w in said if w.startswith("relationships")] == [
        "relationships.cache",
        "relationships.queue",
    ]


def test_it_survives_json() -> None:
    application = parse(WHOLE)

    assert application == Application.from_json(json.loads(json.dumps(application.to_json())))


def bomb() -> str:
    """Ten levels of ten aliases each, which stand for ten thousand million values."""
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))
    return f"a0: &a0 text\n{levels}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no keys"),
        ("- a\n- b\n", "no keys"),
        ("name: [\n", "not YAML"),
        ("name: !include other\n", "no such file"),
        ("name: !include [a]\n", "!include needs a path"),
        ("name: !include {path: a, type: archive}\n", "!include needs a path"),
        ("name: !archive a\n", "not YAML"),
        ("hooks: {build: a}\nname: b\nhooks: {deploy: c}\n", "'hooks' stands twice, the second time in line 3"),
        ("hooks: {build: a, build: b}\n", "'build' stands twice"),
        ("? [a]\n: b\n", "is not text"),
        ("a: &a [*a]\n", "contains itself"),
        ("a: &a {<<: *a}\n", "contains itself"),
        (bomb(), "stand for more than"),
        ("a: " + "[" * 50_000, "nested more than"),
        ("a:\n" + "- b\n" * 30_000, "more than 20000 values"),
        ("a: " + "b" * 300_000, "larger than 256 KiB"),
        ("a: b\n---\na: b\n", "not YAML"),
        (LEAST + "variables: {env: {A: .nan}}\n", "variables.env.A: not a number"),
        (LEAST + "variables: {env: {A: 1e999}, b: {c: -.inf}}\n", "variables.b.c: not a number"),
        (LEAST + f"variables: {{env: {{A: {'9' * 4000}}}}}\n", "variables.env.A: a number with too many digits"),
        (LEAST + f"variables: {{env: {{A: {'9' * 5000}}}}}\n", "not YAML"),
        (LEAST + "variables: {env: {A: !!binary aGk=}}\n", "variables.env.A: a value of a kind"),
        (LEAST + 'relationships: {"a\\0": b}\n', "a character that can't be used"),
        (LEAST + 'hooks: {deploy: "\\ud800"}\n', "hooks.deploy: text with a character"),
        (b"\xff\xfe\xfa", "not YAML"),
        ("type: python:3\n", "name"),
        ("name: a\n", "type"),
        ("name: a\ntype: python:3\n", "web.commands.start"),
        ("name: a\ntype: python:3\nweb: {commands: {start: '  '}}\n", "web.commands.start"),
        ("name: a\ntype: python:3\nweb: text\n", "web: a mapping"),
        ("name: a b\ntype: python:3\nweb: {commands: {start: s}}\n", "name"),
        ("name: 7\ntype: python:3\nweb: {commands: {start: s}}\n", "name: text"),
        (LEAST + "mounts: {'../out': {source: local}}\n", "mounts.../out"),
        (LEAST + "mounts: {'in': {source: local, source_path: ../../out}}\n", "mounts.in.source_path"),
        (LEAST + "mounts: {'/': {source: local}}\n", "mounts./"),
        (LEAST + "mounts: {a: {source: local}, a/b: {source: local}}\n", "mounts.a/b"),
        (LEAST + "mounts: [a]\n", "mounts: a mapping"),
        (LEAST + "source: {root: ../other}\n", "source.root"),
        (LEAST + "hooks: {deploy: [a, b]}\n", "hooks.deploy: text"),
        (LEAST + "build: {flavor: composer}\n", "build.flavor"),
        (LEAST.replace("}}", "}, upstream: {socket_family: ipx}}"), "web.upstream.socket_family"),
        (LEAST.replace("}}", "}, upstream: {protocol: fastcgi}}"), "web.upstream.protocol"),
        (LEAST.replace("}}", "}, upstream: unix}"), "web.upstream: a mapping"),
        (LEAST + "dependencies: {python3: {ruff: 1.10}}\n", "dependencies.python3.ruff"),
        (LEAST + "dependencies: {python3: {--index-url: 'x'}}\n", "dependencies.python3.--index-url"),
        (LEAST + "variables: {env: {A-B: c}}\n", "variables.env.A-B"),
        (LEAST + "variables: {env: text}\n", "variables.env: a mapping"),
        (LEAST.replace("python:3", "php:8.3"), "build.flavor to none"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(text: str | bytes, named: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)

    assert named in refused.value.message
    assert "\n" not in refused.value.message
    assert refused.value.remedy


def test_another_language_needs_no_default_build() -> None:
    assert parse(LEAST.replace("python:3", "php:8.3") + "build: {flavor: none}\n").language == "php"


def test_the_environments_variables_are_as_in_the_reference() -> None:
    """`env:name` is an environment variable in capitals; others are listed; settings win over the file."""
    application = parse(LEAST + "variables: {env: {PLAIN: of the file, PATH: /evil}, php: {limit: 1}}\n")
    found = variables(application, settings(variables={"env:plain": "of settings", "listed": "yes", "php:limit": "2"}))

    assert found["PLAIN"] == "of settings"
    assert "listed" not in found
    assert decoded(found["PLATFORM_VARIABLES"]) == {"php:limit": "2", "listed": "yes"}
    assert found["PATH"].startswith("/i/toolchain/bin:/i/toolchain/machine:/usr/local/sbin:")
    assert (found["HOME"], found["PLATFORM_APP_DIR"] + "/") == ("/i/home", "/i/app/")
    assert tuple(found[f"PLATFORM_{name}"] for name in ("APPLICATION_NAME", "BRANCH", "ENVIRONMENT", "TREE_ID")) == (
        "a",
        "main",
        "production",
        "t" * 40,
    )
    assert not {"PORT", "EDGEGUARD_SERVER"} & found.keys()


def test_scripts_find_the_mounts_of_their_application() -> None:
    said = decoded(variables(parse(WHOLE), settings())["PLATFORM_APPLICATION"])

    assert isinstance(said, dict)
    assert list(said["mounts"]) == ["var/cache", "uploads", "old", "spool"]
    assert (said["name"], said["source"]["root"], said["mounts"]["old"]["source_path"]) == ("shop", "/api", "legacy")


def test_the_front_door_is_the_one_route() -> None:
    """Applications look for their own name among the routes, and build their absolute links from the address."""
    found = variables(parse(LEAST + "variables: {env: {PLATFORM_PROJECT_ENTROPY: of the file}}\n"), settings())
    routes = decoded(found["PLATFORM_ROUTES"])

    assert isinstance(routes, dict)
    assert list(routes) == ["https://www.example.com:8443/"]
    route = routes["https://www.example.com:8443/"]
    assert (route["type"], route["upstream"], route["primary"]) == ("upstream", "a", True)
    assert "sentinel" not in str(routes)
    assert found["PLATFORM_PROJECT_ENTROPY"] == "ENTROPY"


def test_a_relationship_is_an_endpoint_in_the_references_form() -> None:
    found = variables(parse(LEAST), settings(relationships={"db": "postgresql://u%40x:p%2F@h:5432/main?is_master=1"}))
    listed = decoded(found["PLATFORM_RELATIONSHIPS"])

    assert isinstance(listed, dict)
    (endpoint,) = listed["db"]
    assert tuple(endpoint[key] for key in ("scheme", "host", "port", "username", "password", "path", "query")) == (
        "postgresql",
        "h",
        5432,
        "u@x",
        "p/",
        "main",
        {"is_master": "1"},
    )


@pytest.mark.parametrize("given", [{"relationships": {"db": "sentinel:x"}}, {"variables": {"env:A=B": "sentinel"}}])
def test_a_value_that_cannot_be_used_is_not_shown(given: dict[str, dict[str, str]]) -> None:
    with pytest.raises(UsageError) as refused:
        variables(parse(LEAST), settings(**given))

    assert "sentinel" not in refused.value.message + refused.value.remedy


def test_a_command_runs_after_dot_environment_and_pre_start(tmp_path: Path) -> None:
    (tmp_path / ".environment").write_text("export GREETING=hello\n", encoding="utf-8")
    application = Application(name="a", type="python:3", pre_start="echo first", start='echo "$GREETING"')

    done = subprocess.run(shell(application.launch), cwd=tmp_path, capture_output=True, check=True, text=True)

    assert done.stdout == "first\nhello\n"


def test_a_byte_order_mark_is_no_part_of_dot_environment(tmp_path: Path) -> None:
    text = "export GREETING='$(hello)'\n[ -n \"$GREETING\" ] && return\nexport GREETING=late\n"
    (tmp_path / ".environment").write_text(text, encoding="utf-8-sig")
    done = subprocess.run(
        shell('printf "%s" "$GREETING"; cat'), cwd=tmp_path, input=b" and stdin", capture_output=True, check=True
    )

    assert (done.stdout, done.stderr) == (b"$(hello) and stdin", b"")


def test_what_comes_after_the_start_runs_beside_it(tmp_path: Path) -> None:
    application = Application(
        name="a",
        type="python:3",
        start="until [ -e looked ]; do sleep 0.01; done; echo started",
        post_start="touch looked; exit 3",
    )

    done = subprocess.run(shell(application.launch), cwd=tmp_path, capture_output=True, check=False, text=True)

    assert (done.returncode, done.stdout) == (0, "started\n")


def test_what_fails_before_the_start_keeps_it_from_starting(tmp_path: Path) -> None:
    application = Application(name="a", type="python:3", pre_start="exit 3", start="echo started")

    done = subprocess.run(shell(application.launch), cwd=tmp_path, capture_output=True, check=False, text=True)

    assert (done.returncode, done.stdout) == (3, "")


def test_an_included_file_is_a_string_yaml_or_base64() -> None:
    tree = {
        "build.sh": b"\xef\xbb\xbfecho built\n",
        "variables.yaml": b"env: {A: b, NESTED: !include {path: one, type: string}}\n",
        "one": b"one",
        "picture": b"\xff\xd8",
    }
    application = parse(
        LEAST
        + "hooks:\n  build: !include\n    type: string\n    path: build.sh\n"
        + "variables: !include variables.yaml\n"
        + "mounts: {a: {source: local, source_path: !include {path: one, type: string}}}\n",
        include=tree.get,
    )

    assert application.hooks == {"build": "echo built"}
    assert application.environment == {"A": "b", "NESTED": "one"}
    assert application.mounts == {"a": "one"}
    encoded = parse(LEAST + "variables: {env: {P: !include {type: binary, path: picture}}}\n", include=tree.get)
    assert encoded.environment == {"P": "/9g="}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"a: !include self\n", "more than 20 files are included"),
        (b"a: b\na: c\n", "!include self: the key 'a' stands twice"),
        (b"\xff\xfe\xfa", "!include self: it is not YAML"),
        (b"a" * 300_000, "!include self: it is larger"),
    ],
)
def test_a_file_that_cannot_be_included_is_named(content: bytes, named: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse("name: !include self\n", include={"self": content}.get)

    assert named in refused.value.message


def test_a_byte_order_mark_is_no_part_of_the_file() -> None:
    assert parse(b"\xef\xbb\xbf" + LEAST.encode()).name == "a"
