"""The world around a driver: its servers, the generations that are deployed to them, and what may happen to them."""

from __future__ import annotations

import http.client
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, Self

import pytest

from edgeguard.cluster import Cluster, Generation, Runs, Task, User, load
from edgeguard.testing import images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

SERVERS = ("web1", "web2", "web3")
"""The servers' names in every test. A driver's own options say which machine each of them is."""


class World:
    """Three servers behind a driver, fresh for each test. Make a class of this one, and fill in what your driver needs.

    `start`, `settings` and `end` have to be filled in. `again` and `generation` do for most drivers as they are. The
    other methods are optional, and `shell` is the one to begin with, since most of them do for any driver that has it.

    A world is a context: it starts when it is entered, and ends when it is left, also where a test fails.
    """

    address: tuple[str, int]
    """Where visitors reach the site: the gate's host and port. `start` sets it."""
    python = sys.executable
    """The path of a Python, 3.9 or newer, on the servers. The small application of the tests runs on it."""
    user = "nobody"
    """A user of the servers who is not the one as whom the driver works there."""

    def __init__(self, driver: str, folder: Path) -> None:
        """`driver` is the name to test; `folder` is empty, on this machine, and this test's own."""
        self.driver = driver
        self.folder = folder

    @property
    def cluster(self) -> Cluster:
        """The driver that is tested. It is the same object throughout a test."""
        return self._cluster

    def __enter__(self) -> Self:
        self.start()
        try:
            self._cluster = self.again()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end()

    # To be filled in

    def start(self) -> None:
        """Make three servers ready, web1 to web3, to which nothing was deployed, and set `address`.

        This may well be a machine that earlier tests used, of which everything was removed that they left.
        """
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The table [cluster] of an environment with these servers, `root` and `options` above all.

        The suite sets `servers` itself, `health_path` (/health), `start_timeout` (10 s) and `drain_timeout` (5 s).
        """
        raise NotImplementedError

    def end(self) -> None:
        """Leave no process behind: no application, no gate, no hook."""
        raise NotImplementedError

    # These do for most drivers

    def again(self, **settings: object) -> Cluster:
        """A second driver object for the same servers, as another process or another machine would have it; with
        other settings, if a test names some."""
        return load(self.driver)("test", self.cluster_settings(**settings))

    def cluster_settings(self, **settings: object) -> Any:  # noqa: ANN401 (ClusterSettings; naming it would import it)
        """The settings of `again`, as edgeguard.settings.ClusterSettings."""
        from edgeguard.settings import ClusterSettings  # noqa: PLC0415 (heavy, and a pytest plugin is always loaded)

        waits = {"health_path": "/health", "start_timeout": 10, "drain_timeout": 5}
        return ClusterSettings(**{"driver": self.driver, "servers": SERVERS, **waits, **self.settings(), **settings})

    @property
    def releases(self) -> Path:
        """The folder on this machine where images are frozen. The driver has to have them at the same path there."""
        return self.folder / "releases"

    def generation(
        self,
        name: str,
        *,
        start: str | None = None,
        hooks: Mapping[str, str] | None = None,
        folders: Sequence[Path] = (),
        users: Sequence[User] = (),
        variables: Mapping[str, str] | None = None,
        socket: bool = False,
        user: str | None = None,
        workers: Mapping[str, str] | None = None,
        crons: Mapping[str, str] | None = None,
    ) -> Generation:
        """A generation with an image of its own, whose application answers `name` (edgeguard/testing/images.py).

        `start`, `hooks`, `workers` and `crons` are scripts for sh, which run in the application's folder. A worker has
        the variable ROLE, its name; a cron is due at every minute. With `socket`, the application
        listens on a unix socket. `user` is the user of the servers as whom it runs. The image is made once; a later
        call with the same name finds it.
        """
        image = self.releases / f"inputs-{name}"
        release = images.make(image, name)

        def command(script: str) -> tuple[str, ...]:
            return ("/bin/sh", "-c", script)

        return Generation(
            name=name,
            release=release,
            image=image,
            runs=Runs(
                folder=image / "app",
                start=command(start or self.serve),
                hooks={hook: command(script) for hook, script in (hooks or {}).items()},
                folders=tuple(folders),
                socket=socket,
                user=user,
                tasks=(
                    *(
                        Task(f"worker-{task}", command(script), variables={"ROLE": task})
                        for task, script in (workers or {}).items()
                    ),
                    *(
                        Task(f"cron-{task}", command(script), schedule="* * * * *", limit=3600)
                        for task, script in (crons or {}).items()
                    ),
                ),
            ),
            variables={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **(variables or {})},
            users=tuple(users),
        )

    @property
    def serve(self) -> str:
        """The script that starts the small application."""
        return f"exec {self.python} -I -S {images.PROGRAM}"

    # Optional. A test that needs one of them which is not filled in is skipped.

    @property
    def scratch(self) -> str:
        """A folder that is there on every server, under this path, empty, where the application may write. Servers
        may share it. Tests note there what a hook or an application did, and read it through `shell`."""
        self._missing("scratch", "a folder on the servers where the application may write")

    def shell(self, server: str, script: str) -> str:
        """Run a script for sh on a server. Returns what it wrote to its standard output; how it ended doesn't matter.

        It may read and signal the application's processes, and write in `scratch` and in images.
        """
        del server, script
        self._missing("shell", "run a script on a server")

    def break_swap(self, server: str) -> Callable[[], None]:
        """Make every swap to another generation fail on this server, and on no other, before it changes anything. The
        function that is returned mends that."""
        del server
        self._missing("break_swap", "make a swap fail on one server")

    def end_supervisor(self, server: str) -> None:
        """End the program that starts this server's dead web process again, as a crash would (SIGKILL). It stays
        dead when this returns."""
        del server
        self._missing("end_supervisor", "end the program that starts a dead web process again")

    def end_gate(self) -> None:
        """End the gate, as a crash would (SIGKILL). It stays dead when this returns."""
        self._missing("end_gate", "end the gate")

    def _missing(self, method: str, does: str) -> NoReturn:
        kind = type(self)
        pytest.skip(f"{kind.__module__}.{kind.__qualname__} does not fill in `{method}`: {does}")

    # What the tests do with these

    def ask(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], str]:
        """A visitor's request, over a new connection: status, headers (names in lower case), body."""
        return ask(self.address, path, method=method, body=body, headers=headers)

    def ask_all(self, path: str) -> dict[str, str]:
        """What each server answers to this path, through the gate."""
        answers: dict[str, str] = {}

        def all_answered() -> bool:
            status, headers, text = self.ask(path)
            assert status == 200  # noqa: PLR2004 (the one good answer)
            answers[headers["x-server"]] = text
            return len(answers) == len(self.cluster.servers)

        until(all_answered, f"the gate lets requests through to each of {', '.join(self.cluster.servers)}")
        return answers

    def noted(self, name: str) -> str:
        """What every server has in the file `name.SERVER` of `scratch`, together."""
        return "".join(
            self.shell(server, f"cat {self.scratch}/{name}.{server} 2>/dev/null") for server in self.cluster.servers
        )

    def exists(self, name: str) -> bool:
        """Whether any server has this file in `scratch`."""
        return any(self.shell(server, f"[ -e {self.scratch}/{name} ] && echo there") for server in SERVERS)

    def touch(self, name: str) -> None:
        """Make this file in `scratch`, on every server."""
        for server in SERVERS:
            self.shell(server, f"touch {self.scratch}/{name}")

    def end_web_process(self, server: str) -> None:
        """End this server's web process, as a crash would (SIGKILL). The gate is open."""
        self.shell(server, f"kill -9 {self.ask_all('/pid')[server]}")


def ask(
    address: tuple[str, int],
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, str], str]:
    """One request over a new connection: status, headers (names in lower case), body."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text
    finally:
        connection.close()


def until(true: Callable[[], bool], what: str, limit: float = 20) -> None:
    """Poll until something is true; `limit` in seconds."""
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)
