"""The classes that implement Edge, by their names in `edge.mechanism`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.fastly.by_settings import BySettings
from edgeguard.edge.fastly.by_vcl import ByVcl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.edge import Ask, Edge
    from edgeguard.settings import EdgeSettings, Mechanism

MECHANISMS: Mapping[Mechanism, Callable[[EdgeSettings, str | None, Ask], Edge]] = {
    "vcl": ByVcl,
    "settings": BySettings,
}
"""Each takes the settings, the token (None: the edge is only a VisibleEdge) and a function that asks a URL."""
