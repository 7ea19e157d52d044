"""What processes find in their environment, told without any value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.cli.say.variables import told
from edgeguard.cluster import Generation, Runs, Task
from edgeguard.cluster.host import environment, generations
from edgeguard.cluster.variables import source
from edgeguard.settings import ApplicationSettings

if TYPE_CHECKING:
    from pathlib import Path

SENTINEL = "sentinel-that-nobody-may-see"


def test_each_process_is_told_with_names_lengths_and_sources(tmp_path: Path) -> None:
    given: dict[str, Any] = {"env:password": {"from_env": "DB"}, "env:MODE": SENTINEL, "listed": "x"}
    settings = ApplicationSettings(repository="/r", branch="main", variables=given)
    tasks = (
        Task("worker-queue", ("true",), variables={"ROLE": SENTINEL}),
        Task("cron-tidy", ("true",), schedule="* * * * *"),
    )
    runs = Runs(tmp_path, ("true",), hooks={"deploy": ("true",)}, tasks=tasks)
    variables = {"PASSWORD": SENTINEL, "MODE": SENTINEL, "PLAIN": "ü", "PLATFORM_BRANCH": "main", "LANG": "C"}
    generations.put(tmp_path, Generation("one", "d", tmp_path, runs, variables))
    assert environment.sizes(tmp_path, "web1", 8888) == {}
    generations.prepare_link(tmp_path, "one")
    generations.make_current(tmp_path, "one")
    found = environment.sizes(tmp_path, "web1", 8888)

    assert list(found) == ["web", "worker queue", "cron tidy", "hook deploy"]
    own = {"PORT": 4, "EDGEGUARD_SERVER": 4}
    assert found["web"] == {"PASSWORD": 28, "MODE": 28, "PLAIN": 2, "PLATFORM_BRANCH": 4, "LANG": 1, **own}
    assert found["hook deploy"] == found["web"]
    assert "PORT" not in found["cron tidy"]
    assert [source(name, settings) for name in ("PASSWORD", "MODE", "PLAIN", "PLATFORM_BRANCH", "LANG")] == [
        "the variable DB of who deploys",
        "the environment's file",
        "the application, or what the environment's file said before",
        "edgeguard",
        "edgeguard, unless the application names it",
    ]
    processes = {
        who: {name: {"bytes": size, "from": source(name, settings)} for name, size in sizes.items()}
        for who, sizes in found.items()
    }
    said = told("production", "web1", processes)
    assert SENTINEL not in said
    assert "PASSWORD              28 bytes, from the variable DB of who deploys" in said
    assert "worker queue: as web, without PORT, and\n  ROLE      28 bytes" in said
    assert said.endswith("hook deploy: as web")
