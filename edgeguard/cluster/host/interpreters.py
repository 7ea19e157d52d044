"""The interpreters that run what an image has, and the compiled modules that each of them loads."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where an interpreter is looked for that the image's toolchain has not."""
TAG = re.compile(r"\.((?:cpython-|pypy)[^.]+)\.so$")
"""In the name of a module that only one version of Python can import."""
_ELF = b"\x7fELF"
_VERSION = re.compile(r"^version(?:_info)? *= *(\d+\.\d+)", re.MULTILINE)
_PYTHON = """
import ctypes, json, sys
from importlib.machinery import EXTENSION_SUFFIXES
print(json.dumps([sys.version.split()[0], EXTENSION_SUFFIXES]))
"""
_NODE = "console.log(JSON.stringify([process.versions.node, []]))"
# Both read a JSON list of paths. For each they say its number, and then whether it was loaded.
_PYTHON_LOADS = """
import ctypes, json, os, sys
def say(*words):
    os.write(1, ("\\n" + json.dumps(words) + "\\n").encode())
for number, path in enumerate(json.load(sys.stdin)):
    say(number)
    try:
        ctypes.CDLL(path, mode=os.RTLD_NOW)
    except OSError as exc:
        say(number, str(exc))
    else:
        say(number, "")
os._exit(0)
"""
_NODE_LOADS = """
const fs = require("fs"), now = require("os").constants.dlopen.RTLD_NOW
const say = (...words) => fs.writeSync(1, "\\n" + JSON.stringify(words) + "\\n")
JSON.parse(fs.readFileSync(0, "utf8")).forEach((path, number) => {
  say(number)
  try {
    process.dlopen({exports: {}}, path, now)
    say(number, "")
  } catch (error) {
    say(number, String(error.message))
  }
})
process.reallyExit(0)
"""


@dataclass(frozen=True)
class Interpreter:
    """A program that runs what an image has. `wanted` is the version for which its packages were installed, "" where
    nothing says. One that is `needed` has to be there, also where it loads no modules."""

    language: str
    path: Path
    wanted: str = ""
    needed: bool = True

    @property
    def name(self) -> str:
        """The language, for people."""
        return {"python": "Python", "node": "Node.js"}[self.language]

    def asks(self) -> list[str]:
        """The command that tells its version, and the endings of the modules that it imports."""
        return [str(self.path), *(("-I", "-S", "-c", _PYTHON) if self.language == "python" else ("-e", _NODE))]

    def loads(self) -> list[str]:
        """The command that loads modules."""
        loads = ("-I", "-S", "-c", _PYTHON_LOADS) if self.language == "python" else ("-e", _NODE_LOADS)
        return [str(self.path), *loads]


def find(image: Path, lines: Sequence[Sequence[str]]) -> Iterator[tuple[Interpreter, list[Path]]]:
    """Every interpreter of an image, and the compiled modules that it loads.

    What lies in no virtual environment is for the toolchain's interpreter, and where there is none, for the system's.
    """
    there = {path for _, _, _, path in lines}
    homes = [path.rpartition("/")[0] for path in there if path.endswith("/pyvenv.cfg")]
    found: dict[str, tuple[Interpreter, list[Path]]] = {}
    for home in sorted(homes):
        found[home] = Interpreter("python", image / home / "bin" / "python", _installed_for(image / home)), []
    for language, names in (("python", ("python", "python3")), ("node", ("node",))):
        own = [image / "toolchain/bin" / name for name in names if f"toolchain/bin/{name}" in there]
        program = own[0] if own else Path(shutil.which(names[-1], path=PATH) or f"/usr/bin/{names[-1]}")
        rest = found.pop("toolchain", None) if language == "python" else None
        found[language] = rest or (Interpreter(language, program, needed=bool(own)), [])
    for _, kind, _, path in lines:
        if kind == "file" and path.endswith((".so", ".node")) and _is_compiled(image / path):
            above = [str(parent) for parent in PurePosixPath(path).parents]
            home = next((parent for parent in above if parent in found), "python")
            interpreter, modules = found["node" if path.endswith(".node") else home]
            if home != "python" or interpreter.needed or path.endswith(".node") or TAG.search(path):
                modules.append(image / path)
    yield from ((interpreter, modules) for interpreter, modules in found.values() if modules or interpreter.needed)


def _installed_for(home: Path) -> str:
    """The version of Python for which a virtual environment was made; "" where it does not say."""
    with suppress(OSError, UnicodeDecodeError):
        said = _VERSION.search((home / "pyvenv.cfg").read_text(encoding="utf-8"))
        return said[1] if said else ""
    return ""


def _is_compiled(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_ELF)) == _ELF
    return False
