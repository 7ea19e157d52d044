"""Fastly as an edge: the policy as snippets of a version, claims as items of a dictionary, purges by key."""

from __future__ import annotations

import itertools
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from edgeguard.edge import Policy, Purged, Status, policy
from edgeguard.edge.api import Api, Missing
from edgeguard.errors import EdgeError, EdgeguardError, EdgeUnavailable, OriginsUnhealthy, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeguard.settings import EdgeSettings

STATUS_TIMEOUT = 5.0
PURGE_KEYS, PURGE_BYTES = 256, 16_000
"""Of one purge call: Fastly's limit on keys, and what is well within every limit on headers."""
PAGE = 1000
"""Of a dictionary's items."""


class Answer(Protocol):
    """What an HTTP question brought."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The content, whole."""


class Ask(Protocol):
    """Ask a URL once, over a new connection. Raises OriginsUnhealthy where there is no HTTP answer in time."""

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float) -> Answer:
        """`timeout` in seconds."""


class Fastly:
    """Implements Edge (edgeguard/edge/__init__.py). May be used from several threads; one call is made at a time."""

    def __init__(self, settings: EdgeSettings, token: str, ask: Ask) -> None:
        self._settings = settings
        self._api = Api(settings.api_url, token)
        self._ask = ask
        self._dictionary: str | None = None

    # -- the policy ----------------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """As in Edge."""
        return self._compare(self._active())

    def install(self, reason: str) -> Policy:
        """As in Edge. Where it fails, the draft stays behind, not activated, and the error names it.

        `reason` (who and why) becomes the version's comment.
        """
        active = self._active()
        if active is None:
            raise EdgeError("the service has no active version", "Activate one first: the policy is added to it.")
        found = self._compare(active)
        if not found.differences:
            return found
        draft = int(self._api.call("version.clone_service_version", "clone", self._of(active))["number"])
        try:
            self._fill(draft, reason)
            self._validate(draft)
            if self._active() != active:
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
        if self._dictionary_in(version) is None:
            differences.append(f"dictionary {self._settings.dictionary} is missing")
        revisions = (policy.revision_in(_text(row["content"])) for row in there.values())
        return Policy(version, next((found for found in revisions if found), None), tuple(differences))

    def _fill(self, draft: int, reason: str) -> None:
        """Our snippets and dictionary, in place of what an earlier policy left there."""
        for row in self._snippets(draft):
            self._api.call("snippet.delete_snippet", "remove an old snippet", self._of(draft) | {"name": row["name"]})
        if self._dictionary_in(draft) is None:
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
            if self._active() != draft:
                raise

    def _active(self) -> int | None:
        arguments = {"service_id": self._settings.service, "filter_versions_active": True}
        try:
            details = self._api.call("service.get_service_detail", "look at the service", arguments, repeat=True)
        except Missing as exc:
            raise EdgeError(
                f"there is no Fastly service {self._settings.service!r} (edge.service) for this token", exc.remedy
            ) from exc
        active = details.get("active_version")
        return int(active["number"]) if active else None

    def _snippets(self, version: int) -> list[dict[str, Any]]:
        rows = self._api.call("snippet.list_snippets", "list the snippets", self._of(version), repeat=True)
        return [row for row in rows if row["name"].startswith(policy.NAME_PREFIX)]

    def _dictionary_in(self, version: int) -> str | None:
        rows = self._api.call("dictionary.list_dictionaries", "list the dictionaries", self._of(version), repeat=True)
        return next((row["id"] for row in rows if row["name"] == self._settings.dictionary), None)

    def _of(self, version: int) -> dict[str, object]:
        return {"service_id": self._settings.service, "version_id": version}

    # -- the dictionary ------------------------------------------------------------------------------------------

    def items(self) -> Mapping[str, str]:
        """As in Edge."""
        dictionary = self._items_of()
        return self._api.repeated(lambda: self._read(dictionary))

    def write(self, items: Mapping[str, str | None]) -> None:
        """As in Edge. Removing what isn't there answers 404, so a write that removes looks first what is there."""
        if not items:
            return
        dictionary = self._items_of()
        removals = None in items.values()

        def write_once() -> None:
            there = self._read(dictionary) if removals else {}
            operations = [
                {"op": "delete", "item_key": key}
                if value is None
                else {"op": "upsert", "item_key": key, "item_value": value}
                for key, value in items.items()
                if value is not None or key in there
            ]
            if operations:
                self._api.change_items(dictionary, operations)

        # Somebody else may remove the same item between the look and the write.
        self._api.repeated(write_once, also=(Missing,) if removals else ())

    def _read(self, dictionary: Mapping[str, object]) -> dict[str, str]:
        items: dict[str, str] = {}
        for page in itertools.count(1):
            arguments = {**dictionary, "page": page, "per_page": PAGE}
            rows = self._api.call("dictionary_item.list_dictionary_items", "read the dictionary", arguments)
            items |= {row["item_key"]: row["item_value"] for row in rows}
            if len(rows) < PAGE:
                break
        return items

    def _items_of(self) -> dict[str, object]:
        """The dictionary keeps its id in all versions, so it is looked up once."""
        if self._dictionary is None:
            version = self._active()
            self._dictionary = self._dictionary_in(version) if version is not None else None
        if self._dictionary is None:
            raise EdgeError(
                f"the service has no dictionary {self._settings.dictionary!r}",
                "Install the policy first: edgeguard edge install ENV.",
            )
        return {"service_id": self._settings.service, "dictionary_id": self._dictionary}

    # -- what the edge shows, and purges -------------------------------------------------------------------------

    def status(self) -> Status:
        """As in Edge."""
        url = f"{self._settings.url.rstrip('/')}/{self._settings.status_name}"
        remedy = "Is the policy installed (edgeguard edge diff ENV), and edge.url the front door?"
        try:
            answer = self._ask(url, headers={}, timeout=STATUS_TIMEOUT)
        except OriginsUnhealthy as exc:
            raise EdgeUnavailable(exc.message, remedy) from exc
        if answer.status != HTTPStatus.OK:
            raise EdgeUnavailable(f"{url} answers {answer.status}, and no status of the policy", remedy)
        try:
            return policy.read_status(answer.body.decode("utf-8"))
        except ValueError as exc:
            raise EdgeUnavailable(f"{url} gives no status of the policy ({exc})", remedy) from exc

    def purge(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """As in Edge. A soft purge is repeated where its answer was lost, a hard one is not.

        Raises UsageError for what can't be a surrogate key, before anything is purged.
        """
        for key in keys:
            if not re.fullmatch(r"[\x21-\x7e]{1,1024}", key):
                raise UsageError(f"{key!r} is not a surrogate key", "Keys have 1 to 1024 visible ASCII characters.")
        purged = []
        for group in _groups(list(dict.fromkeys(keys))):
            arguments = {"service_id": self._settings.service, "surrogate_key": " ".join(group)}
            marked = arguments | ({"fastly_soft_purge": 1} if soft else {})
            ids = self._api.call("purge.bulk_purge_tag", "purge", marked, repeat=soft)
            purged.append(Purged(len(group), tuple(str(purge_id) for purge_id in ids.values())))
        return tuple(purged)


def _text(content: object) -> str:
    """As compared: line ends and what surrounds a snippet don't count."""
    return str(content or "").replace("\r\n", "\n").strip()


def _groups(keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys, in as few calls as the limits allow."""
    group: list[str] = []
    size = 0
    for key in keys:
        if len(group) == PURGE_KEYS or (group and size + len(key) + 1 > PURGE_BYTES):
            yield group
            group, size = [], 0
        group.append(key)
        size += len(key) + 1
    if group:
        yield group
