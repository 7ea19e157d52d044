"""The one service of the stand-in as its API knows it: versions, what is in them, and what no version holds.

The rules are Fastly's: a version is a draft until it is activated or locked, and can't be edited then; dictionaries
belong to a version by name, their items to none. JSON has the shapes that were recorded from the real API.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeguard.standin.dictionaries import Dictionary
from edgeguard.standin.objects import KINDS, TRUE, Json, integer
from edgeguard.standin.problems import Problem, duplicate, missing
from edgeguard.standin.vcl import Snippet, VclError, compile_service
from edgeguard.standin.version import DEFAULT_SETTINGS, SNIPPET_TYPES, SnippetRow, Version, new_id, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.standin.vcl import Program


class Service:
    """All state of the API, in memory."""

    def __init__(self, name: str, backend: tuple[str, int]) -> None:
        self.id = new_id()
        self.customer_id = new_id()
        self.name = name
        self.created_at = timestamp()
        self.type = "vcl"
        """"vcl" or "wasm" (Compute). The stand-in serves VCL whatever it says here."""
        self.versions = {1: Version(1)}
        self.dictionaries: dict[str, Dictionary] = {}
        self.dynamic_contents: dict[str, str] = {}
        self._planting = False
        host, port = backend
        self.add_object(1, "backend", {"name": "origin", "address": host, "hostname": host, "port": str(port)})
        self.activate(1)

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
        if (version.locked or version.active) and not self._planting:
            raise Problem(422, "Version locked", f"Version '{number}' for service '{self.id}' is locked")
        version.updated_at = timestamp()
        return version

    @contextmanager
    def planting(self) -> Iterator[None]:
        """Meanwhile also the active version can be edited: tests put there what somebody else might have."""
        self._planting = True
        try:
            yield
        finally:
            self._planting = False

    def create(self) -> Version:
        """An empty draft."""
        version = Version(max(self.versions) + 1)
        self.versions[version.number] = version
        return version

    def clone(self, number: int) -> Version:
        """A draft with everything of another version, its comment and time of creation included."""
        copy = self.version(number).copy(max(self.versions) + 1)
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
        main = next((row["content"] for row in version.objects["vcl"].values() if row["main"]), None)
        settings = version.settings
        return compile_service(
            snippets,
            version.dictionaries,
            default_ttl=settings["general.default_ttl"],
            main=main,
            serve_stale=settings["general.stale_if_error_ttl"] if settings["general.stale_if_error"] else None,
        )

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
        dynamic = form.get("dynamic", "0").lower() in TRUE
        content = form.get("content", "")
        row = SnippetRow(
            new_id(),
            name,
            kind,
            None if dynamic else content,
            integer(form.get("priority", "100")),
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
        """Set what the form names of a snippet. The content of a dynamic one is not the version's to change."""
        version = self.draft(number)
        row = self.snippet(number, name)
        changed = replace(
            row,
            content=row.content if row.dynamic else form.get("content", row.content),
            priority=integer(form.get("priority", str(row.priority))),
            type=form.get("type", row.type),
            name=form.get("name", name),
            updated_at=timestamp(),
        )
        rename(version.snippets, "snippet", name, changed.name)
        version.snippets[changed.name] = changed
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

    def rename_dictionary(self, number: int, name: str, new: str) -> None:
        """Raises Problem (404, 409)."""
        version = self.draft(number)
        self.dictionary_named(number, name)
        rename(version.dictionaries, "dictionary", name, new)

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

    def add_object(self, number: int, kind: str, form: Mapping[str, str]) -> Json:
        """Of one of KINDS. Raises Problem: 400 without a name, 409 for one that is taken."""
        rows, name = self.draft(number).objects[kind], form.get("name", "")
        if not name:
            raise Problem(400, "Bad request", "Name can't be blank")
        if name in rows:
            raise duplicate(kind, name)
        now = timestamp()
        rows[name] = {**KINDS[kind].filled(KINDS[kind].fields, form), "created_at": now, "updated_at": now}
        return self.object_json(number, kind, name)

    def change_object(self, number: int, kind: str, name: str, form: Mapping[str, str]) -> Json:
        """Set what the form names."""
        rows, row, new = self.draft(number).objects[kind], self._object(number, kind, name), form.get("name", name)
        filled = KINDS[kind].filled({key: row[key] for key in KINDS[kind].fields}, form)
        rename(rows, kind, name, new)
        rows[new] = row | filled | {"updated_at": timestamp()}
        return self.object_json(number, kind, new)

    def remove(self, number: int, kind: str, name: str) -> None:
        """A snippet, a dictionary or another object. Raises Problem (404)."""
        version = self.draft(number)
        rows: dict[str, dict[str, Any]] = {"snippet": version.snippets, "dictionary": version.dictionaries}
        if name not in (rows | version.objects)[kind]:
            raise missing(kind.title(), {"service_id": self.id, "version": number, "name": name})
        del (rows | version.objects)[kind][name]

    def _object(self, number: int, kind: str, name: str) -> Json:
        rows = self.version(number).objects[kind]
        if name not in rows:
            raise missing(kind.title(), {"service_id": self.id, "version": number, "name": name})
        return rows[name]

    def change_settings(self, number: int, form: Mapping[str, str]) -> Json:
        """Set those that exist; what else the form holds is ignored."""
        settings = self.draft(number).settings
        for key, old in DEFAULT_SETTINGS.items():
            if key in form:
                value = form[key]
                settings[key] = (
                    value.lower() in TRUE
                    if isinstance(old, bool)
                    else integer(value)
                    if isinstance(old, int)
                    else value
                )
        return self.settings_json(number)

    # -- shapes --------------------------------------------------------------------------------------------------

    def settings_json(self, number: int) -> Json:
        """Keys have dots in them."""
        return {**self.version(number).settings, "service_id": self.id, "version": number}

    def object_json(self, number: int, kind: str, name: str) -> Json:
        """An object as a version shows it."""
        named = {"name": name, "service_id": self.id, "version": str(number) if KINDS[kind].number_as_text else number}
        return {**named, **self._object(number, kind, name), "deleted_at": None}

    def objects_json(self, number: int, kind: str) -> list[Json]:
        """All of one kind."""
        return [self.object_json(number, kind, name) for name in self.version(number).objects[kind]]

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
            "type": self.type,
            "customer_id": self.customer_id,
            "paused": False,
            "publish_key": "",
            "created_at": self.created_at,
            "updated_at": self.created_at,
            "deleted_at": None,
            "versions": [version.json(self.id) for version in self.versions.values()],
        }

    def details_json(self, *, active_only: bool) -> Json:
        """The service with everything that is in its active version, and in its latest."""
        active = self.active
        versions = [version for version in self.versions.values() if version.active or not active_only]
        return {
            **self.json(),
            "versions": [version.json(self.id) for version in versions],
            "active_version": self._whole(active) if active else None,
            "version": self._whole(active or self.versions[max(self.versions)]),
        }

    def _whole(self, version: Version) -> Json:
        nothing = ("acls", "conditions", "directors", "environments", "gzips", "response_objects")
        empty: Json = {plural: [] for plural in nothing}
        objects = {kind.plural: self.objects_json(version.number, name) for name, kind in KINDS.items()}
        settings = {key: value for key, value in version.settings.items() if key != "general.default_pci"}
        return {
            **version.json(self.id),
            **empty,
            **objects,
            "dictionaries": [self.dictionary_json(version.number, name) for name in version.dictionaries],
            "settings": settings,
            "snippets": [row.json(self.id, version.number) for row in version.snippets.values()],
        }


def rename(rows: dict[str, Any], kind: str, old: str, new: str) -> None:
    """Raises Problem (409) for a name that is taken."""
    if new != old and new in rows:
        raise duplicate(kind, new)
    rows[new] = rows.pop(old)
