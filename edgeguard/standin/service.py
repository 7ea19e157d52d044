"""A service as the API knows it: its versions, their content, and the items that no version holds.

The rules are Fastly's. A version is a draft until it is activated or locked; then it can't be edited. A version holds
dictionaries by name; their items belong to no version. JSON has the shapes that were recorded from the real API.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeguard.standin.dictionaries import Dictionary
from edgeguard.standin.objects import KINDS, TRUE, Json, absent, addressed, integer
from edgeguard.standin.problems import Problem, duplicate, missing
from edgeguard.standin.vcl import Snippet, VclError, compile_service
from edgeguard.standin.version import DEFAULT_SETTINGS, SNIPPET_TYPES, SnippetRow, Version, new_id, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.standin.vcl import Program


class Service:
    """A service's state, in memory. It begins with one empty draft."""

    def __init__(self, name: str, customer_id: str, kind: str = "vcl", comment: str = "") -> None:
        self.id = new_id()
        self.customer_id = customer_id
        self.name = name
        self.comment = comment
        self.created_at = timestamp()
        self.type = kind
        """"vcl" or "wasm" (Compute). The stand-in serves VCL in either case."""
        self.versions = {1: Version(1)}
        self.dictionaries: dict[str, Dictionary] = {}
        self.dynamic_contents: dict[str, str] = {}
        self._planting = False

    # -- versions ------------------------------------------------------------------------------------------------

    @property
    def active(self) -> Version | None:
        """The active version; None where no version is active."""
        return next((version for version in self.versions.values() if version.active), None)

    @property
    def latest(self) -> Version:
        """The version of the highest number."""
        return self.versions[max(self.versions)]

    def version(self, number: int) -> Version:
        """A version by its number. Raises Problem (404)."""
        if number not in self.versions:
            raise missing("Version", {"service_id": self.id, "number": number})
        return self.versions[number]

    def draft(self, number: int) -> Version:
        """A version to edit. Raises Problem: 404, or 422 where the version is locked or active."""
        version = self.version(number)
        if (version.locked or version.active) and not self._planting:
            raise Problem(422, "Version locked", f"Version '{number}' for service '{self.id}' is locked")
        version.updated_at = timestamp()
        return version

    @contextmanager
    def planting(self) -> Iterator[None]:
        """Let the active version be edited meanwhile. Tests plant changes that somebody else might have made."""
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
        """Make a version the active one, and lock it. The caller has compiled it before."""
        version = self.version(number)
        for other in self.versions.values():
            other.active = other is version
        version.locked = True
        version.updated_at = timestamp()
        return version

    def deactivate(self, number: int) -> Version:
        """Leave the service without an active version."""
        version = self.version(number)
        version.active = False
        return version

    def compile(self, number: int) -> Program:
        """Compile a version's VCL. Raises VclError."""
        version = self.version(number)
        snippets = [
            Snippet(
                row.name, row.type, self.dynamic_contents[row.id] if row.dynamic else row.content or "", row.priority
            )
            for row in version.snippets.values()
        ]
        vcls = version.objects["vcl"]
        main = next((row["content"] for row in vcls.values() if row["main"]), None)
        settings = version.settings
        return compile_service(
            snippets,
            version.dictionaries,
            default_ttl=settings["general.default_ttl"],
            main=main,
            files={name: row["content"] for name, row in vcls.items() if not row["main"]},
            serve_stale=settings["general.stale_if_error_ttl"] if settings["general.stale_if_error"] else None,
        )

    def validate(self, number: int) -> Json:
        """Say in the body whether a version compiles. The HTTP status is 200 in both cases."""
        try:
            self.compile(number)
        except VclError as exc:
            return {"status": "error", "msg": "\n".join(exc.messages), "errors": exc.messages}
        return {"status": "ok", "msg": None, "errors": []}

    # -- what is in a version ------------------------------------------------------------------------------------

    def add_snippet(self, number: int, form: Mapping[str, str]) -> SnippetRow:
        """Add a snippet. Raises Problem: 400 for a wrong type or an empty name, 409 for a name that is taken."""
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
        """A snippet by its name. Raises Problem (404)."""
        row = self.version(number).snippets.get(name)
        if row is None:
            raise absent("Snippet", self.id, number, name)
        return row

    def change_snippet(self, number: int, name: str, form: Mapping[str, str]) -> SnippetRow:
        """Set the fields that the form names. The content of a dynamic snippet is not in the version, and stays."""
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
        """Add a dictionary. Raises Problem: 400 for a name that VCL could not use, 409 for a name that is taken."""
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
        """Rename a dictionary. Raises Problem (404, 409)."""
        version = self.draft(number)
        self.dictionary_named(number, name)
        rename(version.dictionaries, "dictionary", name, new)

    def dictionary_named(self, number: int, name: str) -> Dictionary:
        """A version's dictionary by its name. Raises Problem (404)."""
        found = self.version(number).dictionaries.get(name)
        if found is None:
            raise absent("Dictionary", self.id, number, name)
        return self.dictionaries[found]

    def dictionary(self, dictionary_id: str) -> Dictionary:
        """A dictionary by its id, whichever version holds it. Raises Problem (404)."""
        if dictionary_id not in self.dictionaries:
            raise missing("Dictionary", {"id": dictionary_id, "service_id": self.id})
        return self.dictionaries[dictionary_id]

    def be_main(self, number: int, name: str) -> Json:
        """Make a VCL file the main one. Raises Problem (404)."""
        rows = self.draft(number).objects["vcl"]
        self._object(number, "vcl", name)
        rows |= {other: row | {"main": other == name} for other, row in rows.items()}
        return self.object_json(number, "vcl", name)

    def add_object(self, number: int, kind: str, form: Mapping[str, str]) -> Json:
        """Add an object of one of KINDS. Raises Problem: 400 without a name, 409 for a name that is taken."""
        rows, name = self.draft(number).objects[kind], form.get("name", "")
        if not name:
            raise Problem(400, "Bad request", "Name can't be blank")
        if name in rows:
            raise duplicate(kind, name)
        now, given = timestamp(), addressed(form) if kind == "backend" else form
        rows[name] = {**KINDS[kind].filled(KINDS[kind].fields, given), "created_at": now, "updated_at": now}
        return self.object_json(number, kind, name)

    def change_object(self, number: int, kind: str, name: str, form: Mapping[str, str]) -> Json:
        """Set the fields that the form names. Raises Problem (404, 409)."""
        rows, row, new = self.draft(number).objects[kind], self._object(number, kind, name), form.get("name", name)
        filled = KINDS[kind].filled({key: row[key] for key in KINDS[kind].fields}, form)
        rename(rows, kind, name, new)
        rows[new] = row | filled | {"updated_at": timestamp()}
        return self.object_json(number, kind, new)

    def remove(self, number: int, kind: str, name: str) -> None:
        """Remove a snippet, a dictionary or another object. Raises Problem (404)."""
        version = self.draft(number)
        rows: dict[str, dict[str, Any]] = {"snippet": version.snippets, "dictionary": version.dictionaries}
        if name not in (rows | version.objects)[kind]:
            raise absent(KINDS[kind].record if kind in KINDS else kind.title(), self.id, number, name)
        del (rows | version.objects)[kind][name]

    def _object(self, number: int, kind: str, name: str) -> Json:
        rows = self.version(number).objects[kind]
        if name not in rows:
            raise absent(KINDS[kind].record, self.id, number, name)
        return rows[name]

    def change_settings(self, number: int, form: Mapping[str, str]) -> Json:
        """Set the settings that the form names. Unknown names are ignored."""
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
        """A version's settings as the API shows them: their keys have dots."""
        return {**self.version(number).settings, "service_id": self.id, "version": number}

    def object_json(self, number: int, kind: str, name: str) -> Json:
        """An object as a version shows it. Raises Problem (404)."""
        named = {"name": name, "service_id": self.id, "version": str(number) if KINDS[kind].number_as_text else number}
        return {**named, **self._object(number, kind, name), "deleted_at": None}

    def objects_json(self, number: int, kind: str) -> list[Json]:
        """A version's objects of one kind."""
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


def rename(rows: dict[str, Any], kind: str, old: str, new: str) -> None:
    """Move a row to another name. Raises Problem (409) for a name that is taken."""
    if new != old and new in rows:
        raise duplicate(kind, new)
    rows[new] = rows.pop(old)
