"""Fastly's routes, over the service, the edge's caches and its dictionaries: the account, purges, and who answers what.

Those of versions and of dictionaries are functions in files of their own.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edgeguard.standin import dictionary_routes, version_routes  # noqa: F401 - they add their routes
from edgeguard.standin.cache import KEY_BYTES
from edgeguard.standin.problems import Problem, missing
from edgeguard.standin.routing import OK, ROUTES, Call, Reply, route

if TYPE_CHECKING:
    from edgeguard.standin.control import Controls
    from edgeguard.standin.network import Network
    from edgeguard.standin.service import Service

PURGE_LIMIT = 256
"""Surrogate keys in one call (Fastly: reference/api/purging)."""


class Routes:
    """Does what is asked. Whether the caller may ask is `api`'s to say."""

    def __init__(self, service: Service, network: Network, controls: Controls) -> None:
        self.service = service
        self.network = network
        self.controls = controls
        self._sequence = 11_000

    def dispatch(self, call: Call) -> Reply:
        """Raises Problem, also for what there is no route for (404)."""
        for method, pattern, function in ROUTES:
            if method == call.received.method and (found := pattern.fullmatch(call.path)):
                arguments = {name: unquote(value) for name, value in found.groupdict().items()}
                if arguments.pop("service", self.service.id) != self.service.id:
                    raise Problem(404, "Record not found", "Cannot load service")
                return function(self, call, **arguments)
        raise Problem(404, "Not found")

    def _purge_id(self) -> str:
        """As cache nodes make them: node, time, sequence."""
        self._sequence += 1
        return f"4151-{int(time.time())}-{self._sequence}"

    def load(self) -> None:
        """Have the edge run the active version, if there is one. Raises VclError."""
        active = self.service.active
        if active is None:
            self.network.unload()
        else:
            self.network.load(self.service.compile(active.number), active.number, active.dictionaries)

    # -- the account, the service --------------------------------------------------------------------------------

    @route("GET", "/tokens/self")
    def _token_self(self, call: Call) -> Reply:
        return Reply(call.token.shown(self.service.customer_id))

    @route("GET", "/service")
    def _services(self, _: Call) -> Reply:
        active = self.service.active
        return Reply([{**self.service.json(), "version": active.number if active else max(self.service.versions)}])

    @route("GET", "/service/search")
    def _search(self, call: Call) -> Reply:
        if call.query.get("name") != self.service.name:
            raise missing("Service", {"name": call.query.get("name", "")})
        return Reply(self.service.json())

    @route("GET", "/service/{service}")
    def _service(self, _: Call) -> Reply:
        return Reply(self.service.json())

    @route("GET", "/service/{service}/details")
    def _details(self, call: Call) -> Reply:
        only = call.query.get("filter[versions.active]", "").lower() in {"1", "true"}
        return Reply(self.service.details_json(active_only=only))

    # -- purges --------------------------------------------------------------------------------------------------

    @route("POST", "/service/{service}/purge_all")
    def _purge_all(self, _: Call) -> Reply:
        self.network.purge_all()
        return OK

    @route("POST", "/service/{service}/purge")
    def _purge_keys(self, call: Call) -> Reply:
        keys = (call.received.header("surrogate-key") or "").split()
        if not keys:
            content = call.json()
            listed = content.get("surrogate_keys") if isinstance(content, dict) else None
            keys = [str(key) for key in listed] if isinstance(listed, list) else []
        if not keys:
            raise Problem(400, "Bad request", "No surrogate keys were given")
        if len(keys) > PURGE_LIMIT:
            raise Problem(400, "Bad request", f"At most {PURGE_LIMIT} surrogate keys a call, not {len(keys)}")
        ids = self._purge(call, keys)
        count = ("Fastly-Surrogate-Key-Count", str(len(keys)))
        return Reply(ids, limited=False, headers=[("Fastly-Instant-Rate", "0"), count])

    @route("POST", "/service/{service}/purge/{key}")
    def _purge_key(self, call: Call, key: str) -> Reply:
        return Reply({"status": "ok", "id": self._purge(call, [key])[key]}, limited=False)

    @route("POST", "/purge/.+")
    def _purge_url(self, call: Call) -> Reply:
        """With or without a scheme, as clients differ. Compared as it came: a cache knows pages by what was asked."""
        call.entry.soft = call.soft
        bare = re.sub(r"^https?:/{1,2}", "", call.path.removeprefix("/purge/"))
        self.network.purge_url(bare if "/" in bare else f"{bare}/", soft=call.soft)
        return Reply({"status": "ok", "id": self._purge_id()}, limited=False)

    def _purge(self, call: Call, keys: list[str]) -> dict[str, str]:
        call.entry.keys, call.entry.soft = keys, call.soft
        if any(len(key.encode()) > KEY_BYTES for key in keys):
            raise Problem(400, "Bad request", f"A surrogate key has at most {KEY_BYTES} bytes")
        self.network.purge_keys(keys, soft=call.soft)
        return {key: self._purge_id() for key in keys}
