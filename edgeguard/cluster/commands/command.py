"""How a command is run. Its facts are environment variables, never arguments, and its exit code is the answer."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgeguard import texts
from edgeguard.cluster.at_once import at_once
from edgeguard.cluster.host import files
from edgeguard.errors import ClusterError, Fenced
from edgeguard.machine import process
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeguard.cluster.commands.options import Options, Step

FENCED = 75
"""The exit code of a command that found another epoch in force (EX_TEMPFAIL in sysexits.h)."""
LARGEST = 4_000_000
"""Characters that a command may print. One that prints more is ended."""
SHELL = ("/bin/sh", "-c")
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")  # no tokens among them


class _TooMuch(process.Ended):
    """It printed more than LARGEST characters."""


def passed_on(options: Options) -> dict[str, str]:
    """The part of edgeguard's own environment that commands get: a few harmless variables, and those that are named."""
    return {name: os.environ[name] for name in (*_PASSED_ON, *options.environment) if name in os.environ}


@dataclass(frozen=True)
class Printed:
    """What a command printed, and for which server it ran (None: for all)."""

    server: str | None
    text: str


@dataclass(frozen=True)
class Commands:
    """The commands of one environment."""

    options: Options
    environment: str

    def per_server(self, step: Step) -> bool:
        """Whether the step runs once for each server: its command says EDGEGUARD_SERVER (and not only ..._SERVERS)."""
        return "EDGEGUARD_SERVER" in (self.options.command(step) or "").replace("EDGEGUARD_SERVERS", "")

    def facts(
        self, step: Step, facts: Mapping[str, str], servers: Sequence[str], server: str | None, limit: float
    ) -> dict[str, str]:
        """The variables of one run: the step's own, and those that every step has."""
        every = {"ENVIRONMENT": self.environment, "STEP": step, "LIMIT": f"{limit:g}", "SERVERS": " ".join(servers)}
        one = {} if server is None else {"SERVER": server}
        return {f"EDGEGUARD_{name}": value for name, value in {**facts, **every, **one}.items()}

    def each(
        self,
        step: Step,
        facts: Mapping[str, str],
        servers: Sequence[str],
        *,
        limit: float | None = None,
        more: float = 0.0,
    ) -> list[Printed]:
        """Run the step's command for each of these servers at the same time, or once for all of them."""
        if not self.per_server(step):
            return [Printed(None, self.run(step, facts, servers, limit=limit, more=more))]
        found: dict[str, str] = {}

        def one(server: str) -> None:
            found[server] = self.run(step, facts, servers, server=server, limit=limit, more=more)

        at_once([partial(one, server) for server in servers])
        return [Printed(server, found[server]) for server in servers]

    def run(
        self,
        step: Step,
        facts: Mapping[str, str],
        servers: Sequence[str],
        *,
        server: str | None = None,
        limit: float | None = None,
        more: float = 0.0,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> str:
        """Run the step's command to its end. Returns what it printed on standard output.

        The command may take `limit` seconds (None: as the file says), which it is told, and `more` seconds, which it is
        not told. Processes that it leaves in its session are ended with it.

        Raises:
            Fenced: it exited 75.
            ClusterError: it exited with another code than 0, took too long, printed too much, or can't be run. The
                message ends with the last lines of its output.
            process.Cancelled: `cancelled()` turned true.
        """
        command, folder = self.options.command(step), self.options.folder.absolute()
        limit = self.options.limit(step) if limit is None else limit
        name = f"{server}: {step}" if server else step
        printed: list[str] = []
        last: deque[str] = deque(maxlen=files.QUOTED)
        room = LARGEST

        def heard(line: str) -> None:
            nonlocal room
            last.append(line)
            room -= len(line) + 1
            if room < 0:
                raise _TooMuch

        def heard_output(line: str) -> None:
            printed.append(line)
            heard(line)

        def failed(what: str, remedy: str, kind: type[ClusterError] = ClusterError) -> ClusterError:
            said = files.quoted("it wrote", "\n".join(line[:500] for line in last))
            return kind(f"{name}: the command {_short(command or '')!r} {what}{said}", remedy, server=server)

        try:
            code = process.run(
                (*SHELL, command or "exit 1"),
                cwd=folder,
                env={**passed_on(self.options), **self.facts(step, facts, servers, server, limit)},
                limit=limit + more,
                cancelled=cancelled,
                output=heard_output,
                errors=heard,
            )
        except process.TimedOut as exc:
            raise failed(
                f"had not finished after {duration(limit + more)}, and was ended",
                f"See what it waits for, or raise cluster.options.limits.{step}.",
            ) from exc
        except _TooMuch as exc:
            raise failed(f"printed more than {LARGEST} characters, and was ended", "Let it say less.") from exc
        except OSError as exc:
            raise failed(f"can't be run in {folder}: {exc.strerror}", "Mend cluster.options.folder.") from exc
        if code == FENCED:
            raise failed(
                "says that another epoch is in force",
                "A newer holder of the lock is at work. Leave it alone, and see `edgeguard status`.",
                Fenced,
            )
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"exited {code}"
            raise failed(how, "Mend what it complains of, then try again: every step but the hook may be repeated.")
        return "\n".join(printed).removeprefix(texts.MARK)


def _short(command: str) -> str:
    first, _, rest = command.partition("\n")
    return f"{first[:80]}…" if rest or len(first) > 80 else first  # noqa: PLR2004 (a command on one line of an error)
