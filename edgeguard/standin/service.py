"""The one service of the stand-in as its API knows it: versions, what is in them, and what no version holds.

The rules are Fastly's: a version is a draft until it is activated or locked, and can't be edited then; dictionaries
belong to a version by name, their items to none. JSON has the shapes that were recorded from the real API.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeguard.standin.dictionaries import Dictionary
from edgeguard.standin.problems import Problem, duplicate, missing
from edgeguard.standin.vcl import Snippet, VclError, compile_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.standin.vcl import Program

Json = dict[str, Any]

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
    """22 characters, as Fastly's ids."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(22))


def timestamp() -> str:
    """The API's clock, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class SnippetRow:
    """A snippet in a version. A dynamic one's content is the service's, and None here."""

    id: str
    name: str
    type: str
    content: str | None
    priority: int
    dynamic: bool
    created_at: str
    updated_at: str

    def json(self, service_id: str, number: int) -> Json:
        """Numbers are strings here, unlike anywhere else."""
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
    """A version. Its children map names to rows; a dictionary's row is its id."""

    number: int
    comment: str = ""
    active: bool = False
    locked: bool = False
    created_at: str = field(default_factory=timestamp)
    updated_at: str = field(default_factory=timestamp)
    settings: Json = field(default_factory=lambda: dict(DEFAULT_SETTINGS))
    snippets: dict[str, SnippetRow] = field(default_factory=dict)
    dictionaries: dict[str, str] = field(default_factory=dict)


class Service:
    """All state of the API, in memory."""

    def __init__(self, name: str, backend: tuple[str, int]) -> None:
        self.id = new_id()
        self.customer_id = new_id()
        self.name = name
        self.created_at = timestamp()
        self._backend = backend
        self.versions = {1: Version(1, active=True, locked=True)}
        self.dictionaries: dict[str, Dictionary] = {}
        self.dynamic_contents: dict[str, str] = {}

    # -- versions ------------------------------------------------------------------------------------------------

    @property
    def active(self) -> Version | None:
        """The version in use."""
        return next((version for version in self.versions.values() if version.active), None)

    def version(self, number: int) -> Version:
        """Raises Problem (404) where there is none."""
        if number not in self.versions:
            raise missing("Version", {"service_id": self.id, "number": number})
        return self.versions[number]

    def draft(self, number: int) -> Version:
        """A version to edit. Raises Problem: 422 where it is locked."""
        version = self.version(number)
        if version.locked or version.active:
            raise Problem(422, "Version locked", f"Version '{number}' for service '{self.id}' is locked")
        version.updated_at = timestamp()
        return version

    def create(self) -> Version:
        """An empty draft."""
        version = Version(max(self.versions) + 1)
        self.versions[version.number] = version
        return version

    def clone(self, number: int) -> Version:
        """A draft with everything of another version, its comment and time of creation included."""
        source = self.version(number)
        copy = replace(
            source,
            number=max(self.versions) + 1,
            active=False,
            locked=False,
            updated_at=timestamp(),
            settings=dict(source.settings),
            snippets=dict(source.snippets),
            dictionaries=dict(source.dictionaries),
        )
        self.versions[copy.number] = copy
        return copy

    def activate(self, number: int) -> Version:
        """Make it the one in use, and lock it. It must compile: `compile` is asked before."""
        version = self.version(number)
        for other in self.versions.values():
            other.active = other is version
        version.locked = True
        version.updated_at = timestamp()
        return version

    def deactivate(self, number: int) -> Version:
        """Leave the service without a version in use."""
        version = self.version(number)
        version.active = False
        return version

    def compile(self, number: int) -> Program:
        """Raises VclError."""
        version = self.version(number)
        snippets = [
            Snippet(
                row.name, row.type, self.dynamic_contents[row.id] if row.dynamic else row.content or "", row.priority
            )
            for row in version.snippets.values()
        ]
        return compile_service(snippets, version.dictionaries, default_ttl=version.settings["general.default_ttl"])

    def validate(self, number: int) -> Json:
        """The verdict is in the body; its HTTP status is 200 either way."""
        try:
            self.compile(number)
        except VclError as exc:
            return {"status": "error", "msg": "\n".join(exc.messages), "errors": exc.messages}
        return {"status": "ok", "msg": None, "errors": []}

    # -- what is in a version ------------------------------------------------------------------------------------

    def add_snippet(self, number: int, form: Mapping[str, str]) -> SnippetRow:
        """Raises Problem: 400 for a type or name that can't be, 409 for a name that is taken."""
        version = self.draft(number)
        name, kind = form.get("name", ""), form.get("type", "")
        if not name or kind not in SNIPPET_TYPES:
            raise Problem(400, "Bad request", "Name can't be blank" if not name else f"Type '{kind}' is not valid")
        if name in version.snippets:
            raise duplicate("snippet", name)
        now = timestamp()
        dynamic = form.get("dynamic", "0") not in {"", "0", "false", "False"}
        content = form.get("content", "")
        row = SnippetRow(
            new_id(),
            name,
            kind,
            None if dynamic else content,
            _integer(form.get("priority", "100")),
            dynamic,
            now,
            now,
        )
        if dynamic:
            self.dynamic_contents[row.id] = content
        version.snippets[name] = row
        return row

    def snippet(self, number: int, name: str) -> SnippetRow:
        """Raises Problem (404)."""
        row = self.version(number).snippets.get(name)
        if row is None:
            raise missing("Snippet", {"service_id": self.id, "version": number, "name": name})
        return row

    def change_snippet(self, number: int, name: str, form: Mapping[str, str]) -> SnippetRow:
        """Set what the form names of a regular snippet."""
        version = self.draft(number)
        row = self.snippet(number, name)
        changed = replace(
            row,
            content=row.content if row.dynamic else form.get("content", row.content),
            priority=_integer(form.get("priority", str(row.priority))),
            type=form.get("type", row.type),
            updated_at=timestamp(),
        )
        version.snippets[name] = changed
        return changed

    def add_dictionary(self, number: int, name: str) -> Dictionary:
        """Raises Problem: 400 for a name that VCL could not use, 409 for one that is taken."""
        version = self.draft(number)
        if not name[:1].isalpha() or not all(char.isalnum() or char in "_ " for char in name):
            detail = "Name must start with alphabetical and contain only alphanumeric, underscore, and whitespace"
            raise Problem(400, "Bad request", detail)
        if name in version.dictionaries:
            raise duplicate("dictionary", name)
        dictionary = Dictionary(new_id(), self.id, timestamp())
        self.dictionaries[dictionary.id] = dictionary
        version.dictionaries[name] = dictionary.id
        return dictionary

    def dictionary_named(self, number: int, name: str) -> Dictionary:
        """A version's dictionary. Raises Problem (404)."""
        found = self.version(number).dictionaries.get(name)
        if found is None:
            raise missing("Dictionary", {"service_id": self.id, "version": number, "name": name})
        return self.dictionaries[found]

    def dictionary(self, dictionary_id: str) -> Dictionary:
        """By id, whatever version holds it. Raises Problem (404)."""
        if dictionary_id not in self.dictionaries:
            raise missing("Dictionary", {"id": dictionary_id, "service_id": self.id})
        return self.dictionaries[dictionary_id]

    def change_settings(self, number: int, form: Mapping[str, str]) -> Json:
        """Set those that exist; what else the form holds is ignored."""
        settings = self.draft(number).settings
        for key, old in DEFAULT_SETTINGS.items():
            if key in form:
                value = form[key]
                settings[key] = (
                    value.lower() in {"1", "true"}
                    if isinstance(old, bool)
                    else _integer(value)
                    if isinstance(old, int)
                    else value
                )
        return self.settings_json(number)

    # -- shapes --------------------------------------------------------------------------------------------------

    def version_json(self, version: Version) -> Json:
        """A version without what is in it."""
        return {
            "number": version.number,
            "service_id": self.id,
            "comment": version.comment,
            "active": version.active,
            "locked": version.locked,
            "deployed": False,
            "staging": False,
            "testing": False,
            "created_at": version.created_at,
            "updated_at": version.updated_at,
            "deleted_at": None,
        }

    def settings_json(self, number: int) -> Json:
        """Keys have dots in them."""
        return {**self.version(number).settings, "service_id": self.id, "version": number}

    def dictionary_json(self, number: int, name: str) -> Json:
        """A dictionary as a version shows it."""
        dictionary = self.dictionary_named(number, name)
        return {
            "id": dictionary.id,
            "name": name,
            "service_id": self.id,
            "version": number,
            "write_only": False,
            "created_at": dictionary.created_at,
            "updated_at": dictionary.created_at,
            "deleted_at": None,
        }

    def json(self) -> Json:
        """The service with all its versions."""
        return {
            "id": self.id,
            "name": self.name,
            "comment": "",
            "type": "vcl",
            "customer_id": self.customer_id,
            "paused": False,
            "publish_key": "",
            "created_at": self.created_at,
            "updated_at": self.created_at,
            "deleted_at": None,
            "versions": [self.version_json(version) for version in self.versions.values()],
        }

    def details_json(self, *, active_only: bool) -> Json:
        """The service with everything that is in its active version, and in its latest."""
        active = self.active
        versions = [version for version in self.versions.values() if version.active or not active_only]
        return {
            **self.json(),
            "versions": [self.version_json(version) for version in versions],
            "active_version": self._whole(active) if active else None,
            "version": self._whole(active or self.versions[max(self.versions)]),
        }

    def _whole(self, version: Version) -> Json:
        host, port = self._backend
        empty: Json = {
            kind: []
            for kind in (
                "acls",
                "cache_settings",
                "conditions",
                "directors",
                "domains",
                "environments",
                "gzips",
                "headers",
                "healthchecks",
                "request_settings",
                "response_objects",
                "vcls",
            )
        }
        settings = {key: value for key, value in version.settings.items() if key != "general.default_pci"}
        return {
            **self.version_json(version),
            **empty,
            "backends": [{"name": "origin", "address": host, "hostname": host, "port": port, "use_ssl": False}],
            "dictionaries": [self.dictionary_json(version.number, name) for name in version.dictionaries],
            "settings": settings,
            "snippets": [row.json(self.id, version.number) for row in version.snippets.values()],
        }


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Problem(400, "Bad request", f"'{text}' is not a number") from None
