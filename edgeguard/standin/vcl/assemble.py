"""A service's whole VCL: the text around Fastly's macros, the macros filled with the snippets, dictionaries as tables.

The text is the service's main file, or generated.vcl where there is none. That is what Fastly generates, as published
in github.com/thechangelog/changelog.com (fly.io/cdn-2024-01-26) and github.com/ysugimoto/falco (examples/formatter).
Fastly's documented boilerplate is another text: main files begin with it (Fastly:
guides/full-site-delivery/fastly-vcl/about-fastly-vcl). Only what acts on this stand-in's subset is generated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.standin.vcl.language import SUBROUTINES
from edgeguard.standin.vcl.lexer import continued
from edgeguard.standin.vcl.parser import parse_alone
from edgeguard.standin.vcl.syntax import Place, VclError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

TYPES = ("init", *SUBROUTINES, "none")
GENERATED = "generated"
"""The place that the compiler's messages name for a problem in generated text."""

_DICTIONARY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MACRO = re.compile(r"\s*#\s*FASTLY ([a-z]+)\s*", re.IGNORECASE)
_SUB = re.compile(r"^sub vcl_([a-z]+)", re.MULTILINE)
_INCLUDE = re.compile(r'\s*include\s+"([^"]+)"\s*;\s*')
_TEXT = Path(__file__).with_name("generated.vcl")
MAIN = "main"
"""The place that the compiler's messages name for a problem in a custom VCL file."""

_BEFORE_SNIPPETS = {
    "recv": "declare local var.fastly_req_do_shield BOOL;\nset var.fastly_req_do_shield = (req.restarts == 0);",
    "hash": "# support purge all\nset req.hash += req.vcl.generation;",
    "hit": (
        "# vcl_deliver cannot read these two\n"
        "set req.http.Fastly-Tmp-Obj-TTL = obj.ttl;\n"
        "set req.http.Fastly-Tmp-Obj-Grace = obj.grace;\n"
        'set req.http.Fastly-Cachetype = "HIT";'
    ),
    "miss": (
        "# what vcl_hit may have set\n"
        "unset req.http.Fastly-Tmp-Obj-TTL;\n"
        "unset req.http.Fastly-Tmp-Obj-Grace;\n"
        'if (req.http.Fastly-Check-SHA1) {\n  error 550 "Doesnt exist";\n}\n'
        'set req.http.Fastly-Cachetype = "MISS";'
    ),
    "pass": 'set req.http.Fastly-Cachetype = "PASS";',
    "deliver": (
        "# If we are not forwarding or debugging, the surrogate headers are not for the visitor\n"
        "if (!req.http.Fastly-FF && !req.http.Fastly-Debug) {\n"
        "  unset resp.http.Surrogate-Key;\n"
        "  unset resp.http.Surrogate-Control;\n"
        "}"
    ),
}
"""The VCL that Fastly generates into a macro ahead of the snippets."""
_AFTER_SNIPPETS = {
    "error": (
        "if (req.http.Fastly-Restart-On-Error) {\n"
        "  if (obj.status == 503 && req.restarts == 0) {\n"
        "    restart;\n"
        "  }\n"
        "}\n"
        "if (obj.status == 550) {\n"
        "  return(deliver);\n"
        "}"
    ),
}
"""The VCL that Fastly generates into a macro behind the snippets."""
_SERVE_STALE = {
    "fetch": (
        "# serve stale\n"
        "if (beresp.status >= 500 && beresp.status < 600) {\n"
        "  if (stale.exists) {\n"
        "    return(deliver_stale);\n"
        "  }\n"
        '  if (req.restarts < 1 && (req.request == "GET" || req.request == "HEAD")) {\n'
        "    restart;\n"
        "  }\n"
        "}\n"
        "set beresp.stale_if_error = SERVE_STALEs;"
    ),
    "error": (
        "# serve stale\nif (obj.status >= 500 && obj.status < 600 && stale.exists) {\n  return(deliver_stale);\n}"
    ),
}
"""The VCL that Fastly generates before all else in a macro where general.stale_if_error is on. It is as in generated
VCL that was published (github.com/thechangelog/changelog.com, fly.io/cdn-2024-01-26)."""


@dataclass(frozen=True)
class Snippet:
    """A VCL snippet as the API holds it. Snippets of one type run by priority, the lowest first, and then by name."""

    name: str
    type: str
    content: str
    priority: int


@dataclass(frozen=True)
class Source:
    """A VCL text, and the place that each of its lines comes from."""

    text: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Own:
    """The VCL of a service's own.

    `main` is a custom VCL file in place of the generated text, and snippets go only where it has Fastly's macros. A
    subroutine that it lacks is generated (Fastly's documentation does not say what happens then). `files` are the other
    VCL files, by name: they are only used where an `include` names them.
    """

    snippets: tuple[Snippet, ...] = ()
    main: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def assemble(own: Own, dictionaries: Iterable[str], *, default_ttl: int, serve_stale: int | None = None) -> Source:
    """The whole VCL. The same service gives the same text.

    `serve_stale` is general.stale_if_error_ttl where general.stale_if_error is on, else None.

    Raises:
        VclError: a snippet's type or a dictionary's name is not valid, a snippet is not whole by itself, or nothing has
            the name that an `include` names.
    """
    names = list(dictionaries)
    wrong = [
        f"{GENERATED}:1: the dictionary's name {name!r} is no VCL identifier"
        for name in names
        if _DICTIONARY.fullmatch(name) is None
    ]
    texts = _Texts(own, _generated(serve_stale))
    for snippet in own.snippets:
        wrong += texts.wrong(snippet)
    if wrong:
        raise VclError(wrong)
    lines = list(texts.lines(names, default_ttl))
    return Source("\n".join(line for line, _ in lines) + "\n", (*(at for _, at in lines), lines[-1][1]))


def _generated(serve_stale: int | None) -> dict[str, str]:
    """The text of each macro ahead of the snippets, by its name."""
    if serve_stale is None:
        return _BEFORE_SNIPPETS
    return _BEFORE_SNIPPETS | {at: text.replace("SERVE_STALE", str(serve_stale)) for at, text in _SERVE_STALE.items()}


class _Texts:
    """The texts of a service, line by line, each line with its place. Includes are replaced by what they name."""

    def __init__(self, own: Own, before: Mapping[str, str]) -> None:
        self._own = own
        self._before = before
        self._snippets = sorted(own.snippets, key=lambda snippet: (snippet.priority, snippet.name))

    def wrong(self, snippet: Snippet) -> list[str]:
        """The compiler's messages on a snippet by itself."""
        if snippet.type not in TYPES:
            return [f"{snippet.name}:1: {snippet.type!r} is not a type of snippet"]
        if snippet.type != "none":
            try:
                lines, places = zip(*self._whole(snippet.name, snippet.content), strict=True)
                parse_alone("\n".join(lines), places, declarations=snippet.type == "init")
            except VclError as refused:
                return refused.messages
        return []

    def lines(self, dictionaries: Sequence[str], default_ttl: int) -> Iterator[tuple[str, Place]]:
        """The whole VCL."""
        at = Place(GENERATED, 1)
        for name in dictionaries:
            for line in (f"table {name} {{", "  # REDACTED dictionary content", "}", ""):
                yield line, at
        yield from self._filled("init")
        main = list(self._whole(MAIN, self._own.main)) if self._own.main is not None else []
        yield from self._with_macros(main)
        yield from self._with_macros(_lacking("\n".join(line for line, _ in main), default_ttl))

    def _with_macros(self, lines: list[tuple[str, Place]]) -> Iterator[tuple[str, Place]]:
        inside = continued("\n".join(line for line, _ in lines))
        for number, (line, place) in enumerate(lines):
            macro = None if number in inside else _MACRO.fullmatch(line)
            if macro is None:
                yield line, place
                continue
            name = macro[1].lower()
            yield f"#--FASTLY {name.upper()} BEGIN", Place(GENERATED, 1)
            yield from _of_macro(name, self._before)
            yield from self._filled(name)
            yield from _of_macro(name, _AFTER_SNIPPETS)
            yield f"#--FASTLY {name.upper()} END", Place(GENERATED, 1)

    def _filled(self, kind: str) -> Iterator[tuple[str, Place]]:
        for snippet in self._snippets:
            if snippet.type == kind:
                yield f"# Snippet {snippet.name} : {snippet.priority}", Place(snippet.name, 1)
                yield from self._whole(snippet.name, snippet.content)

    def _whole(self, name: str, text: str, within: frozenset[str] = frozenset()) -> Iterator[tuple[str, Place]]:
        """A text with what it includes. Raises VclError."""
        inside = continued(text)
        for number, line in enumerate(text.split("\n")):
            place = Place(name, number + 1)
            include = None if number in inside else _INCLUDE.fullmatch(line)
            if include is None:
                yield line, place
                continue
            included = self._included(include[1])
            if included is None or include[1] in within:
                raise place.error(f'nothing can be included here as "{include[1]}"')
            yield from self._whole(include[1], included, within | {include[1]})

    def _included(self, name: str) -> str | None:
        """The text that an include names: another VCL file, or a snippet of the type "none"."""
        kind, _, named = name.partition("::")
        if kind == "snippet":
            kept = (one.content for one in self._own.snippets if one.type == "none" and one.name == named)
            return next(kept, None)
        return self._own.files.get(name)


def _of_macro(name: str, texts: Mapping[str, str]) -> Iterator[tuple[str, Place]]:
    for line in texts.get(name, "").splitlines():
        yield f"  {line}", Place(f"macro {name}", 1)


def _lacking(main: str, default_ttl: int) -> list[tuple[str, Place]]:
    """The generated subroutines that a main file lacks."""
    text = _TEXT.read_text(encoding="utf-8").replace("{{default_ttl}}", str(default_ttl))
    own = set(_SUB.findall(main))
    found, wanted = [], True
    for number, line in enumerate(text.splitlines(), 1):
        if begins := _SUB.match(line):
            wanted = begins[1] not in own
        if wanted:
            found.append((line, Place(GENERATED, number)))
    return found
