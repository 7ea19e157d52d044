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
