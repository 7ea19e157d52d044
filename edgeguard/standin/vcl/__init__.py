"""The part of Fastly VCL that policies like ours need: a compiler and an interpreter for a service's snippets.

`compile_service` puts the snippets into the VCL that Fastly generates (assemble), parses it (lexer, parser, syntax),
refuses what Fastly's compiler refuses (check, callgraph, expressions, over the one table in language), and makes
closures of the rest (run, variables, functions, regex). `Program.run` then executes one subroutine for one request.

The subset is closed: the compiler refuses everything that is not in `language`, and ignores nothing. It has

- snippets of all types; those of type `none`, and VCL files beside the main one, are where an `include` on a line of
  its own names them;
- `sub` without parameters or result, `call`, `declare local`, `set` (with `+=` and the other arithmetic assignments),
  `add`, `unset`/`remove`, `std.collect`, `if` with `else if`/`elsif`/`elseif`/`else`, blocks, `return`, `error`,
  `restart`, `synthetic`;
- comments `#`, `//`, `/* */`; strings "…" (with %XX), {"…"} and {XYZ"…"XYZ}; INTEGER, FLOAT, RTIME and BOOL literals;
- concatenation by juxtaposition and by `+` (there is no arithmetic in expressions), `if(c, a, b)`, `( condition )`;
- `!`, `&&`, `||`, `==`, `!=`, `<`, `>`, `<=`, `>=`, `~`, `!~`;
- the variables, functions and states of `language`; dictionaries as tables of STRING.

Not in it, among much else: header sub-fields (`req.http.Cookie:name`), tables with content, ACLs, backends and
directors, `goto`, `log`, `esi`, functional subroutines, locals of type IP or REGEX, `declare block`.

Fastly's documentation leaves some questions about evaluation open: `Semantics` has a switch for each.
"""

from edgeguard.standin.vcl.assemble import Snippet
from edgeguard.standin.vcl.program import Program, compile_service
from edgeguard.standin.vcl.request import Headers, Request, Semantics, Value
from edgeguard.standin.vcl.syntax import VclError

__all__ = ["Headers", "Program", "Request", "Semantics", "Snippet", "Value", "VclError", "compile_service"]
