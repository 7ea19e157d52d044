"""The account that the API's routes act on: its services, the edge that serves one of them, tokens, and controls."""

from __future__ import annotations

import copy
import itertools
import time
from typing import TYPE_CHECKING, Self

from edgeguard.standin.problems import Problem

if TYPE_CHECKING:
    from edgeguard.standin.controls import Controls
    from edgeguard.standin.network import Network
    from edgeguard.standin.service import Service
    from edgeguard.standin.tokens import Tokens


class Account:
    """The state that the API and the plants share. It checks no token: `api` does that."""

    def __init__(self, service: Service, network: Network, tokens: Tokens, controls: Controls) -> None:
        """`service` is the one that the edge serves."""
        self.service = service
        """The service that a call names; without a call the one that the edge serves."""
        self.services = {service.id: service}
        self.network = network
        self.tokens = tokens
        self.controls = controls
        self._served = service.id
        self.deleted: set[str] = set()
        """The ids of services that are gone."""
        self._purges = itertools.count(11_001)

    def at(self, service_id: str) -> Self:
        """This account, with `service` being that service. Raises Problem (404)."""
        if service_id not in self.services:
            raise Problem(404, "Record not found", "Cannot load service")
        named = copy.copy(self)
        named.service = self.services[service_id]
        return named

    @property
    def customer_id(self) -> str:
        """The id of the customer, whose account this is."""
        return self.service.customer_id

    @property
    def served(self) -> bool:
        """Whether the edge serves `service`. The other services are only in the API."""
        return self.service.id == self._served

    def load(self) -> None:
        """Have the edge run the active version, or nothing where no version is active. Raises VclError."""
        active = self.service.active
        if not self.served:
            return
        if active is None:
            self.network.unload()
        else:
            self.network.load(self.service.compile(active.number), active.number, active.dictionaries)

    def add(self, service: Service, maker: str) -> None:
        """Add a service. The token with the secret `maker` is for it, too (what Fastly does there was not recorded)."""
        self.services[service.id] = service
        self.tokens.extend(maker, service.id)

    def delete(self, service_id: str) -> None:
        """Delete a service; harmless twice, as recorded. Raises Problem: 404, and 400 where a version is active."""
        if service_id in self.deleted:
            return
        if self.at(service_id).service.active is not None:  # github.com/fastly/terraform-provider-fastly/issues/51
            raise Problem(400, "Bad request", "Cannot delete service with active version")
        del self.services[service_id]
        self.deleted.add(service_id)

    def new_purge_id(self) -> str:
        """An id in the form that Fastly's cache nodes give to a purge: node, time, sequence."""
        return f"4151-{int(time.time())}-{next(self._purges)}"

    def has_host(self, host: str) -> bool:
        """Whether a host is a domain of an active version; a port counts only where the domain has one, too."""
        active = [service.active for service in self.services.values()]
        domains = {name.lower() for version in active if version for name in version.objects["domain"]}
        name = host.lower().partition(":")[0]
        above = {f"*.{name[at + 1 :]}" for at, letter in enumerate(name) if letter == "."}
        return not domains.isdisjoint({host.lower(), name} | above)
