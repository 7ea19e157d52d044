"""A service's VCL, compiled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeguard.standin.vcl.assemble import Own, Snippet, assemble
from edgeguard.standin.vcl.check import check
from edgeguard.standin.vcl.language import STATES
from edgeguard.standin.vcl.parser import parse
from edgeguard.standin.vcl.run import build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeguard.standin.vcl.request import Request
    from edgeguard.standin.vcl.run import Body


@dataclass(frozen=True)
class Program:
    """The compiled VCL of a version. `text` is its whole source."""

    text: str = field(repr=False)
    bodies: Mapping[str, Body] = field(repr=False)

    def run(self, subroutine: str, request: Request) -> str:
        """Run `recv`, `hash`, `hit`, … for a request. Returns the state that the subroutine ends with.

        For "error", `request.error` has its status and text (None: a bare `return(error)`). vcl_hash begins with an
        empty req.hash.
        """
        if subroutine == "hash":
            request.values["req.hash"] = ""
        return self.bodies[f"vcl_{subroutine}"](request) or STATES[subroutine][0]


def compile_service(
    snippets: Iterable[Snippet],
    dictionaries: Iterable[str],
    *,
    default_ttl: int = 3600,
    main: str | None = None,
    files: Mapping[str, str] | None = None,
    serve_stale: int | None = None,
) -> Program:
    """Compile a service's snippets and dictionaries.

    `default_ttl` is the TTL of an answer that states none. `main` is a custom VCL file in place of the generated VCL,
    `files` are those that it may include, by name. `serve_stale` is the service's own stale-if-error, None where it is
    off.

    Raises:
        VclError: with all messages of the compiler.
    """
    own = Own(tuple(snippets), main, files or {})
    source = assemble(own, dictionaries, default_ttl=default_ttl, serve_stale=serve_stale)
    unit = parse(source.text, source.places)
    return Program(source.text, build(unit.subroutines, check(unit)))
