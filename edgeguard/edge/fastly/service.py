"""A Fastly service through Fastly's API: the part of the edge that needs a token."""

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
    """A service, through the API. Threads may share it; it makes one call at a time."""

    def __init__(self, settings: EdgeSettings, api: Api) -> None:
        self._api = api
        self.versions = Versions(settings, api)
        self.dictionary = Dictionary(settings, api, self.versions)
        self.purges = Purges(settings.service, api)

    def token(self) -> Mapping[str, Any] | None:
        """The API's answer about the token (scopes, services, end); None if the token may not ask.

        Fastly does not document which kinds of tokens may ask about themselves, so a refusal is not an error.
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
