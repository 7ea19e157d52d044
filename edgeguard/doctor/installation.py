"""Put the policy into a service, or take it out. Look first, and refuse if it would do harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.lock import SharedRecord
from edgeguard.doctor import readiness
from edgeguard.edge import CONFLICTS, SHORTENS
from edgeguard.edge.claim import DEPLOY_SLOTS, live, parse_all
from edgeguard.edge.clock import edge_clock
from edgeguard.errors import ActiveChanged, ClusterError, OriginsUnhealthy, Refused
from edgeguard.findings import Finding
from edgeguard.machine.who import this_holder
from edgeguard.site.asking import ask
from edgeguard.times import apart, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from edgeguard.cluster import Cluster
    from edgeguard.edge import ActiveVersion, Policy
    from edgeguard.environment import EdgeSide

ACCEPTABLE = (*CONFLICTS, SHORTENS, "deploy-under-way", "claims-in-force")
"""Refusals that a person may accept by name."""
ATTEMPTS = 3
"""The number of attempts when somebody else activates another version meanwhile."""
SAMPLES = 20
"""The most pages that are asked for, to see how long their origin lets them be served stale."""
TIMEOUT = 10.0
"""Seconds, for each page."""
_WAIT = "Wait until it has ended; if its process is gone for good, accept this."


class NotDone(Refused):
    """The change was refused. `findings` has all findings, the reasons for the refusal among them."""

    def __init__(self, findings: Sequence[Finding], refused: Sequence[Finding]) -> None:
        remedy = "\n  ".join(dict.fromkeys(each.remedy for each in refused if each.remedy))
        names = dict.fromkeys(each.name for each in refused if each.name in ACCEPTABLE)
        over = "To go on all the same: " + " ".join(f"--accept {name}" for name in names) if names else ""
        super().__init__("; ".join(each.text for each in refused), "\n  ".join(filter(None, [remedy, over])))
        self.findings = findings


def install(
    environment: EdgeSide,
    cluster: Cluster | None,
    *,
    reason: str,
    accept: Collection[str] = (),
    show: Callable[[Policy], None] = lambda _: None,
) -> tuple[Policy, tuple[Finding, ...]]:
    """Put the policy into the service, or the setting that `edge.mechanism` uses in its place.

    If the service has it already, nothing else is looked at. `show` is called with the differences before the change.

    Returns the policy after the change (its `diff` is the change, "" for none), and the findings.

    Raises:
        NotDone: there are reasons against it that are not in `accept`.
        EdgeError: see Edge.
    """

    def act() -> tuple[Policy, tuple[Finding, ...]]:
        before = environment.edge.policy()
        if before.version is not None and not before.differences:
            return before, ()
        findings = tuple(against_installing(environment, cluster))
        _refuse(findings, accept)
        show(before)
        return environment.edge.install(_signed(reason), expecting=before.version), findings

    return _start_over(act)


def remove(
    environment: EdgeSide, cluster: Cluster | None, *, reason: str, dictionary: bool, accept: Collection[str] = ()
) -> tuple[Policy, tuple[Finding, ...]]:
    """Take the policy out of the service; with `dictionary`, its dictionary too. Returns and raises as `install`."""

    def act() -> tuple[Policy, tuple[Finding, ...]]:
        active = environment.edge.active_version()
        findings = tuple(_at_work(environment, active, cluster, claims=True))
        _refuse(findings, accept)
        return environment.edge.remove(_signed(reason), dictionary=dictionary, expecting=active.number), findings

    return _start_over(act)


def against_installing(environment: EdgeSide, cluster: Cluster | None) -> Iterator[Finding]:
    """Everything that is a reason not to install now."""
    active = environment.edge.active_version()
    yield from active.conflicts()
    if active.fit:
        yield from _shortened(environment, active)
        yield from _promises(environment)
        yield from _at_work(environment, active, cluster, claims=False)


def _start_over(act: Callable[[], tuple[Policy, tuple[Finding, ...]]]) -> tuple[Policy, tuple[Finding, ...]]:
    """Act, and start over if the active version has changed meanwhile: each finding may have changed with it."""
    for _ in range(ATTEMPTS - 1):
        try:
            return act()
        except ActiveChanged:
            continue
    return act()


def _refuse(findings: Sequence[Finding], accept: Collection[str]) -> None:
    refused = [each for each in findings if each.bad and not (each.name in accept and each.name in ACCEPTABLE)]
    if refused:
        raise NotDone(findings, refused)


def _promises(environment: EdgeSide) -> Iterator[Finding]:
    """Ask for the pages that the environment's file names. The policy may shorten the stale-if-error that their origin
    gives them."""
    edge, settings = environment.edge, environment.settings
    pages = readiness.urls(settings) or (settings.edge.url,)
    for url in readiness.spread(pages, SAMPLES):
        try:
            answer = ask(url, headers=edge.asking, timeout=TIMEOUT)
        except OriginsUnhealthy as exc:
            text = f"the stale-if-error that {url} has now is unknown: {exc.message}"
            yield Finding("not-sampled", "note", text, "", url)
            continue
        if found := edge.shortened(url, answer.headers):
            yield found


def _at_work(
    environment: EdgeSide, active: ActiveVersion, cluster: Cluster | None, *, claims: bool
) -> Iterator[Finding]:
    """A deploy under way, found in the servers' record or by its claim at the edge; and support's claims that would be
    lost (with `claims`: all of them).

    Claims are read where the installed policy looks for them, and end by the edge's clock.
    """
    if cluster is not None:
        yield from _on_the_servers(environment.name, cluster)
    wanted = environment.settings.edge
    was = active.granted()
    if was.dictionary is None:
        return
    now = edge_clock(environment.edge)()
    items = environment.edge.items(was.dictionary)
    for claim in live(parse_all(items), now=now, ceiling=was.ceiling):
        text = f"the claim in {claim.slot} is in force for another {duration(claim.until - int(now))}"
        lost = was.dictionary != wanted.dictionary or claim.grace > wanted.ceiling
        lost = lost or not live([claim], now=now, ceiling=wanted.ceiling)
        if claim.slot in DEPLOY_SLOTS:
            yield Finding("deploy-under-way", "critical", f"a deploy is under way: {text}", _WAIT)
        elif claims or lost:
            yield Finding("claims-in-force", "critical", text, "Wait until it ends, or `edgeguard grace release` it.")


def _shortened(environment: EdgeSide, active: ActiveVersion) -> Iterator[Finding]:
    """The finding that the installed policy grants more than the policy of these settings would."""
    wanted, was = environment.settings.edge, active.granted()
    if was.base > wanted.base_grace or was.ceiling > wanted.ceiling:
        base, own_base = apart(was.base, wanted.base_grace)
        ceiling, own_ceiling = apart(was.ceiling, wanted.ceiling)
        yield Finding(
            "shortens",
            "critical",
            f"the policy in the service has a base grace of {base} and a ceiling of {ceiling}; these "
            f"settings have {own_base} and {own_ceiling}",
            "Raise edge.base_grace and edge.ceiling, if that was not meant.",
        )


def _on_the_servers(name: str, cluster: Cluster) -> Iterator[Finding]:
    try:
        record = SharedRecord(cluster, name).look()
    except ClusterError as exc:
        text, remedy = f"the servers can't tell whether a deploy is under way: {exc.message}", "Bring the server back."
        yield Finding("deploy-under-way", "warning", text, remedy)
        return
    if lock := record.lock:
        text, remedy = f"{lock.deploy} holds the lock: {lock.holder}, since {lock.since}", _WAIT
    elif unfinished := record.deploy:
        text = f"the deploy {unfinished.id} is unfinished"
        remedy = f"edgeguard resume {name} finishes it, edgeguard rollback {name}{unfinished.back} undoes it."
    elif closure := record.closure:
        text = f"{closure.who} closed the cluster by hand: {closure.why}"
        remedy = f"edgeguard cluster open {name} opens it."
    else:
        return
    yield Finding("deploy-under-way", "critical", text, remedy)


def _signed(reason: str) -> str:
    return f"{reason} ({this_holder()})"
