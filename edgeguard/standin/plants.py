"""Plants: changes that somebody else may have made to the service, put there past the rules of the API.

Tests plant them to see whether the product notices.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeguard.standin.problems import Problem
from edgeguard.standin.tokens import Token
from edgeguard.standin.vcl import VclError

if TYPE_CHECKING:
    from edgeguard.standin.account import Account

Value = str | int | bool
Kind = Literal[
    "snippet",
    "dictionary",
    "backend",
    "healthcheck",
    "condition",
    "domain",
    "request_settings",
    "cache_settings",
    "header",
    "vcl",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Draft(_Strict):
    """Somebody else's draft, cloned from the active version."""

    comment: str = ""
    locked: bool = False


class Plant(_Strict):
    """The changes to plant. `control_port` describes each key."""

    type: Literal["vcl", "wasm"] | None = None
    customer: str | None = None
    comment: str | None = None
    settings: dict[str, Value] = Field(default_factory=dict)
    remove: dict[Kind, list[str]] = Field(default_factory=dict)
    change: dict[Kind, dict[str, dict[str, Value]]] = Field(default_factory=dict)
    add: dict[Kind, list[dict[str, Value]]] = Field(default_factory=dict)
    draft: Draft | None = None
    sick: bool | None = None
    tokens: dict[str, Token] = Field(default_factory=dict)


class Plants:
    """Plants changes, and takes them all away again."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._first: dict[str, object] | None = None

    def plant(self, wanted: Plant) -> dict[str, int | None]:
        """Plant all of it or nothing. Returns the numbers of the active version, and of the draft if there is one.

        Raises ValueError where the API or the compiler refuses a change.
        """
        before = self._state()
        try:
            numbers = self._plant(wanted)
        except (Problem, VclError) as exc:
            self._restore(before)
            raise ValueError(str(exc)) from exc
        if self._first is None:
            self._first = before
        return numbers

    def clear(self) -> None:
        """Put the service and the tokens back as they were before the first plant. Versions made since are gone."""
        if self._first is not None:
            self._restore(self._first)
        self._first = None

    def _plant(self, wanted: Plant) -> dict[str, int | None]:
        service, controls = self._account.service, self._account.controls
        active = service.active
        if active is None:
            raise Problem(404, "Record not found", "No version is active")
        service.type = wanted.type or service.type
        service.customer_id = wanted.customer or service.customer_id
        active.comment = active.comment if wanted.comment is None else wanted.comment
        with service.planting():
            self._edit(wanted, active.number)
        self._account.tokens.known |= wanted.tokens
        draft = service.clone(active.number) if wanted.draft else None
        if draft is not None and wanted.draft is not None:
            draft.comment, draft.locked = wanted.draft.comment, wanted.draft.locked
        self._account.load()
        if wanted.sick and not any(row["healthcheck"] for row in active.objects["backend"].values()):
            raise Problem(400, "Bad request", "A backend without a health check is never sick")
        controls.sick = controls.sick if wanted.sick is None else wanted.sick
        return {"active": active.number, "draft": draft.number if draft else None}

    def _edit(self, wanted: Plant, number: int) -> None:
        service = self._account.service
        service.change_settings(number, _form(wanted.settings))
        for kind, names in wanted.remove.items():
            for name in names:
                service.remove(number, kind, name)
        for kind, changes in wanted.change.items():
            for name, fields in changes.items():
                self._change(number, kind, name, _form(fields))
        for kind, rows in wanted.add.items():
            for row in rows:
                self._add(number, kind, _form(row))

    def _change(self, number: int, kind: Kind, name: str, form: dict[str, str]) -> None:
        if kind == "dictionary":
            raise Problem(400, "Bad request", "A dictionary has nothing to change")
        if kind == "snippet":
            self._account.service.change_snippet(number, name, form)
        else:
            self._account.service.change_object(number, kind, name, form)

    def _add(self, number: int, kind: Kind, form: dict[str, str]) -> None:
        if kind == "dictionary":
            self._account.service.add_dictionary(number, form.get("name", ""))
        elif kind == "snippet":
            self._account.service.add_snippet(number, form)
        else:
            self._account.service.add_object(number, kind, form)

    def _state(self) -> dict[str, object]:
        service = self._account.service
        parts = (service.versions, service.dynamic_contents, service.type, service.customer_id)
        account = self._account
        return copy.deepcopy({"parts": parts, "known": account.tokens.known, "sick": account.controls.sick})

    def _restore(self, state: dict[str, object]) -> None:
        service = self._account.service
        parts = copy.deepcopy(state["parts"])
        service.versions, service.dynamic_contents, service.type, service.customer_id = parts  # type: ignore[misc]
        self._account.tokens.known = copy.deepcopy(state["known"])  # type: ignore[arg-type]
        self._account.load()
        self._account.controls.sick = bool(state["sick"])


def _form(fields: dict[str, Value]) -> dict[str, str]:
    """The fields as a client would send them."""
    return {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in fields.items()}
