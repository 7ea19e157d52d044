"""A host with an sshd of its own, and the law that nothing of a connection stays behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.ssh import sshd

if TYPE_CHECKING:
    from collections.abc import Iterator


def of_this_process() -> tuple[set[str], set[threading.Thread], set[int]]:
    """Its descriptors with what they lead to, its threads, and the processes that it has started."""
    descriptors = {f"{path.name} {path.readlink()}" for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    return descriptors, set(threading.enumerate()), set(sshd.processes_of(os.getpid()))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[sshd.Host]:
    """A host; at the end of the test this process has nothing that it did not have at its begin."""
    with sshd.host(tmp_path) as started:
        descriptors, threads, processes = of_this_process()
        processes -= started.processes()
        yield started
        ours = started.processes()  # looked at first: sshd's own may be ending
        left_descriptors, left_threads, left = of_this_process()
        assert (left_descriptors, left_threads, left - ours) == (descriptors, threads, processes)
