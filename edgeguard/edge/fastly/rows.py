"""The active version of a Fastly service, as the API gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Rows:
    """The content of a version. Rows are Fastly's own JSON, in which some numbers are strings.

    `kind` is the service's type: "vcl", or "wasm" (Compute). Of the latter nothing else is read. A dynamic snippet's
    row has its content. `files` are the service's own VCL files. `generated` is the whole VCL that Fastly runs.
    """

    number: int
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    snippets: tuple[Mapping[str, Any], ...] = ()
    dictionaries: tuple[Mapping[str, Any], ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()
    cache_settings: tuple[Mapping[str, Any], ...] = ()
    request_settings: tuple[Mapping[str, Any], ...] = ()
    backends: tuple[Mapping[str, Any], ...] = ()
    healthchecks: tuple[Mapping[str, Any], ...] = ()
    generated: str = ""

    @property
    def serve_stale(self) -> int | None:
        """The seconds of the service's own "serve stale"; None where it is off."""
        on = true(self.settings.get("general.stale_if_error"))
        return seconds(self.settings, "general.stale_if_error_ttl") if on else None


def seconds(row: Mapping[str, Any], key: str) -> int:
    """A number that Fastly gives as a number, as a string, or not at all. An empty form field gives 0."""
    value = str(row.get(key) or "0")
    return int(value) if value.isdecimal() else 0


def true(value: object) -> bool:
    """Whether a value of Fastly's means yes: some endpoints give "1"."""
    return str(value).lower() in ("1", "true")
