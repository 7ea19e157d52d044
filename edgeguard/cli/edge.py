"""The verbs of the policy in the service: edge install, diff, remove."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli import app
from edgeguard.cli.options import Config, Json, Name, Quiet, State, Verbose, Version, accepted
from edgeguard.cli.output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgeguard.cluster import Cluster
    from edgeguard.doctor.installation import NotDone
    from edgeguard.edge import Policy
    from edgeguard.environment import EdgeSide
    from edgeguard.findings import Finding

edge = typer.Typer(help="The policy in the Fastly service.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(edge, name="edge")

Accept = Annotated[
    list[str] | None, typer.Option("--accept", help="Go on although this is found, by its name; repeatable.")
]


@edge.command(epilog='Example: edgeguard edge install production --reason "first time"')
def install(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the version's comment.")] = "edge install",
    accept: Accept = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Put the policy into the service: a new version from the active one, validated, shown and activated."""
    from edgeguard.doctor import installation

    environment, cluster = _open(name, config, state, accept)
    try:
        done, findings = installation.install(
            environment,
            cluster,
            reason=reason,
            accept=accept or (),
            show=lambda before: None if as_json or quiet else print_text(before.diff),
        )
    except installation.NotDone as exc:
        _not_done(environment, exc, as_json=as_json)
        raise
    _done(environment, done, findings, as_json=as_json, otherwise="the policy is installed already")


@edge.command(epilog="Example: edgeguard edge diff production")
def diff(
    name: Name,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """What `edge install` would change. Exit code 4 where there is any difference, 0 where there is none."""
    from edgeguard.errors import Refused

    environment, _ = _open(name, config, state)
    found = environment.edge.policy()
    if as_json:
        print_json(_content(environment, found) | {"differences": list(found.differences)})
    elif found.diff and not quiet:
        print_text(found.diff)
    if found.differences:
        raise Refused(
            f"the service is not as {name} has it: {', '.join(found.differences)}",
            f"To make it so: edgeguard edge install {name}",
        )


@edge.command(epilog='Example: edgeguard edge remove production --reason "the site moves"')
def remove(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the version's comment.")] = "edge remove",
    dictionary: Annotated[
        bool, typer.Option("--dictionary", help="Also the dictionary: every claim and the audit lines are lost.")
    ] = False,
    accept: Accept = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Take the policy out of the service, the same way. Its dictionary stays, unless you ask; other VCL always does."""
    from edgeguard.doctor import installation

    environment, cluster = _open(name, config, state, accept)
    try:
        done, findings = installation.remove(
            environment, cluster, reason=reason, dictionary=dictionary, accept=accept or ()
        )
    except installation.NotDone as exc:
        _not_done(environment, exc, as_json=as_json)
        raise
    if done.diff and not (as_json or quiet):
        print_text(done.diff)
    _done(environment, done, findings, as_json=as_json, otherwise="there is nothing of the policy to remove")
    if environment.edge.left_by_remove and not as_json:
        print_text(environment.edge.left_by_remove, err=True)


def _open(
    name: str, config: Path | None, state: Path | None, accept: list[str] | None = None
) -> tuple[EdgeSide, Cluster | None]:
    """The environment, and its cluster if its file has one."""
    from edgeguard.doctor.installation import ACCEPTABLE
    from edgeguard.environment import as_far_as_it_goes

    accepted(accept, ACCEPTABLE)
    return as_far_as_it_goes(name, config=config, state=state)


def _content(environment: EdgeSide, policy: Policy) -> dict[str, Any]:
    return {
        "environment": environment.name,
        "service": environment.settings.edge.service,
        "mechanism": environment.settings.edge.mechanism,
        "version": policy.version,
        "revision": policy.revision,
        "diff": policy.diff,
    }


def _not_done(environment: EdgeSide, refusal: NotDone, *, as_json: bool) -> None:
    if as_json:
        found = [asdict(each) for each in refusal.findings]
        print_json({"environment": environment.name, "changed": False, "error": refusal.message, "findings": found})


def _done(environment: EdgeSide, policy: Policy, findings: Iterable[Finding], *, as_json: bool, otherwise: str) -> None:
    changed = bool(policy.diff)
    if as_json:
        found, notes = [asdict(each) for each in findings], list(policy.notes)
        print_json(_content(environment, policy) | {"changed": changed, "notes": notes, "findings": found})
        return
    for text in (*(f"{each.name}: {each.text}" for each in findings), *policy.notes):
        print_text(f"  ! {text}", err=True)
    said = (
        f"is active, with {environment.edge.in_words(policy)}"
        if changed
        else f"is active: {otherwise}; nothing was written"
    )
    print_text(f"version {policy.version} of {environment.settings.edge.service} {said}")
