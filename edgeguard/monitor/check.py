"""The whole check: look at the environment as visitors meet it, and judge what was seen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgeguard.environment import visible_edge
from edgeguard.monitor.ask import ask
from edgeguard.monitor.judge import judge
from edgeguard.monitor.look import BYTES, look

if TYPE_CHECKING:
    from edgeguard.monitor import Health, Limits
    from edgeguard.settings import EdgeOnlySettings


def check(environment: str, settings: EdgeOnlySettings, limits: Limits) -> Health:
    """Ask and judge, within about `limits.timeout` seconds. It needs no token."""
    edge = visible_edge(settings.edge, partial(ask, at_most=BYTES))
    return judge(environment, settings, edge, look(settings, edge, timeout=limits.timeout), limits)
