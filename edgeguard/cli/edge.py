"""The verbs of the policy in the service: edge install, diff, remove."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli.app import group
from edgeguard.cli.options import Name, Options, accepted, verb
from edgeguard.cli.output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgeguard.cluster import Cluster
    from edgeguard.edge import Policy
    from edgeguard.environment import EdgeSide
    from edgeguard.findings import Finding

edge = group("edge", "The policy in the Fastly service.")

Accept = Annotated[
    list[str] | None, typer.Option("--accept", help="Go on although this is found, by its name; repeatable.")
]


@verb(edge, 'edgeguard edge install production --reason "first time"')
def install(
    name: Name,
    options: Options,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the version's comment.")] = "edge install",
    accept: Accept = None,
) -> None:
    """Put the policy into the service: a new version from the active one, validated, shown and activated."""
    from edgeguard.doctor import installation

    environment, cluster = _open(name, options, accept)
    with _refusals_as_json(name, options):
        done, findings = installation.install(
            environment, cluster, reason=reason, accept=accept or (), show=lambda before: _shown(before, options)
        )
    _done(environment, done, findings, options, otherwise="the policy is installed already")


@verb(edge, "edgeguard edge diff production")
def diff(name: Name, options: Options) -> None:
    """Show what `edge install` would change. Exit code 4 where there is any difference, 0 where there is none."""
    from edgeguard.errors import Refused

    environment, _ = _open(name, options)
    found = environment.edge.policy()
    if options.as_json:
        print_json(_content(environment, found) | {"differences": list(found.differences)})
    elif found.diff:
        print_text(found.diff)
    if found.differences:
        raise Refused(
            f"the service is not as {name} has it: {', '.join(found.differences)}",
            f"To make it so: edgeguard edge install {name}",
        )


@verb(edge, 'edgeguard edge remove production --reason "the site moves"')
def remove(
    name: Name,
    options: Options,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the version's comment.")] = "edge remove",
    dictionary: Annotated[
        bool, typer.Option("--dictionary", help="Also the dictionary: every claim and the audit lines are lost.")
    ] = False,
    accept: Accept = None,
) -> None:
    """Take the policy out of the service, the same way. Its dictionary stays, unless you ask; other VCL always does."""
    from edgeguard.doctor import installation

    environment, cluster = _open(name, options, accept)
    with _refusals_as_json(name, options):
        done, findings = installation.remove(
            environment, cluster, reason=reason, dictionary=dictionary, accept=accept or ()
        )
    _shown(done, options)
    _done(environment, done, findings, options, otherwise="there is nothing of the policy to remove")
    if environment.edge.left_by_remove and not (options.as_json or options.quiet):
        print_text(environment.edge.left_by_remove, err=True)


def _open(name: str, options: Options, accept: list[str] | None = None) -> tuple[EdgeSide, Cluster | None]:
    """The environment, and its cluster if its file has one. A name of --accept that means nothing is refused first."""
    from edgeguard.doctor.installation import ACCEPTABLE

    accepted(accept, ACCEPTABLE)
    return options.as_far_as_it_goes(name)


def _shown(policy: Policy, options: Options) -> None:
    """The diff of a change, for people."""
    if policy.diff and not (options.as_json or options.quiet):
        print_text(policy.diff)


@contextmanager
def _refusals_as_json(name: str, options: Options) -> Iterator[None]:
    """A change that was not made has a result too: the findings that stand against it."""
    from edgeguard.doctor.installation import NotDone

    try:
        yield
    except NotDone as exc:
        if options.as_json:
            found = [asdict(each) for each in exc.findings]
            print_json({"environment": name, "changed": False, "error": exc.message, "findings": found})
        raise


def _done(
    environment: EdgeSide, policy: Policy, findings: Iterable[Finding], options: Options, *, otherwise: str
) -> None:
    """The version that is active now. `otherwise` says why nothing was written."""
    from edgeguard.cli.say.edge import active

    found, content = [asdict(each) for each in findings], _content(environment, policy)
    content |= {"changed": bool(policy.diff), "notes": list(policy.notes), "findings": found}
    if not options.as_json:
        for text in (*(f"{each['name']}: {each['text']}" for each in found), *policy.notes):
            options.warn(text)
    options.done(content, active(content, environment.edge.in_words(policy), otherwise))


def _content(environment: EdgeSide, policy: Policy) -> dict[str, Any]:
    return {
        "environment": environment.name,
        "service": environment.settings.edge.service,
        "mechanism": environment.settings.edge.mechanism,
        "version": policy.version,
        "revision": policy.revision,
        "diff": policy.diff,
    }
