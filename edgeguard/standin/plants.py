"""What somebody else may have done to the service, put there past the rules of the API: for tests of what finds it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeguard.standin.problems import Problem
from edgeguard.standin.tokens import Token
from edgeguard.standin.vcl import VclError

if TYPE_CHECKING:
    from edgeguard.standin.routes import Routes
    from edgeguard.standin.tokens import Tokens

Value = str | int | bool
Kind = Literal["snippet", "dictionary", "backend", "healthcheck", "request_settings", "cache_settings", "header", "vcl"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Draft(_Strict):
    """A version of somebody else's, cloned from the active one."""

    comment: str = ""
    locked: bool = False


class Plant(_Strict):
    """What to put there; `control` has it in words."""

    type: Literal["vcl", "wasm"] | None = None
    comment: str | None = None
    settings: dict[str, Value] = Field(default_factory=dict)
    remove: dict[Kind, list[str]] = Field(default_factory=dict)
    change: dict[Kind, dict[str, dict[str, Value]]] = Field(default_factory=dict)
    add: dict[Kind, list[dict[str, Value]]] = Field(default_factory=dict)
    draft: Draft | None = None
    sick: bool | None = None
    tokens: dict[str, Token] = Field(default_factory=dict)


class Plants:
    """Puts things there, and takes them all away again."""

    def __init__(self, routes: Routes, tokens: Tokens) -> None:
        self._routes = routes
        self._tokens = tokens
        self._first: dict[str, object] | None = None

    def plant(self, wanted: Plant) -> dict[str, int | None]:
        """All of it or nothing. Returns the numbers of the active version, and of the draft if there is one.

        Raises ValueError for what the API would refuse, too, or the compiler.
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
        """The service and the tokens as they were before the first plant; versions made since are gone."""
        if self._first is not None:
            self._restore(self._first)
        self._first = None

    def _plant(self, wanted: Plant) -> dict[str, int | None]:
        service, controls = self._routes.service, self._routes.controls
        active = service.active
        if active is None:
            raise Problem(404, "Record not found", "No version is active")
        service.type = wanted.type or service.type
        active.comment = active.comment if wanted.comment is None else wanted.comment
        with service.planting():
            self._edit(wanted, active.number)
        self._tokens.known |= wanted.tokens
        draft = service.clone(active.number) if wanted.draft else None
        if draft is not None and wanted.draft is not None:
            draft.comment, draft.locked = wanted.draft.comment, wanted.draft.locked
        self._routes.load()
        if wanted.sick and not any(row["healthcheck"] for row in active.objects["backend"].values()):
            raise Problem(400, "Bad request", "A backend without a health check is never sick")
        controls.sick = controls.sick if wanted.sick is None else wanted.sick
        return {"active": active.number, "draft": draft.number if draft else None}

    def _edit(self, wanted: Plant, number: int) -> None:
        service = self._routes.service
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
            self._routes.service.change_snippet(number, name, form)
        else:
            self._routes.service.change_object(number, kind, name, form)

    def _add(self, number: int, kind: Kind, form: dict[str, str]) -> None:
        if kind == "dictionary":
            self._routes.service.add_dictionary(number, form.get("name", ""))
        elif kind == "snippet":
            self._routes.service.add_snippet(number, form)
        else:
            self._routes.service.add_object(number, kind, form)

    def _state(self) -> dict[str, object]:
        service = self._routes.service
        held = (service.versions, service.dynamic_contents, service.type, self._tokens.known)
        return copy.deepcopy({"held": held, "sick": self._routes.controls.sick})

    def _restore(self, state: dict[str, object]) -> None:
        service = self._routes.service
        held = copy.deepcopy(state["held"])
        service.versions, service.dynamic_contents, service.type, self._tokens.known = held  # type: ignore[misc]
        self._routes.load()
        self._routes.controls.sick = bool(state["sick"])


def _form(fields: dict[str, Value]) -> dict[str, str]:
    """As a client would send it."""
    return {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in fields.items()}
