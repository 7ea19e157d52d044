"""The private toolchain of an image: this machine's programs for the application's language, first on PATH."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import manifest, strict_json
from edgeguard.errors import UsageError
from edgeguard.machine import process
from edgeguard.release import process_variables

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator

    from edgeguard.release.application import Application

# Prints the interpreter behind a shim or a virtual environment, its version, and the folders that it reads.
_PYTHON = """
import json, sys
prefixes = [sys.base_prefix, sys.base_exec_prefix]
print(json.dumps([getattr(sys, "_base_executable", sys.executable), sys.version.split()[0], prefixes]))
"""
# Makes the same as `python -m venv` in a sixth of the time, and also where Debian has left ensurepip out. It brings its
# own pip and ignores the user's settings.
_VIRTUALENV = (
    *(sys.executable, "-I", "-m", "virtualenv", "--quiet", "--no-periodic-update", "--no-vcs-ignore"),
    *("--activators", ""),
)
_NODE = "console.log(JSON.stringify([process.execPath, process.versions.node, []]))"


@dataclass(frozen=True)
class Tool:
    """A language on this machine. `program` is its interpreter, `npm` Node.js's package manager.

    `places` are the files and folders of this machine that it needs, at build time and later. `alias` is the name by
    which hooks may call an interpreter of the version that is wanted, where this one is of another.
    """

    language: str
    program: Path
    version: str
    npm: Path | None = None
    warning: str = ""
    places: tuple[Path, ...] = ()
    alias: str = ""

    def install(self, toolchain: Path, scratch: Path) -> list[list[str]]:
        """Put the language into the image's toolchain. Returns the commands that the caller has to run for the rest.

        The commands may write to `scratch`.
        """
        if self.language == "python":
            return [[*_VIRTUALENV, "--app-data", str(scratch), "--python", str(self.program), str(toolchain)]]
        manifest.make(toolchain / "bin")
        (toolchain / "bin" / "node").symlink_to(self.program)
        manifest.make(toolchain / process_variables.MACHINE)
        for found in _beside(self.npm):
            (toolchain / process_variables.MACHINE / found.name).symlink_to(found)
        return []

    def settle(self, toolchain: Path) -> None:
        """Give the toolchain, which `install` and its commands have made, the same content each time.

        virtualenv lists a package's files in whatever order a set has them.
        """
        for record in sorted(toolchain.glob("lib/python*/site-packages/*.dist-info/RECORD")):
            record.write_bytes(b"".join(sorted(record.read_bytes().splitlines(keepends=True))))
        if self.alias and not (toolchain / "bin" / self.alias).exists():
            (toolchain / "bin" / self.alias).symlink_to("python")


def find(application: Application) -> tuple[Tool, ...]:
    """The languages that the application's type and its dependencies need.

    If this machine has only another version than the type's, that one is used, with a warning: a rehearsal on a laptop
    with another version is better than none.

    Raises:
        UsageError: this machine has no version of a language.
    """
    version = application.type.partition(":")[2]
    found = []
    if application.language == "python" or "python3" in application.dependencies:
        found.append(_python(version if application.language == "python" else ""))
    if application.language == "nodejs" or "nodejs" in application.dependencies:
        found.append(_node(version if application.language == "nodejs" else ""))
    return tuple(found)


def _python(wanted: str) -> Tool:
    minor = ".".join(wanted.split(".")[:2])
    names = ([f"python{minor}"] if minor else []) + ["python3", sys.executable]
    others = []
    for program, version, prefixes in _installed(dict.fromkeys(names), _PYTHON, "-I", "-S", "-c"):
        tool = Tool("python", Path(program), version, places=(Path(program), *map(Path, prefixes)))
        if _fits(version, minor):
            return tool
        others.append(tool)
    if not others:
        raise UsageError("there is no Python to build with", "Install python3, and have it on PATH.")
    alias = f"python{minor}" if re.fullmatch(r"\d+(\.\d+)?", minor) else ""
    return replace(others[0], warning=_warn("python", minor, others[0].version), alias=alias)


def _node(wanted: str) -> Tool:
    found, npm = next(_installed(("node", "nodejs"), _NODE, "-e"), None), shutil.which("npm")
    if found is None or npm is None:
        raise UsageError("there is no Node.js with npm to build with", "Install node and npm, and have them on PATH.")
    program, version, _ = found
    return Tool(
        "nodejs",
        Path(program),
        version,
        npm=Path(npm).absolute(),
        warning=_warn("nodejs", wanted, version),
        places=tuple(place for found in (Path(program), *_beside(Path(npm).absolute())) for place in _of_node(found)),
    )


def _beside(npm: Path | None) -> list[Path]:
    """Node.js's package managers that are beside npm, npm itself included."""
    names = ("npm", "npx", "corepack") if npm is not None else ()
    return [found for name in names if npm is not None and (found := npm.with_name(name)).exists()]


def _of_node(program: Path) -> tuple[Path, ...]:
    """A program of Node.js and what it needs: `<package>/bin/x.js` its package, and `<prefix>/bin/node` its prefix."""
    real = program.resolve()
    prefix = real.parent.parent
    whole = real.parent.name == "bin" and ((prefix / "package.json").exists() or (prefix / "lib/node_modules").is_dir())
    return (program, prefix if whole else real)


def _installed(names: Iterable[str], script: str, *flags: str) -> Iterator[tuple[str, str, list[str]]]:
    """Program, version and folders of each of these that is on PATH, in their order. Each is asked when it is wanted: a
    shim in front of it may take a tenth of a second."""
    for name in names:
        if (path := shutil.which(name)) is None:
            continue
        answer = _ask(path, *flags, script)
        if answer.returncode == 0:
            program, version, folders = strict_json.read(answer.stdout)
            yield program, version, folders


def _ask(*argv: str) -> subprocess.CompletedProcess[bytes]:
    return process.answer(argv, env=process.environment())


def _fits(version: str, wanted: str) -> bool:
    return not wanted or f"{version}.".startswith(f"{wanted}.")


def _warn(language: str, wanted: str, version: str) -> str:
    return "" if _fits(version, wanted) else f"type: {language}:{wanted} is not on this machine, {version} is used"
