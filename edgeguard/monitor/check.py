"""The whole health check: look at an environment as its visitors see it, and judge the answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgeguard.environment import sign_in, visible_edge
from edgeguard.monitor.judge import judge
from edgeguard.monitor.look import BYTES, look
from edgeguard.site.light import ask

if TYPE_CHECKING:
    from edgeguard.monitor import Health, Limits
    from edgeguard.settings import EdgeOnlySettings


def check(environment: str, settings: EdgeOnlySettings, limits: Limits, *, of_file: bool = True) -> Health:
    """Ask and judge, within about `limits.timeout` seconds. It needs no token.

    `of_file`: the settings are of a file, so the policy at the edge should be the one that they ask for.
    """
    sign_in(settings)
    edge = visible_edge(settings.edge, partial(ask, at_most=BYTES))
    return judge(environment, settings, edge, look(settings, edge, timeout=limits.timeout), limits, of_file=of_file)
