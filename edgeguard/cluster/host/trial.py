"""Whether an image can run on this server: its interpreters start here, and its compiled modules can be loaded.

An image has its packages, but not its interpreters: a virtual environment leads to the Python of the machine, and
Node.js is a link to the machine's. Compiled modules need the C library and other libraries of the machine. What is
another one here is found by this, before anything closes.

A module is loaded by the system's loader and all its symbols are bound, in a process of its interpreter; no package is
imported, since that may do anything.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Callable

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import interpreters, manifest, strict_json
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edgeguard.cluster.host.interpreters import Interpreter

    Command = tuple[Sequence[str], Mapping[str, str], Sequence[int]]
    """What is run: argument vector, environment, and the descriptors that it inherits."""
    Around = Callable[[Sequence[str], Mapping[str, str]], AbstractContextManager[Command]]

SECONDS = 120.0
"""As long as this, the modules of one interpreter may take together."""
MOST = 100
"""So many faults are told."""
_SAID = 300  # characters of what a loader said
_ALONE = 20  # modules that are loaded once more, each in a process of its own
_START_SECONDS = 30.0
_BLOCKS = 8192  # of 512 bytes


@contextmanager
def _openly(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Command]:
    yield argv, env, ()


def try_out(image: Path, user: str | None = None, around: Around = _openly) -> dict[str, Any]:
    """What keeps an image from running here, and the versions that it would run with.

    {"faults": [[path in the image, what is wrong with it]], "versions": {path of an interpreter: its version}}. What
    can't be loaded where the image was built either is no fault of this server: compare.

    Args:
        image: its folder.
        user: who runs the application, None where that is this process's user.
        around: what secludes a command, for who does not trust what is in the image.

    Raises:
        HostError: the image can't be read; or there is no such user, or this process can't become it (NO_ACCOUNT).
    """
    try:
        lines = list(manifest.lines((image / "manifest").read_text(encoding="utf-8")))
    except (OSError, ValueError) as exc:
        raise HostError(f"the manifest of {image} can't be read", "Deploy again; the image is sent again.") from exc
    account = accounts.to_become(user)
    trial = _Trial(account.identity if account else {}, around)
    faults = dict(_broken_links(image, lines))
    versions: dict[str, str] = {}
    for interpreter, modules in interpreters.find(image, lines):
        shown = _shown(image, interpreter.path)
        if shown in faults:
            continue
        version, endings, said = trial.start(interpreter)
        if said:
            faults[shown] = said
            continue
        versions[shown] = version
        said_of = trial.load(interpreter, endings, modules)
        faults.update({_shown(image, path): said for path, said in said_of.items()})
    return {"faults": [list(fault) for fault in faults.items()][:MOST], "versions": versions}


def _shown(image: Path, path: Path) -> str:
    return path.relative_to(image).as_posix() if path.is_relative_to(image) else path.name


def _broken_links(image: Path, lines: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
    """The links of the toolchain and of virtual environments that lead to nothing here, one for each target."""
    homes = {path.rpartition("/")[0] for _, _, _, path in lines if path.endswith("/pyvenv.cfg")} | {"toolchain"}
    told = set()
    for _, kind, _, path in lines:
        if kind == "link" and path.partition("/bin/")[0] in homes and not (image / path).exists():
            target = os.path.realpath(image / path)
            if target not in told:
                told.add(target)
                yield path, f"leads to {target}, which is not there"


class _Trial:
    """Runs interpreters on this server, as one user, until a deadline for each."""

    def __init__(self, identity: dict[str, Any], around: Around) -> None:
        self._identity = identity
        self._around = around

    def start(self, interpreter: Interpreter) -> tuple[str, list[str], str]:
        """The version, the endings of the modules that it imports, and what is wrong with it ("": nothing)."""
        if not interpreter.path.exists():
            return "", [], f"is needed, and {interpreter.name} is not installed"
        code, said, errors = self._run(interpreter.asks(), "", _START_SECONDS)
        try:
            version, endings = strict_json.read(said)
        except (ValueError, TypeError):
            how = "does not start" if code is not None else f"does not start within {_START_SECONDS:.0f} s"
            return "", [], f"{how}: {_short(errors.strip().rpartition(chr(10))[2]) or f'it ends with code {code}'}"
        if interpreter.wanted and interpreter.wanted.split(".")[:2] != version.split(".")[:2]:
            return version, [], f"is Python {version}, and its packages are for Python {interpreter.wanted}"
        return version, endings, ""

    def load(self, interpreter: Interpreter, endings: Sequence[str], modules: Sequence[Path]) -> dict[Path, str]:
        """The modules that can't be loaded, and why. One is told only if it can't be loaded alone either."""
        faults: dict[Path, str] = {}
        fitting = []
        for path in modules:
            tag = interpreters.TAG.search(path.name)
            if tag and tag[0] not in endings:
                faults[path] = f"is for {tag[1]}, and {interpreter.path.name} is another Python"
            else:
                fitting.append(path)
        deadline = time.monotonic() + SECONDS
        for count, (path, said) in enumerate(self._load(interpreter, fitting, deadline).items()):
            again = {path: said} if count >= _ALONE else self._load(interpreter, [path], deadline)
            faults.update(again)
        return faults

    def _load(self, interpreter: Interpreter, modules: Sequence[Path], deadline: float) -> dict[Path, str]:
        """The same, in one process as long as none ends it."""
        faults: dict[Path, str] = {}
        left = list(modules)
        while left and len(faults) < MOST:
            limit = max(deadline - time.monotonic(), 1.0)
            code, said, _ = self._run(interpreter.loads(), json.dumps([str(path) for path in left]), limit)
            heard = dict(_heard(said))
            for number, why in heard.items():
                if why:
                    faults[left[number]] = f"can't be loaded: {_short(why.replace(f'{left[number]}: ', ''))}"
            left = left[len(heard) :]
            if left:
                ended = f"its loading ends the process ({_ending(code)})"
                faults[left.pop(0)] = f"can't be loaded within {limit:.0f} s" if code is None else ended
        return faults

    def _run(self, argv: Sequence[str], given: str, limit: float) -> tuple[int | None, str, str]:
        """The exit code (None: it was ended at the limit) and the output. It may write no large file, and no core."""
        limited = ["/bin/sh", "-c", f'ulimit -c 0; ulimit -f {_BLOCKS}; exec "$@"', "sh", *argv]
        env = {"PATH": interpreters.PATH, "HOME": "/", "LANG": "C.UTF-8"}
        with ExitStack() as stack:
            said, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            command, environment, inherited = stack.enter_context(self._around(limited, env))
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=errors,
                cwd="/",
                env=environment,
                pass_fds=inherited,
                start_new_session=True,
                **self._identity,
            )
            with process, suppress(subprocess.TimeoutExpired):
                try:
                    process.communicate(given.encode(), timeout=limit)
                finally:
                    in_time = process.poll() is not None
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
            return process.returncode if in_time else None, _content(said), _content(errors)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _heard(said: str) -> Iterator[tuple[int, str]]:
    """What was said of modules, in their order, until one of which nothing was said. Modules may print between."""
    number = 0
    for line in said.split("\n"):
        with suppress(ValueError):
            told = strict_json.read(line)
            if isinstance(told, list) and len(told) == 2 and told[0] == number and isinstance(told[1], str):  # noqa: PLR2004
                yield number, told[1]
                number += 1


def _ending(code: int | None) -> str:
    with suppress(ValueError):
        return signal.Signals(-(code or 0)).name
    return f"exit code {code}"


def _short(said: str) -> str:
    return " ".join(said.split())[:_SAID]
