"""Would an anonymous visitor notice a deploy now? Each reason is a finding, with its evidence and a remedy.

This only reads. But asking for a page has an effect: where the edge had no copy, it has one afterwards. A part that
can't be read (the token may not read it, the cluster doesn't answer) is a finding, too, and the other parts are read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.lock import SharedRecord
from edgeguard.doctor import readiness, servers
from edgeguard.edge.claim import DEPLOY_SLOTS, SUPPORT_SLOTS, live, parse_all
from edgeguard.edge.clock import Clock
from edgeguard.errors import ClusterError, EdgeError, OriginsUnhealthy
from edgeguard.findings import Finding, together
from edgeguard.grace import strays
from edgeguard.machine import sandbox
from edgeguard.machine.sandbox import Sandbox
from edgeguard.machine.signals import pause
from edgeguard.site import sitemap
from edgeguard.times import duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeguard.cluster import Cluster
    from edgeguard.edge import Edge, Policy, Status
    from edgeguard.environment import EdgeSide
    from edgeguard.site.pages import Page, Yardstick

STATUS_ANSWERS = 10
"""The number of status questions. Each has a new connection, so that more than one node may answer."""
NONE = ""
"""This stands in place of a revision if no policy is installed."""
TOKEN_DAYS = 7
"""A token that ends sooner is a finding."""


@dataclass(frozen=True)
class Diagnosis:
    """The findings. A closure is expected to last `expected` seconds; `known_from` says where that number is from."""

    environment: str
    expected: float
    known_from: str
    findings: tuple[Finding, ...]
    pages: tuple[Page, ...]

    @property
    def would_notice(self) -> bool:
        """Whether a visitor would notice a deploy now."""
        return any(finding.severity == "critical" for finding in self.findings)

    def json(self) -> dict[str, Any]:
        """The answer of `doctor --json`. Durations are in seconds."""
        return {
            "environment": self.environment,
            "would_notice": self.would_notice,
            "expected_closure": {"seconds": self.expected, "known_from": self.known_from},
            "findings": [vars(finding) for finding in self.findings],
            "urls": [page.json() for page in self.pages],
        }


def examine(
    environment: EdgeSide,
    cluster: Cluster | None,
    *,
    warm: bool = False,
    sleep: Callable[[float], None] = pause,
) -> Diagnosis:
    """Look at everything. With `warm`, a page that the edge had to fetch just now is looked at once more.

    The cluster is asked who holds the lock, how long past closures lasted, and what its servers are. Requests for pages
    keep to `doctor.rate`, and each waits for as long as the previous one took: a slow origin is asked less often.
    """
    found: list[Finding] = []
    edge, clock = environment.edge, Clock()
    answers, trouble = _status_answers(edge, clock) if edge.claims else ([], "")
    ahead = clock.ahead
    expected, known_from = readiness.expected_closure(environment, readiness.history(environment, cluster))
    installed, about = _service(environment, cluster, expected, now=time.time() + ahead)
    found += about
    if edge.claims and installed != NONE:
        found += _nodes(answers, trouble, installed or edge.revision)
    found += _token(environment)
    found += _builds(environment)
    found += [] if cluster is None else servers.findings(environment.name, cluster)
    shown = parse_all(answers[-1].slots) if answers else ()
    measure = readiness.yardstick(environment, expected, claims=shown, now=time.time() + ahead)
    names, unread = _names(environment)
    found += unread
    rate = environment.settings.doctor.rate

    def pause(took: float) -> None:
        sleep(max(1 / rate, took))

    looked = list(readiness.look(names, environment, measure, warm=warm, ahead=ahead, pause=pause))
    pages = tuple(page for page, _ in looked)
    found += [finding for _, about in looked for finding in about]
    found += _coverage(pages, measure)
    findings = tuple(finding.about(environment.argument) for finding in together(found))
    return Diagnosis(environment.name, expected, known_from, findings, pages)


# -- the service, as its API and its nodes show it ---------------------------------------------------------------


def _status_answers(edge: Edge, clock: Clock) -> tuple[list[Status], str]:
    """The answers of the nodes, and the error of the question that got none ("": all did). The clock learns from each
    answer."""
    answers: list[Status] = []
    for _ in range(STATUS_ANSWERS):
        try:
            answers.append(clock.ask(edge))
        except EdgeError as exc:
            return answers, exc.message
    return answers, ""


def _service(
    environment: EdgeSide, cluster: Cluster | None, closure: float, *, now: float
) -> tuple[str | None, list[Finding]]:
    """The revision of the installed policy (NONE: no policy; None: unknown), and the API's findings.

    A closure is expected to last `closure` seconds. `now` is Unix time by the edge's clock, by which claims end.
    """
    found: list[Finding] = []
    revision: str | None = None
    try:
        version = environment.edge.active_version()
        found += version.conflicts()
        if not version.fit:
            return NONE, found
        installed = environment.edge.policy()
        revision = installed.revision or NONE
        found.append(_policy(installed))
        if revision != NONE and environment.edge.claims:
            found += version.remarks()
        if revision != NONE:
            found += readiness.health_checks_of(environment, version, closure)
        if revision != NONE and environment.edge.claims:
            found += _claims(environment, cluster, environment.edge.items(), now)
    except EdgeError as exc:
        text = f"Fastly's API does not give all that is needed: {exc.message}"
        found.append(Finding("api-unknown", "warning", text, exc.remedy))
    return revision, found


def _policy(installed: Policy) -> Finding:
    where, remedy = f"version {installed.version} of the service", "edgeguard edge install ENV"
    if installed.revision is None:
        return Finding("policy-missing", "critical", f"{where} has no policy of edgeguard", remedy)
    if installed.differences:
        text = f"{where} doesn't hold what would be installed: {', '.join(installed.differences)}"
        return Finding("policy-changed", "critical", text, f"edgeguard edge diff ENV shows it; {remedy} repairs it.")
    return Finding("policy", "ok", f"{where} holds what was installed, unchanged", "")


def _nodes(answers: Sequence[Status], trouble: str, expected: str) -> Iterator[Finding]:
    if trouble:
        remedy = "Is edge.url the front door of this service, and has the policy been active for a minute?"
        yield Finding("no-status", "critical", f"the edge does not tell its status: {trouble}", remedy)
        return
    behind = {answer.node: answer.revision for answer in answers if answer.revision != expected}
    for node, revision in sorted(behind.items()):
        text = f"the node {node} runs revision {revision} of the policy, not {expected}"
        remedy = "If a version was activated in the last minutes, look again; else the node is another service's."
        yield Finding("node-behind", "critical", text, remedy)
    if not behind:
        names = sorted({answer.node for answer in answers})
        text = f"revision {expected} on {', '.join(names)}; grace in force {duration(answers[-1].grace)}"
        yield Finding("nodes", "ok", text, "")


def _claims(environment: EdgeSide, cluster: Cluster | None, items: Mapping[str, str], now: float) -> Iterator[Finding]:
    ceiling = environment.settings.edge.ceiling
    yield from strays.find(items, now=now, ceiling=ceiling)
    alive = live(parse_all(items), now=now, ceiling=ceiling)
    for claim in alive:
        said = f"{claim.slot} claims {duration(claim.grace)} until {rfc3339(claim.until)}"
        if claim.slot in SUPPORT_SLOTS:
            yield Finding("claim", "ok", said, "")
        elif claim.of_pipeline:
            remedy = f"edgeguard hook post ENV {claim.slot} gives it back, once that deploy is over."
            yield Finding("deploy-claim", "note", f"{said}, for a deploy by other means", remedy)
        else:
            yield _deploys_claim(environment, cluster, said)
    for slots, whose in ((DEPLOY_SLOTS, "a deploy"), (SUPPORT_SLOTS, "support")):
        if all(any(claim.slot == slot for claim in alive) for slot in slots):
            first = min(claim.until for claim in alive if claim.slot in slots)
            text = f"all {len(slots)} slots for claims of {whose} are taken, the first until {rfc3339(first)}"
            remedy = "edgeguard grace show ENV lists them; edgeguard grace release ENV SLOT frees one of support's."
            yield Finding("slots-full", "warning", text, remedy)


def _deploys_claim(environment: EdgeSide, cluster: Cluster | None, said: str) -> Finding:
    """The finding about a deploy's claim, which belongs to the lock's holder. Without a [cluster] there is no lock."""
    settings = environment.settings.cluster
    if cluster is None or settings is None:
        return Finding("deploy-claim", "note", f"{said}: a deploy is under way, or left it", "It ends by itself.")
    try:
        lock = SharedRecord(cluster, environment.name, lease=settings.lease).look().lock
    except ClusterError as exc:
        return Finding("deploy-claim", "note", f"{said}; its owner is unknown: {exc.message}", exc.remedy)
    if lock:
        return Finding("deploy-claim", "note", f"{said}, for {lock.deploy} ({lock.holder})", "Wait for it.")
    return Finding(
        "claim-without-lock",
        "warning",
        f"{said}, and nobody holds the lock: a deploy has failed or died",
        "edgeguard status ENV tells what it left. The claim ends by itself; the next deploy clears it.",
    )


def _token(environment: EdgeSide) -> tuple[Finding, ...]:
    try:
        found = readiness.token_findings(environment, lasting=TOKEN_DAYS * 86_400)
    except EdgeError as exc:
        return (Finding("token-unknown", "note", exc.message, exc.remedy),)
    return found or (Finding("token", "ok", "it may do all that a deploy needs, and lasts at least a week", ""),)


# -- the machine that builds, which is taken to be this one --------------------------------------------------------


def _builds(environment: EdgeSide) -> Iterator[Finding]:
    """Findings about what a build of the application could read, write and reach here. A trial run shows it."""
    settings = environment.settings
    if settings.application is None or settings.cluster is None:
        return
    if lack := Sandbox(network=settings.application.build_network).lack():
        yield Finding("no-sandbox", "warning", sandbox.without(lack), f"{sandbox.REMEDY}.")
    if settings.application.build_network:
        text = "a build reaches the network that this machine reaches, and what listens on its loopback"
        remedy = "If builds install nothing from elsewhere: application.build_network = false."
        yield Finding("build-network", "note", text, remedy)


# -- the pages ---------------------------------------------------------------------------------------------------


def _names(environment: EdgeSide) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The pages to look at: the pages that the settings name, and pages of the sitemap, at most doctor.pages together.
    And the findings about pages that can't be named."""
    settings = environment.settings
    named = readiness.urls(settings)[: settings.doctor.pages]
    unread: tuple[Finding, ...] = ()
    if settings.doctor.sitemap is not None:
        try:
            url = settings.edge.address(settings.doctor.sitemap)
            others = sitemap.pages(url, timeout=settings.visitors.timeout)
        except OriginsUnhealthy as exc:
            unread, others = (Finding("sitemap-unknown", "warning", exc.message, exc.remedy),), ()
        more = [name for name in others if name not in named]
        named += readiness.spread(more, settings.doctor.pages - len(named))
    if not named:
        remedy = "Name some in visitors.anonymous, doctor.urls or doctor.sitemap."
        unread += (Finding("no-pages", "warning", "no pages are named, so none was looked at", remedy),)
    return named, unread


def _coverage(pages: Sequence[Page], measure: Yardstick) -> Iterator[Finding]:
    """The findings about all pages together."""
    if not pages:
        return
    unknown = [page for page in pages if page.cached and page.runway is None and not page.why]
    if unknown:
        yield Finding(
            "runway-unknown",
            "note",
            f"the edge does not tell how long {len(unknown)} pages last, such as {unknown[0].url}",
            "Ask again: only the node that holds a page tells it. If it never does, something strips Fastly-Debug-TTL.",
        )
    good = [page for page in pages if page.cached and not page.why]
    known = [page.runway_claimed for page in good if page.runway_claimed is not None]
    if good:
        runway = f"; the shortest runway under a deploy's claim is {duration(min(known))}" if known else ""
        text = (
            f"{len(good)} of {len(pages)} have a copy that lasts for {duration(measure.closure)} of a closure{runway}"
        )
        yield Finding("pages", "ok", text, "")
