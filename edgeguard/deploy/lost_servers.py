"""Going on without a lost server: only if a person says so, and only if the lost server can do no harm meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeguard.cluster.lock import SharedRecord
from edgeguard.cluster.record import Phase
from edgeguard.errors import Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeguard.cluster import Cluster
    from edgeguard.cluster.record import Record
    from edgeguard.environment import Environment


def as_it_is(environment: Environment, *, without: Collection[str] = (), fenced: Collection[str] = ()) -> Environment:
    """The environment without the servers that its record leaves out, and `without` those that a person says are lost.

    `fenced` are the lost servers of which the person says that nobody can reach them and that nothing runs there.

    Raises:
        UsageError: a name is no server's, or no server would be left.
        Refused: a lost server is not fenced, and its own gate, or a hook that may still run there, could do harm.
        ClusterError: another server can't be read.
    """
    found = _judged(environment, without, fenced)
    return replace(environment, cluster=environment.cluster.without({*found.left_out, *without}))


def whole(environment: Environment, *, without: Collection[str] = (), fenced: Collection[str] = ()) -> Environment:
    """The environment with all servers except `without`, those that a person says are lost.

    The servers that its record leaves out are there, so that a deploy brings them back.

    Raises:
        UsageError, Refused: as in `as_it_is`.
        ClusterError: a server that is not in `without` can't be read.
    """
    if without or fenced:
        _judged(environment, without, fenced)
    return replace(environment, cluster=environment.cluster.without(without))


def _judged(environment: Environment, without: Collection[str], fenced: Collection[str]) -> Record:
    """The record. Raises if it is not safe to go on without these servers."""
    cluster = environment.cluster
    _refuse_nonsense(cluster, without, fenced)
    found = SharedRecord(cluster.without(without), environment.name).look()
    refused = [] if cluster.one_gate else sorted(set(without) - set(fenced))
    if refused:
        raise Refused(
            f"{', '.join(refused)}: no gate stands in front; its own may still let visitors through to what it runs",
            _fence(refused),
        )
    deploy = found.deploy
    while deploy:  # and then the deploys that it supersedes: their hooks may run, too
        hook = deploy.hook
        if deploy.phase is Phase.HOOK and hook is not None and hook.server in set(without) - set(fenced):
            text = f"{hook.server}: the deploy hook of {deploy.id} was started there, and may still run"
            raise Refused(text, _fence([hook.server]))
        deploy = deploy.superseded
    return found


def _refuse_nonsense(cluster: Cluster, without: Collection[str], fenced: Collection[str]) -> None:
    for option, names in (("--without", without), ("--i-have-fenced", fenced)):
        if unknown := sorted(set(names) - {*cluster.servers, *cluster.left_out}):
            raise UsageError(
                f"{option} {unknown[0]}: no server has this name", f"The servers are {', '.join(cluster.servers)}."
            )
    if alone := sorted(set(fenced) - set(without)):
        raise UsageError(f"--i-have-fenced {alone[0]} says nothing alone", f"Add --without {alone[0]}.")
    if not set(cluster.servers) - set(without):
        raise UsageError("--without every server leaves none to open", "At least one has to be there.")


def _fence(servers: list[str]) -> str:
    options = " ".join(f"--i-have-fenced {server}" for server in servers)
    return f"Switch it off, or cut it off from its visitors and its databases; then say so: {options}"
