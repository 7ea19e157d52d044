"""The health check, run as a monitor runs it: before, during and after a closure, and in an outage."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgeguard.times import rfc3339
from tests.edge.standin_edge import TOKEN, StandinEdge

ROOT = Path(__file__).parents[2]
FORMATS = ("text", "json", "nagios", "prometheus")
STATES = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Site:
    """An environment without a cluster: an edge, an origin with a switch, and a monitor that probes it."""

    standin_edge: StandinEdge
    folder: Path
    pages: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    more: str = ""

    def write(self) -> Path:
        settings = self.standin_edge.settings
        config = self.folder / "config"
        config.mkdir(exist_ok=True)
        (config / "site.toml").write_text(
            f'[edge]\nservice = "{settings.service}"\nurl = "{settings.url}"\nhealth_url = "{settings.url}/health"\n'
            f'api_url = "{settings.api_url}"\nbase_grace = {settings.base_grace}\nceiling = {settings.ceiling}\n'
            f"{self.more}\n[visitors]\nanonymous = {json.dumps(self.pages)}\n"
            f"origin = {json.dumps(self.origins)}\n",
            encoding="utf-8",
        )
        return config

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "edgeguard", "probe", "site", "--config", str(self.write()), *arguments]

    def environment(self, token: str | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEGUARD_", "FASTLY_"))}
        kept["HOME"] = str(self.folder / "home")
        return kept if token is None else {**kept, "FASTLY_API_TOKEN": token}

    def probe(self, *arguments: str, token: str | None = None) -> Ran:
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(token),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout)

    def command_elsewhere(self, front_door: socket.socket, *arguments: str) -> list[str]:
        """The command that probes the same environment through another front door."""
        command = self.command(*arguments)
        file = self.folder / "config" / "site.toml"
        file.write_text(
            file.read_text().replace(self.standin_edge.url, f"http://127.0.0.1:{front_door.getsockname()[1]}")
        )
        return command

    def ask(self, *arguments: str) -> dict[str, Any]:
        ran = self.probe("--format", "json", *arguments)
        assert ran.json["exit_code"] == ran.code
        return ran.json

    def page(self, cache: str = "max-age=10", more: dict[str, str] | None = None) -> str:
        """A page for anonymous visitors. The edge has a copy of it."""
        path = self.standin_edge.page(cache=cache, more=more)
        self.pages.append(path)
        self.standin_edge.get(path)
        return path

    def close(self, *, seconds: float, deploy: str = "d-7") -> None:
        """Close as a gate does: every path is refused, and the answer says until when."""
        self.standin_edge.origin.refusal = {
            "Edgeguard-Closed": f"{deploy}; until={rfc3339(self.standin_edge.now() + seconds)}"
        }
        self.standin_edge.origin.closed = True


@pytest.fixture(scope="module")
def module_standin_edge(module_standin_edge: StandinEdge) -> StandinEdge:
    module_standin_edge.origin.pages["/health"] = (200, {"Cache-Control": "no-store"})
    return module_standin_edge


@pytest.fixture
def site(module_standin_edge: StandinEdge, tmp_path: Path) -> Site:
    module_standin_edge.reset()
    module_standin_edge.install(module_standin_edge.policy())
    module_standin_edge.write({})
    return Site(module_standin_edge, tmp_path)


# -- before, during and after a closure; an outage -------------------------------------------------------------------


def test_a_site_that_is_well(site: Site) -> None:
    site.page(cache="max-age=600")
    found = site.ask()

    assert (found["state"], found["closed"], found["claims"], found["unknown"]) == ("ok", None, [], [])
    assert found["grace"] == {"in_force": 60, "base": 60, "hold": False}
    assert found["policy"]["revision"] == found["policy"]["expected"]
    assert 600 < found["runway"] <= 660


def test_a_closure_is_no_fault_until_it_was_to_end(site: Site) -> None:
    site.page(cache="max-age=10")
    site.standin_edge.claim(grace=1000, last=2000)
    site.standin_edge.later(20)
    site.close(seconds=100)
    during = site.ask()
    site.standin_edge.later(101)
    over = site.ask()
    site.standin_edge.origin.closed = False
    after = site.ask()

    assert (during["state"], during["closed"]["deploy"]) == ("ok", "d-7")
    assert during["summary"].startswith("closed for deploy d-7 until ")
    assert during["pages"][0]["stale"] == "error"
    assert 950 < during["runway"] <= 990
    assert (over["state"], over["closed"]["seconds_left"] < 0) == ("critical", True)
    assert "still closed for deploy d-7, which was to end at " in over["summary"]
    assert (after["state"], after["closed"]) == ("ok", None)


def test_while_on_hold_copies_are_no_fault(site: Site) -> None:
    site.page(cache="max-age=10")
    site.standin_edge.claim(grace=1000, last=2000, hold=1000)
    site.standin_edge.later(20)
    found = site.ask()

    assert (found["state"], found["pages"][0]["stale"], found["grace"]["hold"]) == ("ok", "hold", True)


@pytest.mark.parametrize("how", ["5xx", "refused"])
def test_an_outage_is_critical_unless_a_claim_covers_it(site: Site, how: str) -> None:
    path = site.page(cache="max-age=10")
    site.standin_edge.later(20)
    if how == "refused":
        site.standin_edge.origin.down()
    else:
        site.standin_edge.origin.refusal = {}
        site.standin_edge.origin.closed = True
    without = site.ask()
    site.standin_edge.claim("support1", grace=1000, last=2000)
    covered, short = site.ask(), site.ask("-c", "30m")
    site.pages.append("/never-asked-for")
    uncovered = site.ask()
    site.pages.remove("/never-asked-for")
    site.standin_edge.later(1001)
    over = site.ask()

    status = 503 if how == "refused" else 500
    for found, state in ((without, "critical"), (covered, "warning"), (short, "critical"), (uncovered, "critical")):
        assert (found["state"], found["closed"], found["front_door"]["status"]) == (state, None, status)
    assert "every page is served meanwhile, by the claim support1" in covered["summary"]
    assert 950 < covered["runway"] <= 990
    assert [claim["slot"] for claim in covered["claims"]] == ["support1"]
    assert (over["state"], over["pages"][0]["url"].endswith(path)) == ("critical", True)  # the copy is too old now


def test_a_page_that_is_stale_although_nothing_is_planned_is_a_warning(site: Site) -> None:
    path = site.page(cache="max-age=10")
    site.standin_edge.later(20)
    site.standin_edge.origin.pages[path] = (500, {})
    found = site.ask()

    assert (found["state"], found["front_door"]["status"]) == ("warning", 200)
    assert "served stale" in found["summary"]
    assert "runway" in found["summary"]
    site.standin_edge.later(60)
    assert site.ask()["state"] == "critical"  # the copy is too old now, and visitors get the error


def test_a_page_without_a_copy_does_not_make_a_planned_closure_a_fault(site: Site) -> None:
    site.pages.append(site.standin_edge.page())
    site.close(seconds=100)
    found = site.ask()

    assert (found["state"], found["runway"]) == ("ok", 0)
    assert any("has no copy" in finding["text"] for finding in found["findings"])


@pytest.mark.parametrize(
    "said",
    ["", "d1", "d1; until=soon", "d1; until=2020-01-01T00:00:00", "d1; until=2999-01-01T00:00:00Z", "; until=\x80"],
)
def test_a_closure_without_an_end_that_counts_is_an_outage(site: Site, said: str) -> None:
    site.standin_edge.origin.refusal = {"Edgeguard-Closed": said}
    site.standin_edge.origin.closed = True

    assert site.ask()["state"] == "critical"


def test_a_page_that_says_closed_without_being_so_is_open(site: Site) -> None:
    site.standin_edge.origin.pages["/health"] = (
        200,
        {"Cache-Control": "no-store", "Edgeguard-Closed": "d1; until=2020-01-01"},
    )
    try:
        assert site.ask()["closed"] is None
    finally:
        site.standin_edge.origin.pages["/health"] = (200, {"Cache-Control": "no-store"})


def test_the_end_is_judged_by_the_edges_clock(site: Site) -> None:
    """The monitor's clock may be wrong by an hour. The clocks of the gate and of the edge are right."""
    site.standin_edge.later(3600)
    site.close(seconds=100)

    found = site.ask()
    assert (found["state"], 90 < found["closed"]["seconds_left"] <= 102) == ("ok", True)


# -- the runway ------------------------------------------------------------------------------------------------------


def test_a_claim_that_ends_sooner_ends_the_runway(site: Site) -> None:
    site.page(cache="max-age=10")
    site.standin_edge.claim("support1", grace=3000, last=200)
    site.standin_edge.later(100)

    site.standin_edge.origin.down()
    assert 90 < site.ask()["runway"] <= 101  # not 3000 less what it is old


def test_a_softly_purged_page_has_an_unknown_runway(site: Site) -> None:
    site.page(cache="max-age=600", more={"Surrogate-Key": "k"})
    site.standin_edge.purge("k", soft=True)
    site.standin_edge.origin.down()
    found = site.ask("-c", "10")

    assert (found["runway"], found["unknown"]) == (None, ["runway"])
    assert any("the runway is unknown" in finding["text"] for finding in found["findings"])
    assert "runway=U;" in site.probe("--format", "nagios").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-w", "10m", "-c", "5m"], 0),
        (["-w", "20m", "-c", "5m"], 1),
        (["-w", "30m", "-c", "20m:"], 2),
        (["-w", "1:600"], 1),
        (["-c", "@0:20m"], 2),
        (["-c", "~:2h"], 0),
    ],
)
def test_thresholds_are_held_against_the_runway_of_a_closure(site: Site, arguments: list[str], code: int) -> None:
    site.page(cache="max-age=10")
    site.standin_edge.claim(grace=1000, last=2000)
    well = site.probe(*arguments)
    site.close(seconds=100)
    site.standin_edge.later(20)

    assert (well.code, site.probe(*arguments).code) == (0, code)


# -- what else is looked at ------------------------------------------------------------------------------------------


def test_a_policy_that_differs_from_the_file_is_a_warning(site: Site) -> None:
    site.more = "respect_must_revalidate = true"
    found = site.ask()

    assert (found["state"], found["policy"]["revision"] == found["policy"]["expected"]) == ("warning", False)


def test_an_edge_without_the_policy_is_a_warning(site: Site) -> None:
    site.more = 'status_name = "another"'
    found = site.ask()

    assert (found["state"], found["grace"], found["unknown"]) == ("warning", None, ["runway", "grace"])


def test_where_the_services_own_setting_carries_the_grace_no_policy_is_missed(site: Site) -> None:
    site.more = 'mechanism = "settings"\nstatus_name = "another"'
    site.page(cache="max-age=600")
    found = site.ask()

    assert found["state"] == "ok"
    assert 3600 < found["runway"] <= 4200


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (404, "critical"), (301, "critical"), (500, "critical")])
def test_only_a_200_of_the_health_page_is_well(site: Site, status: int, state: str) -> None:
    site.standin_edge.origin.pages["/health"] = (status, {"Cache-Control": "no-store"})
    try:
        assert site.ask()["state"] == state
    finally:
        site.standin_edge.origin.pages["/health"] = (200, {"Cache-Control": "no-store"})


def test_an_origin_that_fails_behind_a_good_front_door_is_a_warning(site: Site) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        site.origins = [
            f"http://127.0.0.1:{port}/health" for port in (site.standin_edge.origin.port, nobody.getsockname()[1])
        ]
        found = site.ask()

    assert ([origin["status"] for origin in found["origins"]], found["state"]) == ([200, None], "warning")


def test_an_answer_that_is_late_counts_as_none(site: Site) -> None:
    """So does an answer that sends a byte now and then, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as slow:
        done = threading.Event()
        dripping = threading.Thread(target=drip, args=(slow, done))
        dripping.start()
        command = site.command_elsewhere(slow, "-t", "1")
        ran = subprocess.run(command, env=site.environment(), capture_output=True, text=True, timeout=60, check=False)
        done.set()
        dripping.join()

    assert (ran.returncode, "gives no answer within 1 s" in ran.stdout) == (2, True)


def drip(server: socket.socket, done: threading.Event) -> None:
    """Answer each request with a header that never ends."""
    server.settimeout(0.05)
    clients: list[socket.socket] = []
    while not done.is_set():
        with contextlib.suppress(TimeoutError):
            clients.append(server.accept()[0])
            clients[-1].sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(b"x")
    for client in clients:
        client.close()


# -- the languages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", FORMATS)
def test_every_language_says_the_same(site: Site, how: str) -> None:
    site.page(cache="max-age=10")
    site.standin_edge.claim(grace=1000, last=2000)
    codes = [state_of(site.probe("--format", how), how)]
    site.standin_edge.later(20)
    site.close(seconds=100)
    codes.append(state_of(site.probe("--format", how), how))
    site.standin_edge.later(200)
    codes.append(state_of(site.probe("--format", how), how))
    site.standin_edge.origin.down()
    codes.append(state_of(site.probe("--format", how), how))
    site.standin_edge.origin.up()
    site.standin_edge.origin.closed = False
    codes.append(state_of(site.probe("--format", how), how))

    assert codes == [0, 0, 2, 1, 0]  # past its announced end; down, but covered by the claim


def state_of(ran: Ran, how: str) -> int:
    """The exit code. The output must agree with it."""
    if how == "json":
        assert ran.json["state"].upper() == STATES[ran.code]
    elif how == "prometheus":
        assert f'edgeguard_state{{environment="site"}} {ran.code}\n' in ran.out
    else:
        assert ran.out.startswith(f"{'EDGEGUARD ' if how == 'nagios' else ''}{STATES[ran.code]} - ")
    return ran.code


def test_nagios_gets_one_line_with_performance_data(site: Site) -> None:
    site.page(cache="max-age=600")
    said, _, figures = site.probe("--format", "nagios", "-w", "10m", "-c", "2m:").out.partition(" | ")

    assert said.startswith("EDGEGUARD OK - site: ")
    assert figures.endswith("\n")
    assert "\n" not in said
    for figure in figures.split():
        assert re.fullmatch(r"[a-z_]+=(U|-?[0-9.]+s?)(;[0-9~@:]*){0,4}", figure), figure
    assert re.search(r"^runway=6\d\ds;600:;120:;0; grace=60s;;;0; ", figures)


def test_prometheus_gets_gauges_that_promtool_likes(site: Site) -> None:
    promtool = shutil.which("promtool") or shutil.which("promtool", path=str(ROOT / ".tools" / "bin"))
    if promtool is None:
        assert os.environ.get("CI") != "true", "scripts/test installs promtool"
        pytest.skip("there is no promtool: scripts/test fetches it")
    site.page(cache="max-age=10")
    site.origins = [f"http://127.0.0.1:{site.standin_edge.origin.port}/health"]
    site.standin_edge.claim("support3", grace=1000, last=2000)
    well = site.probe("--format", "prometheus").out
    site.close(seconds=100)
    closed = site.probe("--format", "prometheus").out
    nothing = site.probe("--format", "prometheus", "-w", "nonsense").out

    for text in (well, closed, nothing):
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert 'edgeguard_claim_grace_seconds{environment="site",slot="support3"} 1000\n' in well
    assert 'edgeguard_closed{environment="site"} 1\n' in closed


# -- the samples in scripts/health -----------------------------------------------------------------------------------


def sample(site: Site, name: str, *arguments: str) -> Ran:
    found = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "EDGEGUARD_CONFIG": str(site.write())}
    command = [str(ROOT / "scripts" / "health" / name), *arguments]
    done = subprocess.run(command, env={**site.environment(), **found}, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return Ran(done.returncode, done.stdout)


def test_the_sample_for_nagios(site: Site) -> None:
    site.page()
    assert sample(site, "nagios", "site").out.startswith("EDGEGUARD OK - site: ")
    site.close(seconds=100)
    site.standin_edge.later(20)
    assert [sample(site, "nagios", "site", *limits).code for limits in ([], ["20s", "10s"])] == [2, 0]
    assert [sample(site, "nagios", *wrong).code for wrong in ([], ["nowhere"])] == [3, 3]


def test_the_sample_for_a_textfile_collector(site: Site) -> None:
    folder = site.folder / "collected"
    folder.mkdir()
    assert sample(site, "textfile", "site", str(folder)).code == 0
    well = (folder / "edgeguard_site.prom").read_text()
    site.standin_edge.origin.down()
    assert sample(site, "textfile", "site", str(folder)).code == 0  # cron would write mail for any other
    down = (folder / "edgeguard_site.prom").read_text()

    assert 'edgeguard_state{environment="site"} 0\n' in well
    assert 'edgeguard_state{environment="site"} 2\n' in down
    assert [path.name for path in folder.iterdir()] == ["edgeguard_site.prom"]


# -- exit codes of a monitor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bogus"],
        ["one-too-many"],
        ["--format", "xml"],
        ["-w", "soon"],
        ["-c", "20m:10m"],
        ["-c", ":"],
        ["-t", "0"],
        ["-t"],
        ["--json", "--format", "nagios"],
        ["--config", "/nowhere"],
    ],
)
def test_bad_usage_is_unknown(site: Site, arguments: list[str]) -> None:
    ran = site.probe(*arguments)

    assert (ran.code, ran.out.count("\n")) == (3, 1)
    assert "UNKNOWN - " in ran.out or ran.json["state"] == "unknown"


@pytest.mark.parametrize("content", ["", "[edge]\nservice = 1", "[edge", "nonsense = 1"])
def test_a_file_that_can_not_be_used_is_unknown(site: Site, content: str) -> None:
    config = site.write()
    (config / "site.toml").write_text(content)
    command = [sys.executable, "-m", "edgeguard", "probe", "site", "--config", str(config), "--format", "nagios"]
    done = subprocess.run(command, env=site.environment(), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.startswith("EDGEGUARD UNKNOWN - ")) == (3, True)


def test_a_probe_that_is_ended_or_can_not_say_it_is_unknown(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            site.command_elsewhere(silent, "-t", "60"), env=site.environment(), stdout=subprocess.PIPE, text=True
        )
        connection, _ = silent.accept()  # now it has asked
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        connection.close()

    assert (process.returncode, said) == (3, "EDGEGUARD UNKNOWN - ended by SIGTERM\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(site.command(), env=site.environment(), stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (3, b"")


def test_a_bug_is_unknown(site: Site) -> None:
    """A library is broken, on the way to the verdict."""
    broken = site.folder / "broken"
    broken.mkdir()
    (broken / "tomllib.py").write_text("raise RuntimeError('broken on purpose')")
    environment = {**site.environment(), "PYTHONPATH": str(broken)}
    done = subprocess.run(site.command(), env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, "UNKNOWN - a bug: RuntimeError: broken on purpose" in done.stdout) == (3, True)


# -- it only looks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, TOKEN, "not-even-a-token"])
def test_nothing_is_written_and_no_token_is_needed(site: Site, token: str | None) -> None:
    site.page()
    site.write()
    there = sorted(site.folder.rglob("*"))
    asked = len(site.standin_edge.control("GET", "/history"))
    ran = site.probe(token=token)

    assert ran.code == 0
    assert sorted(site.folder.rglob("*")) == there
    assert (
        site.standin_edge.control("GET", "/history")[asked:] == []
    )  # the API, which is where something could be changed
    assert token is None or token not in ran.out


def test_nothing_heavy_is_imported(site: Site) -> None:
    heavy = {"fastly", "urllib3", "httpx", "asyncio", "pydantic_settings", "yaml", "edgeguard.site.visitors"}
    code = (
        "import sys; from edgeguard.cli import main; code = main(sys.argv[1:]); print();"
        f"print(code, *sorted({heavy} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *site.command()[3:]]
    done = subprocess.run(command, env=site.environment(), capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1] == "0"


def test_fifty_at_once(site: Site) -> None:
    site.page()
    command = site.command("--format", "nagios", "-t", "60s")
    processes = [
        subprocess.Popen(command, env=site.environment(), stdout=subprocess.PIPE, text=True) for _ in range(50)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]

    assert [line for line in said if not line.startswith("EDGEGUARD OK - ")] == []
    assert {process.returncode for process in processes} == {0}


def test_every_finding_is_explained() -> None:
    source = (ROOT / "edgeguard" / "monitor" / "judge.py").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "monitors.md").read_text(encoding="utf-8")
    found = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))

    assert found
    assert {name for name in found if f"`{name}`" not in page} == set()


def test_a_site_without_a_file_is_asked_by_its_service_or_its_address(site: Site) -> None:
    """With a token, everything is read from the service; without one, the address is enough."""
    settings = site.standin_edge.settings
    site.standin_edge.origin.pages["/"] = (200, {"Cache-Control": "no-store"})
    known = {"EDGEGUARD_EDGE__API_URL": settings.api_url, "EDGEGUARD_EDGE__URL": settings.url}

    def run(*arguments: str, **more: str) -> Ran:
        command = [sys.executable, "-m", "edgeguard", *arguments]
        environment = {**site.environment(), **more}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout)

    service = ["--service", settings.service]
    by_service = run("probe", *service, "--json", **known, FASTLY_API_TOKEN=TOKEN)
    by_address = run("probe", "--url", settings.url, "--json")
    status = run("status", *service, "--json", **known, FASTLY_API_TOKEN=TOKEN)
    doctor = run("doctor", *service, "--json", **known, FASTLY_API_TOKEN=TOKEN)
    both = run("probe", "site", *service)

    for found in (by_service, by_address):
        assert (found.code, found.json["state"], found.json["grace"]["base"]) == (0, "ok", 60), found.out
    assert (status.code, status.json["grace"]["in_force"]) == (0, 60)
    assert {"policy", "nodes", "no-pages"} <= {finding["name"] for finding in doctor.json["findings"]}
    assert both.code == 3
