"""What servers need before a deploy, for drivers that can tell: `cluster prepare`, and what preflight looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.errors import Locked, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeguard.cluster import Cluster, Generation


def prepare(cluster: Cluster, environment: str, *, dry_run: bool) -> Mapping[str, Sequence[str]]:
    """What was done on each server, or (`dry_run`) would be done, a sentence each.

    Raises:
        UsageError: the driver's servers need nothing of the kind.
    """
    done: Mapping[str, Sequence[str]] = _able(cluster, environment).prepare(dry_run=dry_run)
    return done


def unprepare(cluster: Cluster, environment: str) -> Mapping[str, Sequence[str]]:
    """What was taken away on each server, a sentence each.

    Raises:
        UsageError: the driver's servers need nothing of the kind.
        Locked: a deploy is under way.
    """
    able = _able(cluster, environment)
    for server, record in cluster.read_record().items():
        if (record or {}).get("lock"):
            raise Locked(
                f"a deploy is under way or unfinished, as {server} tells",
                f"See `edgeguard status {environment}`; finish it, or undo it.",
            )
    done: Mapping[str, Sequence[str]] = able.unprepare()
    return done


def drift(cluster: Cluster, environment: str) -> list[str]:
    """A sentence for each server that is not as `cluster prepare` leaves it; none where the driver prepares nothing.

    Raises:
        ClusterError: a server can't be asked.
    """
    look: Callable[[], Mapping[str, Sequence[str]]] | None = getattr(cluster, "drift", None)
    found = {} if look is None else look()
    return [
        f"{server} is not as `edgeguard cluster prepare {environment}` leaves it; that would {'; '.join(sentences)}"
        for server, sentences in found.items()
        if sentences
    ]


def unready(cluster: Cluster, generation: Generation) -> list[str]:
    """A sentence for each thing that keeps servers from taking this generation: no room for its image, no such user,
    nothing prepared, a socket that the driver can't serve. None where the driver can't tell before it stages.

    Raises:
        ClusterError: a server can't be asked, or the image here is not as it was built.
    """
    look: Callable[[Generation], Mapping[str, Sequence[str]]] | None = getattr(cluster, "unready", None)
    found = {} if look is None else look(generation)
    servers: dict[str, list[str]] = {}
    for server, sentences in found.items():
        for sentence in sentences:
            servers.setdefault(sentence, []).append(server)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in servers.items()]


def _able(cluster: Cluster, environment: str) -> Any:  # noqa: ANN401 (the two methods are beyond the Protocol)
    if not hasattr(cluster, "prepare"):
        raise UsageError(
            f"the servers of {environment} need no preparing: its driver does without",
            "Deploy; `cluster prepare` is for the driver ssh.",
        )
    return cluster
