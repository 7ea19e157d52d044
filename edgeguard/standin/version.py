"""A version of the service: its state and its content."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from edgeguard.standin.objects import KINDS, Json

SNIPPET_TYPES = ("init", "recv", "hash", "hit", "miss", "pass", "fetch", "error", "deliver", "log", "none")
DEFAULT_SETTINGS: Json = {
    "general.default_host": "",
    "general.default_ttl": 3600,
    "general.default_pci": 0,
    "general.stale_if_error": False,
    "general.stale_if_error_ttl": 43200,
}
_ALPHABET = string.ascii_letters + string.digits


def new_id() -> str:
    """A random id of 22 characters, like Fastly's."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(22))


def timestamp() -> str:
    """The time now, in the API's form."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class SnippetRow:
    """A snippet in a version. `content` is None for a dynamic snippet: the service holds that."""

    id: str
    name: str
    type: str
    content: str | None
    priority: int
    dynamic: bool
    created_at: str
    updated_at: str

    def json(self, service_id: str, number: int) -> Json:
        """The snippet as a version shows it. Numbers are strings here, unlike anywhere else."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "content": self.content,
            "priority": str(self.priority),
            "dynamic": str(int(self.dynamic)),
            "service_id": service_id,
            "version": str(number),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "deleted_at": None,
        }


@dataclass
class Version:
    """A version. Its content is kept by name; `dictionaries` maps a name to the dictionary's id."""

    number: int
    comment: str = ""
    active: bool = False
    locked: bool = False
    created_at: str = field(default_factory=timestamp)
    updated_at: str = field(default_factory=timestamp)
    settings: Json = field(default_factory=lambda: dict(DEFAULT_SETTINGS))
    snippets: dict[str, SnippetRow] = field(default_factory=dict)
    dictionaries: dict[str, str] = field(default_factory=dict)
    objects: dict[str, dict[str, Json]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    """Objects by kind, then by name."""

    def copy(self, number: int) -> Version:
        """A draft with the same content, comment and time of creation."""
        return replace(
            self,
            number=number,
            active=False,
            locked=False,
            updated_at=timestamp(),
            settings=dict(self.settings),
            snippets=dict(self.snippets),
            dictionaries=dict(self.dictionaries),
            objects={kind: dict(rows) for kind, rows in self.objects.items()},
        )

    def json(self, service_id: str) -> Json:
        """The version without its content, as the API shows it."""
        return {
            "number": self.number,
            "service_id": service_id,
            "comment": self.comment,
            "active": self.active,
            "locked": self.locked,
            "deployed": False,
            "staging": False,
            "testing": False,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "deleted_at": None,
            "environments": self.environments(service_id),
        }

    def environments(self, service_id: str) -> list[Json]:
        """The environments that run it: production where it is active, else none."""
        active = {"name": "production", "service_id": service_id, "active_version": self.number}
        return [active] if self.active else []
