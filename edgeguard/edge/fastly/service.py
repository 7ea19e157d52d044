"""A Fastly service through Fastly's API: the part of an edge that needs a token, and takes a while to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.edge.fastly.dictionary import Dictionary
from edgeguard.edge.fastly.purges import Purges
from edgeguard.edge.fastly.versions import Versions
from edgeguard.errors import EdgeUnauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.edge.fastly.api import Api
    from edgeguard.settings import EdgeSettings


class Service:
    """May be used from several threads; one call is made at a time."""

    def __init__(self, settings: EdgeSettings, api: Api) -> None:
        self._api = api
        self.versions = Versions(settings, api)
        self.dictionary = Dictionary(settings, api, self.versions)
        self.purges = Purges(settings.service, api)

    def token(self) -> Mapping[str, Any] | None:
        """What the token says of itself (scopes, services, end); None where it may not ask.

        Which kinds of tokens may ask about themselves is not documented, so a refusal is no error.
        """
        try:
            found: dict[str, Any] = self._api.call(
                "tokens.get_token_current", "read the token's scopes", {}, repeat=True
            )
        except EdgeUnauthorized:
            return None
        return found

    def shielded(self) -> bool | None:
        """As in Edge."""
        try:
            return self.versions.shielded()
        except EdgeUnauthorized:  # a token for purges alone
            return None
