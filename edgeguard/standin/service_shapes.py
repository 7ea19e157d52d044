"""A service as the API shows it: by its id, in a list, by a search, and with all that its version holds.

Which keys each of these answers has comes from recordings (github.com/fastly/go-fastly, fastly/fixtures/services). The
newer ones, from 2025, have `environments`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.standin.objects import KINDS, Json

if TYPE_CHECKING:
    from edgeguard.standin.service import Service
    from edgeguard.standin.version import Version

NOTHING = ("acls", "directors", "gzips", "response_objects", "wordpress")
"""The kinds of objects that a version never has here."""
OF_COMPUTE = ("backends", "domains", "healthchecks")
"""The kinds of objects in the details of a Compute service."""


def by_id(service: Service) -> Json:
    """The answer to getting, making and changing it."""
    return {**listed(service), "publish_key": ""}


def listed(service: Service) -> Json:
    """A row of the list of services, without the row's `version`."""
    return {**found(service), "paused": False}


def found(service: Service) -> Json:
    """The answer to a search by name."""
    active = service.active
    return {
        "id": service.id,
        "name": service.name,
        "comment": service.comment,
        "type": service.type,
        "customer_id": service.customer_id,
        "created_at": service.created_at,
        "updated_at": service.created_at,
        "deleted_at": None,
        "environments": active.environments(service.id) if active else [],
        "versions": [version.json(service.id) for version in service.versions.values()],
    }


def details(service: Service, *, active_only: bool, number: int | None = None) -> Json:
    """The service with the content of its active version, and of version `number`: by default the active one again, or
    the latest where none is active. Raises Problem (404)."""
    active = service.active
    versions = [version for version in service.versions.values() if version.active or not active_only]
    return {
        **found(service),
        "versions": [version.json(service.id) for version in versions],
        "active_version": _whole(service, active) if active else None,
        "version": _whole(service, service.version(number) if number else active or service.latest),
    }


def _whole(service: Service, version: Version) -> Json:
    objects: Json = {plural: [] for plural in NOTHING}
    objects |= {kind.plural: service.objects_json(version.number, name) for name, kind in KINDS.items()}
    if service.type == "wasm":
        return {**version.json(service.id), **{plural: objects[plural] for plural in OF_COMPUTE}}
    return {
        **version.json(service.id),
        **objects,
        "dictionaries": [service.dictionary_json(version.number, name) for name in version.dictionaries],
        "settings": dict(version.settings),
        "snippets": [row.json(service.id, version.number) for row in version.snippets.values()],
    }
