"""A service's whole VCL: Fastly's boilerplate, its macros filled with the snippets, its dictionaries as tables.

Only what acts on this stand-in's subset is generated; Fastly's own text has more (debug headers, shielding, image
optimizer, logging, backends). Fastly: guides/full-site-delivery/fastly-vcl/about-fastly-vcl, which has the boilerplate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.standin.vcl.language import SUBROUTINES
from edgeguard.standin.vcl.parser import parse_alone
from edgeguard.standin.vcl.syntax import Place, VclError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

TYPES = ("init", *SUBROUTINES, "none")
BOILERPLATE = "boilerplate"
"""The place that the compiler's messages name for a problem in generated text."""

_DICTIONARY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MACRO = re.compile(r"\s*#\s*FASTLY ([a-z]+)\s*", re.IGNORECASE)
_SUB = re.compile(r"^sub vcl_([a-z]+)", re.MULTILINE)
MAIN = "main"
"""The place that the compiler's messages name for a problem in a custom VCL file."""

_TEXT = """\
sub vcl_recv {
#FASTLY recv
  # Normally, requests other than GET and HEAD are not to be cached (and FASTLYPURGE is Fastly's own).
  if (req.method != "HEAD" && req.method != "GET" && req.method != "FASTLYPURGE") {
    return(pass);
  }
  return(lookup);
}

sub vcl_hash {
  set req.hash += req.url;
  set req.hash += req.http.host;
#FASTLY hash
  return(hash);
}

sub vcl_hit {
#FASTLY hit
  return(deliver);
}

sub vcl_miss {
#FASTLY miss
  return(fetch);
}

sub vcl_pass {
#FASTLY pass
  return(pass);
}

sub vcl_fetch {
#FASTLY fetch
  if (req.restarts > 0) {
    set beresp.http.Fastly-Restarts = req.restarts;
  }
  if (beresp.http.Set-Cookie) {
    return(pass);
  }
  # The TTL is set from the headers before this point, but private and no-store are not minded there.
  if (beresp.http.Cache-Control ~ "(?:private|no-store)") {
    return(pass);
  }
  if (!beresp.http.Expires && !beresp.http.Surrogate-Control ~ "max-age"
      && !beresp.http.Cache-Control ~ "(?:s-maxage|max-age)") {
    set beresp.ttl = DEFAULT_TTLs;
  }
  return(deliver);
}

sub vcl_error {
#FASTLY error
  return(deliver);
}

sub vcl_deliver {
#FASTLY deliver
  return(deliver);
}

sub vcl_log {
#FASTLY log
}
"""

_BEFORE_SNIPPETS = {
    "hash": "# support purge all\nset req.hash += req.vcl.generation;",
    "deliver": (
        "# If we are not forwarding or debugging, the surrogate headers are not for the visitor\n"
        "if (!req.http.Fastly-FF && !req.http.Fastly-Debug) {\n"
        "  unset resp.http.Surrogate-Key;\n"
        "  unset resp.http.Surrogate-Control;\n"
        "}"
    ),
}
"""The VCL that Fastly generates into a macro ahead of the snippets."""
_SERVE_STALE = {
    "fetch": (
        "# serve stale\n"
        "if (beresp.status >= 500 && beresp.status < 600) {\n"
        "  if (stale.exists) {\n"
        "    return(deliver_stale);\n"
        "  }\n"
        '  if (req.restarts < 1 && (req.method == "GET" || req.method == "HEAD")) {\n'
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


def assemble(
    snippets: Iterable[Snippet],
    dictionaries: Iterable[str],
    *,
    default_ttl: int,
    main: str | None = None,
    serve_stale: int | None = None,
) -> Source:
    """The generated VCL. The same service gives the same text.

    `main` is a custom VCL file. It replaces the boilerplate, and snippets go only where it has Fastly's macros. A
    subroutine that it lacks is taken from the boilerplate (Fastly's documentation does not say what happens then).
    `serve_stale` is general.stale_if_error_ttl where general.stale_if_error is on, else None.

    Raises:
        VclError: a snippet's type or a dictionary's name is not valid, or a snippet is not whole by itself.
    """
    ordered = sorted(snippets, key=lambda snippet: (snippet.priority, snippet.name))
    names = list(dictionaries)
    wrong = [
        f"{BOILERPLATE}:1: the dictionary's name {name!r} is no VCL identifier"
        for name in names
        if _DICTIONARY.fullmatch(name) is None
    ]
    for snippet in ordered:
        wrong += _wrong(snippet)
    if wrong:
        raise VclError(wrong)
    lines = list(_lines(ordered, names, _text(default_ttl, main), _generated(serve_stale)))
    return Source("\n".join(line for line, _ in lines) + "\n", (*(at for _, at in lines), lines[-1][1]))


def _wrong(snippet: Snippet) -> list[str]:
    if snippet.type not in TYPES:
        return [f"{snippet.name}:1: {snippet.type!r} is not a type of snippet"]
    if snippet.type != "none":
        try:
            parse_alone(snippet.content, _places(snippet), declarations=snippet.type == "init")
        except VclError as refused:
            return refused.messages
    return []


def _places(snippet: Snippet) -> list[Place]:
    return [Place(snippet.name, number) for number in range(1, snippet.content.count("\n") + 2)]


def _lines(
    snippets: Sequence[Snippet],
    dictionaries: Sequence[str],
    text: Iterable[tuple[str, Place]],
    generated: Mapping[str, str],
) -> Iterator[tuple[str, Place]]:
    at = Place(BOILERPLATE, 1)
    for name in dictionaries:
        for line in (f"table {name} {{", "  # REDACTED dictionary content", "}", ""):
            yield line, at
    yield from _filled("init", snippets)
    for line, place in text:
        macro = _MACRO.fullmatch(line)
        if macro is None:
            yield line, place
            continue
        yield f"#--FASTLY {macro[1].upper()} BEGIN", at
        for before in generated.get(macro[1], "").splitlines():
            yield f"  {before}", Place(f"macro {macro[1]}", 1)
        yield from _filled(macro[1], snippets)
        yield f"#--FASTLY {macro[1].upper()} END", at


def _generated(serve_stale: int | None) -> dict[str, str]:
    """The text of each macro, by its name."""
    if serve_stale is None:
        return _BEFORE_SNIPPETS
    return _BEFORE_SNIPPETS | {at: text.replace("SERVE_STALE", str(serve_stale)) for at, text in _SERVE_STALE.items()}


def _text(default_ttl: int, main: str | None) -> Iterator[tuple[str, Place]]:
    """The text around the macros: the boilerplate, or a custom file with the subroutines that it lacks."""
    boilerplate = _TEXT.replace("DEFAULT_TTL", str(default_ttl))
    own = set(_SUB.findall(main or ""))
    for number, line in enumerate((main or "").splitlines(), 1):
        yield line, Place(MAIN, number)
    wanted = True
    for number, line in enumerate(boilerplate.splitlines(), 1):
        if begins := _SUB.match(line):
            wanted = begins[1] not in own
        if wanted:
            yield line, Place(BOILERPLATE, number)


def _filled(kind: str, snippets: Sequence[Snippet]) -> Iterator[tuple[str, Place]]:
    for snippet in snippets:
        if snippet.type == kind:
            yield f"# Snippet {snippet.name} : {snippet.priority}", Place(snippet.name, 1)
            yield from zip(snippet.content.split("\n"), _places(snippet), strict=True)
