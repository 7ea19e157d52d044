"""The policy in the versions of a Fastly service: compared, and put there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.edge import ActiveVersion, Policy, policy
from edgeguard.edge.api import Api, Missing
from edgeguard.errors import EdgeError, EdgeguardError, EdgeUnavailable

if TYPE_CHECKING:
    from edgeguard.settings import EdgeSettings


class Versions:
    """A service's versions, as far as the policy is concerned."""

    def __init__(self, settings: EdgeSettings, api: Api) -> None:
        self._settings = settings
        self._api = api

    def policy(self) -> Policy:
        """As in Edge."""
        return self._compare(self.active())

    def look(self) -> ActiveVersion:
        """As Edge.active_version. A few calls: the settings and the generated VCL are not in the service's details."""
        details = self._details()
        active, kind = details.get("active_version"), str(details.get("type") or "vcl")
        if not active:
            raise _nothing_active()
        number = int(active["number"])
        if kind != "vcl":
            return ActiveVersion(number, kind)
        of = self._of(number)
        generated = self._api.call("vcl.get_custom_vcl_generated", "read the generated VCL", of, repeat=True)
        return ActiveVersion(
            number,
            kind,
            settings=self._api.call("settings.get_service_settings", "read the settings", of, repeat=True),
            snippets=tuple(self._with_content(row) for row in active.get("snippets") or ()),
            generated=str(generated.get("content") or ""),
            files=tuple(active.get("vcls") or ()),
            **{
                rows: tuple(active.get(rows) or ())
                for rows in ("dictionaries", "cache_settings", "request_settings", "backends", "healthchecks")
            },
        )

    def _with_content(self, row: dict[str, Any]) -> dict[str, Any]:
        """A dynamic snippet's content is not in any version."""
        if row.get("content") is not None or str(row.get("dynamic")) != "1":
            return row
        named = {"service_id": self._settings.service, "id": row["id"]}
        found = self._api.call("snippet.get_snippet_dynamic", f"read {row['name']}", named, repeat=True)
        return row | {"content": found.get("content")}

    def install(self, reason: str) -> Policy:
        """As in Edge. Where it fails, the draft stays behind, not activated, and the error names it.

        `reason` (who and why) becomes the version's comment.
        """
        active = self.active()
        if active is None:
            raise _nothing_active()
        found = self._compare(active)
        if not found.differences:
            return found
        draft = int(self._api.call("version.clone_service_version", "clone", self._of(active))["number"])
        try:
            self._fill(draft, reason)
            self._validate(draft)
            if self.active() != active:
                raise EdgeError(f"another version than {active} became active meanwhile", "Look who, and try again.")
            self._activate(draft)
        except EdgeguardError as exc:
            exc.message += f"; draft {draft} is left behind, not activated"
            exc.args = (exc.message,)
            raise
        return self._compare(draft)

    def _compare(self, version: int | None) -> Policy:
        if version is None:
            return Policy(None, None, ("the service has no active version",))
        there = {row["name"]: row for row in self._snippets(version)}
        wanted = {snippet.name: snippet for snippet in policy.render(self._settings)}
        differences = [f"snippet {name} is not ours" for name in sorted(there.keys() - wanted.keys())]
        for name, snippet in wanted.items():
            if name not in there:
                differences.append(f"snippet {name} is missing")
                continue
            row = there[name]
            same = {
                "type": row["type"] == snippet.type,
                "priority": int(row["priority"]) == snippet.priority,
                "content": _text(row["content"]) == _text(snippet.content),
            }
            differences += [f"snippet {name} has another {what}" for what, is_same in same.items() if not is_same]
        if self.dictionary_in(version) is None:
            differences.append(f"dictionary {self._settings.dictionary} is missing")
        revisions = (policy.revision_in(_text(row["content"])) for row in there.values())
        return Policy(version, next((found for found in revisions if found), None), tuple(differences))

    def _fill(self, draft: int, reason: str) -> None:
        """Our snippets and dictionary, in place of what an earlier policy left there."""
        for row in self._snippets(draft):
            self._api.call("snippet.delete_snippet", "remove an old snippet", self._of(draft) | {"name": row["name"]})
        if self.dictionary_in(draft) is None:
            named = {"name": self._settings.dictionary}
            self._api.call("dictionary.create_dictionary", "create the dictionary", self._of(draft) | named)
        for snippet in policy.render(self._settings):
            fields = {"name": snippet.name, "type": snippet.type, "priority": str(snippet.priority)}
            content = {"content": snippet.content, "dynamic": "0"}
            self._api.call("snippet.create_snippet", f"create {snippet.name}", self._of(draft) | fields | content)
        comment = {"comment": f"edgeguard policy {policy.revision(self._settings)}: {reason}"}
        self._api.call("version.update_service_version", "comment the draft", self._of(draft) | comment)

    def _validate(self, draft: int) -> None:
        """The answer is 200 either way; its body decides."""
        said = self._api.call("version.validate_service_version", "validate", self._of(draft), repeat=True)
        if said.get("status") != "ok":
            raise EdgeError(
                f"Fastly refuses the policy: {said.get('msg') or said.get('errors') or said.get('status')}",
                "Something in the service's own VCL is probably in the way.",
            )

    def _activate(self, draft: int) -> None:
        """Not repeated. Where the answer was lost, the service tells whether it happened."""
        try:
            self._api.call("version.activate_service_version", "activate", self._of(draft))
        except EdgeUnavailable:
            if self.active() != draft:
                raise

    def active(self) -> int | None:
        """The number of the active version, if there is one."""
        active = self._details().get("active_version")
        return int(active["number"]) if active else None

    def _details(self) -> dict[str, Any]:
        """The service with all that is in its active version."""
        arguments = {"service_id": self._settings.service, "filter_versions_active": True}
        try:
            details: dict[str, Any] = self._api.call(
                "service.get_service_detail", "look at the service", arguments, repeat=True
            )
        except Missing as exc:
            raise EdgeError(
                f"there is no Fastly service {self._settings.service!r} (edge.service) for this token", exc.remedy
            ) from exc
        return details

    def _snippets(self, version: int) -> list[dict[str, Any]]:
        rows = self._api.call("snippet.list_snippets", "list the snippets", self._of(version), repeat=True)
        return [row for row in rows if row["name"].startswith(policy.NAME_PREFIX)]

    def dictionary_in(self, version: int) -> str | None:
        """The id of our dictionary in a version, if it is there. It is the same in all versions that have it."""
        rows = self._api.call("dictionary.list_dictionaries", "list the dictionaries", self._of(version), repeat=True)
        return next((row["id"] for row in rows if row["name"] == self._settings.dictionary), None)

    def _of(self, version: int) -> dict[str, object]:
        return {"service_id": self._settings.service, "version_id": version}


def _nothing_active() -> EdgeError:
    return EdgeError("the service has no active version", "Activate one first: the policy is added to it.")


def _text(content: object) -> str:
    """As compared: line ends and what surrounds a snippet don't count."""
    return str(content or "").replace("\r\n", "\n").strip()
