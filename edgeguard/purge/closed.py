"""No purge while the cluster is closed: the copies at the edge serve visitors then, and a purge would remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge import marks
from edgeguard.edge.claim import DEPLOY_SLOTS, live, parse_all
from edgeguard.errors import EdgeUnavailable, Locked, OriginsUnhealthy, Refused
from edgeguard.site import front_door

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edgeguard.cluster import Cluster
    from edgeguard.edge import Edge
    from edgeguard.settings import EdgeSettings

ACCEPTABLE = ("deploy-claim", "origins-sick")
"""The signs of a closure that a person may accept where no cluster can be asked."""


class OpenCheck:
    """Checks, before every call of a purge by hand, that the cluster is open.

    A deploy needs no such check: it purges after it has opened the cluster.
    """

    def __init__(
        self,
        edge: Edge,
        settings: EdgeSettings,
        cluster: Cluster | None,
        *,
        under_way: Callable[[], bool] = lambda: False,
        accept: Collection[str] = (),
    ) -> None:
        """`under_way` tells whether a deploy is under way. Only a hard purge asks: soon only the copies will serve."""
        self._edge = edge
        self._settings = settings
        self._cluster = cluster
        self._under_way = under_way
        self._accept = accept

    def check(self) -> None:
        """Return if a purge may go on.

        Raises:
            Locked: the cluster is closed. No option overrides that.
            Refused: without a cluster to ask, there are signs that the origin is closed or about to be.
            ClusterError: the servers can't be asked.
        """
        if self._cluster is not None:
            if closed := [server.name for server in self._cluster.state() if not server.open]:
                raise Locked(f"{', '.join(closed)}: closed", _WAIT)
            if self._under_way():
                raise Locked("a deploy is under way, and a hard purge would take away what serves then", _WAIT)
            return
        signs = [*self._origin(), *self._claims()]
        refused = [(name, text) for name, text in signs if name not in self._accept]
        if refused:
            raise Refused(
                "; ".join(text for _, text in refused),
                "If it is open all the same: " + " ".join(f"--accept {name}" for name, _ in refused),
            )

    def _origin(self) -> list[tuple[str, str]]:
        """The sign that the origin is not healthy, if it is not. Raises Locked if a closed gate answers."""
        try:
            answer = front_door.look(self._settings)
            if closure := marks.closed(answer.headers):
                raise Locked(f"the cluster is closed ({closure})", _WAIT)
            front_door.judge(self._settings, answer)
        except OriginsUnhealthy as exc:
            return [("origins-sick", exc.message)]
        return []

    def _claims(self) -> list[tuple[str, str]]:
        """The sign that a deploy's claim is in force, if one is.

        The edge is asked: a deploy closes nothing before the edge shows its claim, and asking takes no token. Where no
        policy answers, there is no claim either.
        """
        try:
            shown = self._edge.status()
        except EdgeUnavailable:
            return []
        claims = live(parse_all(shown.slots), now=shown.now, ceiling=self._settings.ceiling)
        alive = [claim.slot for claim in claims if claim.slot in DEPLOY_SLOTS]
        return [("deploy-claim", f"a deploy is under way: its claim ({slot}) is in force") for slot in alive[:1]]


_WAIT = "Wait until it is open again; `edgeguard status` names who closed it. Purging now would take away what serves."
