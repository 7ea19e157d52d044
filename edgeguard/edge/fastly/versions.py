"""Compare the policy in a Fastly service's active version, and put it into a new version."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeguard.edge import Policy
from edgeguard.edge.fastly import drafts, policy, wanted
from edgeguard.edge.fastly.api import Api, Missing
from edgeguard.edge.fastly.rows import Rows
from edgeguard.edge.fastly.wanted import Held, Wanted
from edgeguard.errors import ActiveChanged, EdgeError, EdgeguardError, EdgeUnavailable

if TYPE_CHECKING:
    from edgeguard.settings import EdgeSettings


class Versions:
    """The versions of a service, as far as they concern the policy."""

    def __init__(self, settings: EdgeSettings, api: Api) -> None:
        self._settings = settings
        self._api = api

    def policy(self, wish: Wanted) -> Policy:
        """The policy in the active version, compared with this wish."""
        return self._compare(self.active(), wish)

    def look(self) -> Rows:
        """Read everything in the active version. The service's details lack its settings and the generated VCL."""
        details = self._details()
        active, kind = details.get("active_version"), str(details.get("type") or "vcl")
        if not active:
            raise _nothing_active()
        number = int(active["number"])
        if kind != "vcl":
            return Rows(number, kind)
        of = self._of(number)
        generated = self._api.call("vcl.get_custom_vcl_generated", "read the generated VCL", of, repeat=True)
        return Rows(
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
        """A snippet's row with its content. A dynamic snippet's content is in no version, and is read by itself."""
        if row.get("content") is not None or str(row.get("dynamic")) != "1":
            return row
        named = {"service_id": self._settings.service, "id": row["id"]}
        found = self._api.call("snippet.get_snippet_dynamic", f"read {row['name']}", named, repeat=True)
        return row | {"content": found.get("content")}

    def change(self, wish: Wanted, reason: str, *, expecting: int | None = None) -> Policy:
        """Clone the active version, bring the clone to this state, and activate it. No difference: nothing is written.

        If an earlier attempt has left a draft, this goes on with that one, at the piece that is missing.

        `reason` (who and why) becomes the version's comment. In the result, `diff` is the change, and `notes` are
        remarks on it.

        Raises:
            ActiveChanged: another version than `expecting` is active, or became active meanwhile.
            EdgeError: anything else failed. The error names a draft that stays behind, not activated.
        """
        active = self.active()
        if active is None:
            raise _nothing_active()
        if active != (expecting or active):
            raise _changed(expecting or active, active)
        found = self._compare(active, wish)
        if not found.differences:
            return found
        draft, notes = self._draft(active, wish)
        try:
            notes += self._prepare(draft, wish, reason)
            if (now := self.active()) != active:
                raise _changed(active, now)
        except EdgeguardError as exc:
            again = f"{exc.remedy} The same command goes on with draft {draft}."
            raise exc.with_more(_left_behind(draft), *notes, remedy=again) from exc
        notes += self._activate(draft)
        return Policy(draft, wish.revision, (), found.diff, tuple(dict.fromkeys(notes)))

    def _compare(self, version: int | None, wish: Wanted) -> Policy:
        if version is None:
            return Policy(None, None, ("the service has no active version",))
        held = self._held(version, settings=wish.serve_stale is not None)
        revisions = (policy.revision_in(wanted.text(row["content"])) for row in held.snippets.values())
        revision = next((found for found in revisions if found), None)
        name = self._settings.dictionary
        return Policy(
            version,
            wish.revision if wish.serve_stale is not None else revision,
            wanted.differences(held, wish, name),
            wanted.diff(held, wish, name),
        )

    def _held(self, version: int, *, settings: bool) -> Held:
        of = self._of(version)
        return Held(
            {row["name"]: row for row in self._snippets(version)},
            frozenset(row["name"] for row in self._dictionaries(version)),
            self._api.call("settings.get_service_settings", "read the settings", of, repeat=True) if settings else {},
        )

    def _draft(self, active: int, wish: Wanted) -> tuple[int, list[str]]:
        """The draft of an earlier attempt, or else a new one. Returns its number, and notes on drafts."""
        if (found := drafts.left(self._all(), active, wish.revision)) is not None:
            named = {"service_id": self._settings.service, "version": found}
            details = self._api.call("service.get_service_detail", f"read draft {found}", named, repeat=True)
            there, then = details.get("version"), details.get("active_version")
            if drafts.same(there, then, (found, active), self._settings.dictionary):
                return found, [f"this went on with draft {found}, which an earlier attempt had left"]
        return self._clone(active)

    def _clone(self, active: int) -> tuple[int, list[str]]:
        """Make a draft. Returns its number, and notes on other drafts that may be ours.

        A clone whose answer is lost may have happened. Its draft can't be told from a draft that somebody else made at
        that moment. So the notes name it, it is left alone, and another draft is made.
        """
        before = {int(row["number"]) for row in self._all()}
        lost = False

        def once() -> int:
            nonlocal lost
            try:
                return int(self._api.once("version.clone_service_version", "clone", self._of(active))["number"])
            except EdgeUnavailable:
                lost = True
                raise

        try:
            draft = self._api.repeated(once)
        except EdgeUnavailable as exc:
            strays: list[str] = []
            with suppress(EdgeError):
                strays = self._strays(before, None, active)
            raise exc.with_more(*strays) from exc
        return draft, self._strays(before, draft, active) if lost else []

    def _strays(self, before: set[int], draft: int | None, active: int) -> list[str]:
        new = [int(row["number"]) for row in self._all() if int(row["number"]) not in before | {draft}]
        return [
            f"draft {number} is probably from a clone whose answer was lost: a copy of {active}, which does nothing"
            for number in new
        ]

    def _fill(self, draft: int, wish: Wanted, reason: str) -> None:
        """Bring the draft to the wanted state, over anything that an earlier policy or attempt left. Harmless twice.

        Only what differs is written. A call that surely was not done is repeated by itself.
        """
        name, of = self._settings.dictionary, self._of(draft)
        comment = f"{drafts.mark(wish.revision)}{reason}"
        self._api.call("version.update_service_version", "comment the draft", of | {"comment": comment})
        rows = {row["name"]: row for row in self._snippets(draft)}
        good = {one.name for one in wish.snippets if one.name in rows and not wanted.unlike(rows[one.name], one)}
        for old in rows.keys() - good:
            self._api.call("snippet.delete_snippet", "remove an old snippet", of | {"name": old})
        there = self.dictionary_in(draft) is not None
        if wish.dictionary is True and not there:
            self._api.call("dictionary.create_dictionary", "create the dictionary", of | {"name": name})
        if wish.dictionary is False and there:
            self._api.call("dictionary.delete_dictionary", "remove the dictionary", of | {"dictionary_name": name})
        for snippet in wish.snippets:
            if snippet.name not in good:
                fields = {"name": snippet.name, "type": snippet.type, "priority": str(snippet.priority)}
                content = {"content": snippet.content, "dynamic": "0"}
                self._api.call("snippet.create_snippet", f"create {snippet.name}", of | fields | content)
        if wish.serve_stale is not None:
            self._serve_stale(draft, wish.serve_stale)

    def _serve_stale(self, draft: int, least: int) -> None:
        """Turn the service's own "serve stale" on. It is read back before the draft is activated (`_prepare`)."""
        ttl = wanted.serve_stale_ttl(self._held(draft, settings=True), least)
        fields = {"general_stale_if_error": True, "general_stale_if_error_ttl": ttl}
        self._api.once("settings.update_service_settings", "change the settings", self._of(draft) | fields)

    def _prepare(self, draft: int, wish: Wanted, reason: str) -> list[str]:
        """Fill the draft, read it back, and have Fastly compile it. Returns the compiler's warnings.

        Validation answers 200 also for a draft that does not compile; the answer's body decides.
        """
        self._api.repeated(lambda: self._fill(draft, wish, reason))
        if left := self._compare(draft, wish).differences:
            raise EdgeError(f"Fastly did not keep what was written: {', '.join(left)}", "Look at the draft there.")
        said = self._api.call("version.validate_service_version", "validate", self._of(draft), repeat=True)
        if said.get("status") != "ok":
            raise EdgeError(
                f"Fastly refuses the policy: {said.get('msg') or said.get('errors') or said.get('status')}",
                "Something in the service's own VCL is probably in the way.",
            )
        return _warnings(said)

    def _activate(self, draft: int) -> list[str]:
        """Activate the draft. Returns the compiler's warnings.

        This is not repeated: a second call could replace a version that somebody else has activated. The service is
        read afterwards, so the outcome is known even if the answer was lost.
        """
        failure, said = None, {}
        try:
            said = self._api.call("version.activate_service_version", "activate", self._of(draft))
        except EdgeError as exc:
            failure = exc
        try:
            now = self.active()
        except EdgeError as exc:
            raise (failure or exc).with_more(f"whether version {draft} is active now is unknown") from exc
        if now == draft:
            return _warnings(said)
        if failure is None:
            raise _changed(draft, now)
        raise failure.with_more(_left_behind(draft)) from failure

    def active(self) -> int | None:
        """The number of the active version, if there is one."""
        active = self._details().get("active_version")
        return int(active["number"]) if active else None

    def _details(self) -> dict[str, Any]:
        """The service with the content of its active version."""
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

    def shielded(self) -> bool:
        """Whether a backend of the active version has a shield."""
        active = self._details().get("active_version") or {}
        return any(row.get("shield") for row in active.get("backends") or ())

    def _snippets(self, version: int) -> list[dict[str, Any]]:
        rows = self._api.listed("snippet.list_snippets", "list the snippets", self._of(version))
        return [row for row in rows if row["name"].startswith(policy.NAME_PREFIX)]

    def dictionary_in(self, version: int, name: str | None = None) -> str | None:
        """The id of our dictionary (or of the named one) in a version; None if the version has none.

        A dictionary has the same id in all versions.
        """
        wanted = name or self._settings.dictionary
        return next((row["id"] for row in self._dictionaries(version) if row["name"] == wanted), None)

    def _dictionaries(self, version: int) -> list[dict[str, Any]]:
        return self._api.listed("dictionary.list_dictionaries", "list the dictionaries", self._of(version))

    def _all(self) -> list[dict[str, Any]]:
        of_service = {"service_id": self._settings.service}
        return self._api.listed("version.list_service_versions", "list the versions", of_service)

    def _of(self, version: int) -> dict[str, object]:
        return {"service_id": self._settings.service, "version_id": version}


def _nothing_active() -> EdgeError:
    return EdgeError("the service has no active version", "Activate one first: the policy is added to it.")


def _left_behind(draft: int) -> str:
    return f"draft {draft} is left behind, not activated"


def _changed(expected: int, now: int | None) -> ActiveChanged:
    return ActiveChanged(
        f"version {expected} was active, and now {now or 'none'} is: somebody else is at work on the service",
        "Look who it is, then try again.",
    )


def _warnings(answer: dict[str, Any]) -> list[str]:
    """The compiler's warnings. Fastly puts them into `msg` of a successful answer."""
    said = " ".join(str(answer.get("msg") or "").split())
    return [f"Fastly says: {said}"] if said else []
