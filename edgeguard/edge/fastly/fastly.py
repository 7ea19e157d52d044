"""The part of Fastly as an edge that both mechanisms share: headers, the status request, the service, purges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from edgeguard.edge.fastly import headers as fastly_headers
from edgeguard.edge.fastly import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeguard.edge import Ask, Copy, Freshness, Policy, Purged, Status
    from edgeguard.edge.fastly.api import Api
    from edgeguard.edge.fastly.service import Service
    from edgeguard.edge.fastly.wanted import Wanted
    from edgeguard.findings import Finding
    from edgeguard.settings import ClaimSettings, EdgeSettings


class Fastly(ABC):
    """The base of the classes that implement Edge (edgeguard/edge/__init__.py). May be used from several threads."""

    def __init__(self, settings: EdgeSettings, token: str | None, ask: Ask, *, api: Api | None = None) -> None:
        """Without a token, only the methods of VisibleEdge may be called. `api` replaces the API of the settings.

        Raises:
            EdgeUnauthorized: the token has characters that no token has.
        """
        self._settings = settings
        self._ask = ask
        self._through_api = None if token is None else _service(settings, token, api)

    @property
    def _service(self) -> Service:
        if self._through_api is None:
            raise AssertionError("an edge without a token can only be looked at")
        return self._through_api

    @property
    @abstractmethod
    def _wanted(self) -> Wanted:
        """The state that `install` brings the service to."""

    # -- without a token -----------------------------------------------------------------------------------------

    @property
    def asking(self) -> Mapping[str, str]:
        """As in Edge."""
        return fastly_headers.asking(self._settings.status_name)

    def status(self, *, timeout: float = shown.TIMEOUT) -> Status:
        """As in Edge."""
        return shown.status(self._settings, self._ask, timeout=timeout)

    def copy(self, headers: Mapping[str, str]) -> Copy:
        """As in Edge."""
        return fastly_headers.copy(headers)

    def freshness(self, headers: Mapping[str, str]) -> Freshness:
        """As in Edge."""
        return fastly_headers.freshness(headers)

    def keeps(self, status: int) -> bool:
        """As in Edge."""
        return status in fastly_headers.KEPT

    # -- the service ---------------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """As in Edge."""
        return self._service.versions.policy(self._wanted)

    def install(self, reason: str, *, expecting: int | None = None) -> Policy:
        """As in Edge. If it fails, the draft stays behind, not activated, and the error names it."""
        self._service.dictionary.forget()
        return self._service.versions.change(self._wanted, reason, expecting=expecting)

    def remove(self, reason: str, *, dictionary: bool = False, expecting: int | None = None) -> Policy:
        """As in Edge."""
        from edgeguard.edge.fastly import wanted  # noqa: PLC0415 (with the API's side)

        self._service.dictionary.forget()
        return self._service.versions.change(wanted.removed(dictionary=dictionary), reason, expecting=expecting)

    def token_findings(self, *, now: float, lasting: float) -> tuple[Finding, ...]:
        """As in Edge."""
        from edgeguard.edge.fastly import token  # noqa: PLC0415 (with the API's side)

        return token.find(self._service.token(), service=self._settings.service, now=now, lasting=lasting)

    def shielded(self) -> bool | None:
        """As in Edge."""
        return self._service.shielded()

    # -- the dictionary ------------------------------------------------------------------------------------------

    def items(self, dictionary: str | None = None) -> Mapping[str, str]:
        """As in Edge."""
        return self._service.dictionary.items(dictionary)

    def item(self, key: str) -> str:
        """As in Edge."""
        return self._service.dictionary.item(key)

    def write(self, items: Mapping[str, str | None]) -> None:
        """As in Edge."""
        self._service.dictionary.write(items)

    # -- purges --------------------------------------------------------------------------------------------------

    def batches(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """As in Edge."""
        from edgeguard.edge.fastly import purges  # noqa: PLC0415 (with the API's side)

        return purges.batches(keys)

    def purge(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """As in Edge."""
        return self._service.purges.keys(keys, soft=soft)

    def purge_url(self, url: str, *, soft: bool = True) -> Purged:
        """As in Edge."""
        return self._service.purges.url(url, soft=soft)

    def purge_everything(self) -> Purged:
        """As in Edge."""
        return self._service.purges.everything()

    # -- in words ------------------------------------------------------------------------------------------------

    def in_words(self, policy: Policy) -> str:
        """As in Edge."""
        return f"policy {policy.revision}" if policy.revision else "no policy"

    def explain(self, phase: str, *, slot: str, claim: ClaimSettings) -> tuple[str, ...]:  # noqa: ARG002 (claims' own)
        """As in Edge, with the calls that both mechanisms share."""
        service = self._settings.service
        if phase == "preflight":
            return (f"GET the active version of {service}, and the token's scopes",)
        if phase == "purge":
            return (f"POST {self._settings.api_url}/service/{service}/purge, softly",)
        return ()


def _service(settings: EdgeSettings, token: str, api: Api | None) -> Service:
    """The service through the API. It is imported here, since a monitor starts each minute and needs no API."""
    from edgeguard.edge.fastly.api import Api  # noqa: PLC0415 (10 ms, with the next)
    from edgeguard.edge.fastly.service import Service  # noqa: PLC0415

    return Service(settings, api or Api(settings.api_url, token))
