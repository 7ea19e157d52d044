"""One planted defect, exactly that finding: `doctor` on a site that is well but for one thing."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard import environment
from edgeguard.cluster.record import Ended
from edgeguard.doctor import examine, readiness
from edgeguard.doctor.text import render
from edgeguard.edge.claim import HOOK, SUPPORT_SLOTS, Claim, new_nonce
from edgeguard.edge.fastly import headers
from edgeguard.edge.fastly.health_checks import sick_after_opening
from edgeguard.errors import OriginsUnhealthy
from edgeguard.site import pages, sitemap
from tests.edge.standin_edge import TOKEN
from tests.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

    from edgeguard.doctor import Diagnosis
    from tests.edge.standin_edge import StandinEdge

PLANNED = 300
PAGES = 3
READER = "token-that-only-reads"


@dataclass
class Site:
    """A service with the policy, an origin with a few good pages, and files that tell of both."""

    standin_edge: StandinEdge
    folder: Path
    pages: list[str] = field(default_factory=list)

    def configure(
        self, *, with_cluster: bool = False, pages: list[str] | None = None, **tables: dict[str, Any]
    ) -> None:
        """Write the environment's file; without more, as the site is well."""
        edge = self.standin_edge.settings
        content: dict[str, dict[str, Any]] = {
            "edge": {
                "service": edge.service,
                "url": edge.url,
                "health_url": edge.health_url,
                "api_url": edge.api_url,
                "token_file": str(self.folder / "token"),
                "base_grace": edge.base_grace,
                "ceiling": edge.ceiling,
            },
            "claim": {"duration": 600},
            "visitors": {"anonymous": self.pages if pages is None else pages},
            "doctor": {"rate": 1000, "origin": f"http://127.0.0.1:{self.standin_edge.origin.port}"},
        }
        if with_cluster:
            content["application"] = {"repository": str(self.folder), "branch": "main", "build_network": False}
            content["cluster"] = {
                "driver": "local",
                "root": str(self.folder / "cluster"),
                "planned_closure": PLANNED,
                "options": {"gate_port": 9},
            }
        for name, more in tables.items():
            content[name] = content.get(name, {}) | more
        self.token(TOKEN)
        text = "".join(f"[{name}]\n{_lines(table)}" for name, table in content.items())
        (self.folder / "site.toml").write_text(text, encoding="utf-8")

    def token(self, secret: str) -> None:
        """The token that commands use."""
        path = self.folder / "token"
        path.touch(mode=0o600)
        path.write_text(secret, encoding="utf-8")

    def plant(self, **what: object) -> None:
        """Put a defect into the service, past its API."""
        self.standin_edge.control("POST", "/plants", what)

    def examine(self, *, warm: bool = False) -> Diagnosis:
        """What the verb does, in this process."""
        opened, cluster = environment.as_far_as_it_goes("site", config=self.folder, state=self.folder / "state")
        return examine(opened, cluster, warm=warm)

    def visit(self) -> None:
        """Visitors have been there."""
        for page in self.pages:
            self.standin_edge.get(page)

    def edgeguard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, as a process."""
        command = [sys.executable, "-m", "edgeguard", *arguments, "--config", str(self.folder)]
        command += ["--state", str(self.folder / "state")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _lines(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture(scope="module")
def whole(module_standin_edge: StandinEdge, tmp_path_factory: pytest.TempPathFactory) -> Site:
    module_standin_edge.edge.install("the tests")
    site = Site(module_standin_edge, tmp_path_factory.mktemp("doctor"))
    site.pages = [module_standin_edge.page(cache="max-age=100000") for _ in range(PAGES)]
    site.visit()
    return site


@pytest.fixture
def site(whole: Site) -> Iterator[Site]:
    """One site for the module; every test begins with all of it well, and visited."""
    whole.standin_edge.reset()
    whole.configure()
    whole.visit()
    yield whole
    whole.standin_edge.control("DELETE", "/plants")
    whole.standin_edge.write({})


def wrong(found: Diagnosis) -> set[str]:
    """The names of everything that isn't as it should be."""
    return {finding.name for finding in found.findings if finding.severity != "ok"}


def test_a_world_that_is_well_has_no_finding(site: Site) -> None:
    found = site.examine()

    assert wrong(found) == set()
    assert not found.would_notice
    assert {finding.name for finding in found.findings} == {"policy", "nodes", "token", "pages"}
    assert [(page.cached, page.cold, page.why) for page in found.pages] == [(True, False, "")] * PAGES


def test_what_a_build_could_do_on_this_machine_is_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.configure(with_cluster=True, application={"build_network": True})
    shared = {finding.name for finding in site.examine().findings}
    site.configure(with_cluster=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = site.examine()

    assert "build-network" in shared
    assert "build-network" not in {finding.name for finding in found.findings}
    [lacking] = [finding for finding in found.findings if finding.name == "no-sandbox"]
    assert (lacking.severity, found.would_notice) == ("warning", False)
    assert "bubblewrap is not installed" in lacking.text
    assert "Install bubblewrap" in lacking.remedy


def test_a_runway_is_what_is_left_of_the_ttl_and_the_grace(site: Site) -> None:
    """In force now: the base of 60 s. Under a deploy's claim: base and 600 s."""
    page = site.examine().pages[0]

    assert page.ttl is not None
    assert 0 < page.ttl <= 100_000
    assert page.runway == pytest.approx(page.ttl + 60)
    assert page.runway_claimed == pytest.approx(page.ttl + 660)


HEALTHCHECK = {"name": "alive", "path": "/alive", "check_interval": 2000, "window": 5, "threshold": 3, "initial": 3}
CHECKED = {"add": {"healthcheck": [HEALTHCHECK]}, "change": {"backend": {"origin": {"healthcheck": "alive"}}}}
LAST_RETURN = {"name": "theirs", "type": "recv", "priority": 0, "content": 'if (req.url == "/x") { return(pass); }'}

IN_THE_SERVICE: dict[str, dict[str, Any]] = {
    "policy-missing": {"remove": {"dictionary": ["edgeguard"]}},  # and the snippets
    "policy-changed": {"change": {"snippet": {"edgeguard_deliver": {"priority": 50}}}},
    "compute-service": {"type": "wasm"},
    "serve-stale": {"settings": {"general.stale_if_error": True}},
    "cache-settings": {"add": {"cache_settings": [{"name": "kept", "stale_ttl": "1500"}]}},
    "request-settings": {"add": {"request_settings": [{"name": "aged", "max_stale_age": "30"}]}},
    "early-return": {"add": {"snippet": [LAST_RETURN]}},
    "backend-stays-sick": CHECKED,
    "starts-sick": {
        "add": {"healthcheck": [HEALTHCHECK | {"check_interval": 600_000, "initial": 1}]},
        "change": CHECKED["change"],
    },
}


@pytest.mark.parametrize("name", IN_THE_SERVICE)
def test_a_defect_in_the_service_is_named(site: Site, name: str) -> None:
    planted = IN_THE_SERVICE[name]
    if name == "policy-missing":
        planted["remove"]["snippet"] = [snippet.name for snippet in site.standin_edge.policy()]
    site.plant(**planted)
    found = site.examine()

    assert wrong(found) == {name}
    [finding] = [finding for finding in found.findings if finding.name == name]
    assert finding.remedy


def test_where_the_service_s_own_settings_keep_pages_there_is_no_policy_to_ask(site: Site) -> None:
    snippets = [snippet.name for snippet in site.standin_edge.policy()]
    own = {"general.stale_if_error": True, "general.stale_if_error_ttl": site.standin_edge.settings.ceiling}
    site.plant(remove={"snippet": snippets, "dictionary": ["edgeguard"]}, settings=own)
    site.configure(edge={"mechanism": "settings"})
    found = site.examine()
    assert wrong(found) == set()
    ttl = found.pages[0].ttl
    assert ttl is not None
    assert found.pages[0].runway == pytest.approx(ttl + site.standin_edge.settings.ceiling)

    site.plant(settings={"general.stale_if_error_ttl": 60})
    assert wrong(site.examine()) == {"policy-changed"}


def test_a_green_path_keeps_the_health_check_content(site: Site) -> None:
    site.plant(**CHECKED)
    site.configure(with_cluster=True)
    assert wrong(site.examine()) == {"backend-stays-sick"}
    site.configure(with_cluster=True, cluster={"edge_check_path": "/alive"})
    assert wrong(site.examine()) == set()


@pytest.mark.parametrize(
    ("closure", "sick"),
    [(1, 0), (3.9, 0), (4, 6), (300, 6)],
    ids=["one failure", "two failures", "three failures", "all fail"],
)
def test_a_backend_is_sick_until_as_many_answers_are_good_as_the_threshold_says(closure: float, sick: float) -> None:
    """A window of 5 with a threshold of 3 bears two failures; every 2 s there is an answer."""
    assert sick_after_opening(HEALTHCHECK, closure) == sick


def test_a_backend_that_stays_sick_for_longer_than_a_deploy_waits_is_critical(site: Site) -> None:
    slow = HEALTHCHECK | {"check_interval": 30_000}
    site.plant(add={"healthcheck": [slow]}, change=CHECKED["change"])
    found = site.examine()

    assert wrong(found) == {"backend-stays-sick"}
    assert found.would_notice


# -- pages -------------------------------------------------------------------------------------------------------

PERSONAL: dict[str, tuple[str, dict[str, str]]] = {
    "set-cookie": ("max-age=600", {"Set-Cookie": "session=secret-of-a-visitor"}),
    "private": ("private, max-age=600", {}),
    "no-store": ("no-store, max-age=0", {}),
    "no-ttl": ("max-age=0", {}),
    "vary": ("max-age=600", {"Vary": "Accept-Encoding, User-Agent"}),
    "short-runway": ("max-age=60, stale-if-error=30", {}),
}


@pytest.mark.parametrize("name", PERSONAL)
def test_a_page_that_would_not_last_is_named_with_its_reason(site: Site, name: str) -> None:
    cache, headers = PERSONAL[name]
    bad = site.standin_edge.page(cache=cache, more=headers)
    site.configure(pages=[*site.pages, bad])
    found = site.examine()

    assert wrong(found) == {name}
    assert found.would_notice
    assert [(page.url, page.why) for page in found.pages if page.why] == [(site.standin_edge.url + bad, name)]
    assert "secret-of-a-visitor" not in json.dumps(found.json())


def test_a_page_that_nobody_has_asked_for_is_cold_until_it_is_warmed(site: Site) -> None:
    """One that has expired is not, nor is one that was renewed by a 304."""
    site.standin_edge.get(expired := site.standin_edge.page(cache="max-age=10"))
    site.standin_edge.get(renewed := site.standin_edge.page(cache="max-age=10", more={"ETag": '"1"'}))
    site.standin_edge.later(30)
    site.configure(pages=[*site.pages, expired, renewed, cold := site.standin_edge.page(cache="max-age=600")])
    found = site.examine()
    assert [(page.url, page.cached) for page in found.pages if page.cold] == [(site.standin_edge.url + cold, True)]
    assert "cold" in wrong(found)
    assert found.would_notice

    site.configure(pages=[*site.pages, site.standin_edge.page(cache="max-age=600")])
    assert wrong(site.examine(warm=True)) == set()


@pytest.mark.parametrize("status", [404, 500])
def test_a_page_that_is_an_error_is_named(site: Site, status: int) -> None:
    site.configure(pages=[*site.pages, site.standin_edge.page(status=status)])

    assert wrong(site.examine()) == {{404: "not-kept", 500: "page-error"}[status]}


def test_a_page_that_somebodys_vcl_passes_is_named(site: Site) -> None:
    page = site.standin_edge.page(cache="max-age=600")
    content = f'if (req.url == "{page}") {{ return(pass); }}'
    site.plant(add={"snippet": [{"name": "theirs", "type": "recv", "content": content}]})
    site.configure(pages=[page])

    assert wrong(site.examine()) == {"passed"}


def test_a_page_that_is_served_stale_has_no_known_runway(site: Site) -> None:
    page = site.standin_edge.page(cache="max-age=100")
    site.standin_edge.get(page)
    site.standin_edge.later(120)
    site.standin_edge.origin.down()
    site.configure(pages=[page])
    found = site.examine()

    assert wrong(found) == {"stale"}
    assert (found.pages[0].cached, found.pages[0].runway) == (True, None)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({}, set()),
        ({"Cache-Control": "max-age=600"}, {"revalidates"}),
        ({"Surrogate-Control": "max-age=600, stale-if-error=5"}, {"revalidates"}),
        ({"Surrogate-Control": "max-age=600, stale-if-error=3600"}, set()),
        ({"Surrogate-Key": "a b"}, {"revalidates-keys"}),
    ],
    ids=["silent", "fresh", "too short", "with the ceiling", "keys"],
)
def test_a_304_that_would_lose_the_ceiling_is_named(site: Site, more: dict[str, str], names: set[str]) -> None:
    """What the edge holds was stored by a 200, and is well; the origin is asked what it would say next time."""
    page = site.standin_edge.page(cache="", more={"ETag": '"1"', "Surrogate-Control": "max-age=600"})
    site.standin_edge.get(page)
    site.standin_edge.origin.pages[page] = (200, {"ETag": '"1"', **more})
    site.configure(pages=[page])
    found = site.examine()

    assert wrong(found) == names
    assert found.would_notice == (names == {"revalidates"})


def test_of_a_page_that_has_lost_the_ceiling_by_a_304_the_cause_is_named(site: Site) -> None:
    page = site.standin_edge.page(cache="max-age=60", more={"ETag": '"1"'})
    site.standin_edge.get(page)
    site.standin_edge.later(70)
    site.standin_edge.get(page)
    site.configure(pages=[page])
    found = site.examine()

    assert wrong(found) == {"revalidates"}
    assert [page.why for page in found.pages] == ["revalidates"]


def test_behind_a_shield_a_304_of_the_shields_own_leaves_a_page_its_ceiling(site: Site) -> None:
    site.standin_edge.nodes(shield=True)
    page = site.standin_edge.page(cache="", more={"ETag": '"1"'})  # the origin's 304 says nothing of freshness
    site.standin_edge.get(page)
    site.standin_edge.later(3700)
    site.standin_edge.get(page)
    site.configure(pages=[page])

    assert wrong(site.examine()) == set()


def test_without_an_origin_to_ask_a_304_is_unknown_not_well(site: Site) -> None:
    page = site.standin_edge.page(cache="max-age=600", more={"ETag": '"1"'})
    site.standin_edge.get(page)
    site.configure(pages=[page], doctor={"origin": "http://127.0.0.1:9"})

    assert wrong(site.examine()) == {"revalidation-unknown"}


def test_the_longest_of_the_last_closures_is_what_a_runway_has_to_cover(site: Site) -> None:
    """A deploy took 1000 s, as the servers remember; a claim gives 660 s and the page has a TTL of 60 s."""
    page = site.standin_edge.page(cache="max-age=60")
    site.standin_edge.get(page)
    site.configure(pages=[page], with_cluster=True)
    assert wrong(site.examine()) == set()
    record = environment.Environment.open("site", config=site.folder).record()
    record.take(None)
    for outcome, closed in (("deployed", 1000.0), ("held", 5000.0), ("refused", None), ("deployed", 10.0)):
        record.note(lock=None)
        record.release(Ended.new(outcome=outcome, closed_seconds=closed))
    found = site.examine()

    assert wrong(found) == {"short-runway"}
    assert (found.expected, found.known_from) == (1000, "the longest of the last 2 deploys")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("(H cache-a 12.500 600.000 3)", (True, "cache-a", 12.5, 600)),
        ("M cache-a 10.000 0.000 0", (False, "cache-a", 10, 0)),
        ("(H cache-a - - 3)", (True, "cache-a", None, None)),
        ("(M cache-edge 9.000 60.000 1) (H cache-shield 5.000 70.000 5)", (False, "cache-edge", 9, 60)),
        ("", None),
        ("nonsense", None),
    ],
)
def test_the_debug_header_is_read_in_all_its_forms(header: str, expected: tuple[object, ...] | None) -> None:
    copy = headers.copy({"fastly-debug-ttl": header})

    assert copy.told is (expected is not None)
    assert expected in (None, (copy.hit, copy.node, copy.ttl, copy.stale_if_error))


# -- claims, tokens, nodes ---------------------------------------------------------------------------------------


def test_a_deploys_claim_that_nobody_holds_is_named(site: Site) -> None:
    site.standin_edge.claim("deploy0", grace=600)
    assert wrong(site.examine()) == {"deploy-claim"}
    site.configure(with_cluster=True)
    found = site.examine()

    assert wrong(found) == {"claim-without-lock"}
    assert not found.would_notice


def test_a_pipelines_claim_needs_no_lock_and_is_given_back_by_its_hook(site: Site) -> None:
    until = site.standin_edge.now() + 600
    site.standin_edge.write({"deploy1": Claim("deploy1", until, 600, new_nonce(HOOK)).value()})
    site.configure(with_cluster=True)
    found = site.examine()

    assert wrong(found) == {"deploy-claim"}
    assert [each.remedy for each in found.findings if each.name == "deploy-claim"] == [
        "edgeguard hook post site deploy1 gives it back, once that deploy is over."
    ]


def test_a_claim_of_supports_is_as_it_should_be(site: Site) -> None:
    site.standin_edge.claim("support1", grace=900)
    found = site.examine()

    assert wrong(found) == set()
    assert "support1 claims 15 min" in render(found)


def test_a_runway_ends_with_the_claim_that_makes_it_long(site: Site) -> None:
    """A claim may grant more than it lasts for."""
    until = site.standin_edge.now() + 200
    site.standin_edge.write({"support1": f"{until}:900:abcd1234"})
    page = site.examine().pages[0]
    left = until - site.standin_edge.now()

    assert page.ttl is not None
    assert page.runway == pytest.approx(max(left, page.ttl + site.standin_edge.settings.base_grace), abs=3)


def test_slots_that_are_all_taken_are_named(site: Site) -> None:
    until = site.standin_edge.now() + 500
    site.standin_edge.write(dict.fromkeys(SUPPORT_SLOTS, f"{until}:600:abcd1234"))

    assert wrong(site.examine()) == {"slots-full"}


def _soon(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


@pytest.mark.parametrize(
    ("token", "names"),
    [
        ({"scopes": ["global:read"]}, {"token-scope"}),
        ({"scopes": ["purge_select"]}, {"token-unknown", "api-unknown"}),
        ({"sees_itself": False}, {"token-unknown"}),
        ({"expires_at": _soon(5)}, {"token-expires"}),
        ({"expires_at": _soon(24 * 30)}, set()),
        ({"expires_at": _soon(-1)}, {"token-unknown", "api-unknown"}),
    ],
    ids=["reads", "purges", "may not ask about itself", "ends soon", "ends", "ended"],
)
def test_doctor_goes_as_far_as_the_token_goes(site: Site, token: dict[str, Any], names: set[str]) -> None:
    """The nodes and the pages are looked at with any token."""
    site.plant(tokens={READER: token})
    site.token(READER)
    found = site.examine()

    assert wrong(found) == names
    assert {"nodes", "pages"} <= {finding.name for finding in found.findings}
    assert not found.would_notice
    assert ("as far as could be looked" in render(found)) == ("api-unknown" in names)


@contextmanager
def site_of(pages: dict[str, bytes]) -> Iterator[str]:
    """A server with these pages, read at each request; its URL."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = pages.get(request.path)
        request.send_response(404 if body is None else 200)
        request.end_headers()
        request.wfile.write(body or b"")

    with serving(answer) as url:
        yield url


def test_a_node_that_runs_another_policy_and_a_front_door_that_runs_none_are_named(site: Site) -> None:
    pages = [site.standin_edge.url + page for page in site.pages]
    status = site.standin_edge.get("/edgeguard-status").body
    revision = site.standin_edge.edge.status().revision.encode()
    other = {"/edgeguard-status": status.replace(revision, b"0123456789ab")}
    with site_of(other) as url:
        site.configure(pages=pages, edge={"url": url})
        assert wrong(site.examine()) == {"node-behind"}
        del other["/edgeguard-status"]
        assert wrong(site.examine()) == {"no-status"}


# -- the sitemap -------------------------------------------------------------------------------------------------


def urlset(*names: str) -> bytes:
    rows = "".join(f"<url><loc> {name} </loc><image><loc>/not-a-page</loc></image></url>" for name in names)
    return f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>'.encode()


BOMB = b'<!DOCTYPE a [<!ENTITY b "cccccccc">]><urlset><url><loc>&b;</loc></url></urlset>'


def test_pages_come_from_the_sitemap_and_its_index_and_from_no_other_host() -> None:
    pages: dict[str, bytes] = {}
    with site_of(pages) as url:
        index = "".join(f"<sitemap><loc>{url}/{name}</loc></sitemap>" for name in ("one.xml", "two.xml.gz"))
        pages["/sitemap.xml"] = f"<sitemapindex>{index}</sitemapindex>".encode()
        pages["/one.xml"] = urlset(f"{url}/a", "http://elsewhere.example/b", f"{url}/a")
        pages["/two.xml.gz"] = gzip.compress(urlset(f"{url}/c"))

        assert sitemap.pages(f"{url}/sitemap.xml", timeout=5) == (f"{url}/a", f"{url}/c")


@pytest.mark.parametrize(
    "body", [b"", b"not XML", b"<html></html>", BOMB, BOMB.decode().encode("utf-16"), b"\x1f\x8bno"]
)
def test_what_is_no_sitemap_is_told_so(body: bytes) -> None:
    with site_of({"/sitemap.xml": body}) as url, pytest.raises(OriginsUnhealthy, match="not a sitemap"):
        sitemap.pages(f"{url}/sitemap.xml", timeout=5)


def test_a_sitemap_that_unpacks_without_end_is_not_unpacked() -> None:
    packed = gzip.compress(bytes(2 * sitemap.BYTES), compresslevel=1)
    with site_of({"/sitemap.xml": packed}) as url, pytest.raises(OriginsUnhealthy, match="more than"):
        sitemap.pages(f"{url}/sitemap.xml", timeout=5)


def test_of_a_large_sitemap_a_few_pages_from_its_whole_length_are_looked_at(site: Site) -> None:
    names = [site.standin_edge.page(cache="max-age=600") for _ in range(10)]
    site.standin_edge.origin.pages["/sitemap.xml"] = (404, {})
    site.configure(pages=[], doctor={"sitemap": "/sitemap.xml", "pages": 3})
    assert wrong(site.examine()) == {"sitemap-unknown", "no-pages"}
    with site_of({"/sitemap.xml": urlset(*names)}) as url:
        site.configure(pages=[], doctor={"sitemap": f"{url}/sitemap.xml", "pages": 3})
        found = site.examine()
    assert [page.url.removeprefix(url) for page in found.pages] == [names[0], names[3], names[6]]


def test_every_finding_is_explained() -> None:
    root = Path(__file__).parents[2]
    files = [path for path in (root / "edgeguard").rglob("*.py") if path.parent.name != "monitor"]  # those are probe's
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    found = set(re.findall(r'Finding\(\s*"([a-z-]+)"', sources)) | set(pages.REMEDIES)
    explained = (root / "docs" / "doctor.md").read_text(encoding="utf-8")

    installing = {"shortens", "deploy-under-way", "claims-in-force", "not-sampled"}  # `edge install` alone finds these
    assert {name for name in found - installing if f"`{name}`" not in explained} == set()


def test_every_refusal_of_preflight_is_explained() -> None:
    text = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    refused = text.partition("it refuses to begin:\n\n")[2].partition("\n\n")[0]

    assert set(re.findall(r"`([a-z-]+)`", refused)) == set(readiness.REFUSED)


# -- the command -------------------------------------------------------------------------------------------------


def test_the_command_tells_scripts_and_people(site: Site) -> None:
    well = site.edgeguard("doctor", "site", "--json")
    assert (well.returncode, well.stderr) == (0, "")
    told = json.loads(well.stdout)
    assert {key: told[key] for key in ("environment", "would_notice")} == {"environment": "site", "would_notice": False}
    assert {"url", "cached", "why", "runway"} <= told["urls"][0].keys()

    shown = render(site.examine(), quiet=True, verbose=True).splitlines()
    assert [line.split()[-1] for line in shown[-PAGES:]] == [site.standin_edge.url + page for page in site.pages]
    assert len(shown) == 2 + 2 + PAGES, "quiet: what is well is left out"
    bad = [site.standin_edge.page(cache="private") for _ in range(5)]
    site.configure(pages=bad)
    ill = site.edgeguard("doctor", "site")
    assert ill.returncode == 4
    assert ill.stdout.startswith("site: an anonymous visitor would notice a deploy now")
    assert ill.stdout.count("Cache-Control: private") == 1, "pages with one trouble are told together"
    assert "(and 4 more pages: " in " ".join(ill.stdout.split())
    assert TOKEN not in ill.stdout + ill.stderr
