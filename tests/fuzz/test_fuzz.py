"""Each border reads or refuses whatever comes: faults that were found once, and a few of `scripts/fuzz`'s inputs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.fuzz.__main__ import play
from tests.fuzz.borders import BORDERS, Border
from tests.fuzz.corpus import CORPUS
from tests.fuzz.inputs import made


def test_every_border_has_a_corpus() -> None:
    assert CORPUS.keys() == BORDERS.keys()


@pytest.mark.parametrize("border", BORDERS)
def test_the_corpus_is_read_or_refused(border: str) -> None:
    assert play(border, list(CORPUS[border]))["faults"] == []


@pytest.mark.parametrize("border", BORDERS)
def test_the_seeds_are_read(border: str) -> None:
    told = play(border, list(BORDERS[border].seeds))
    assert (told.get("read"), told["faults"]) == (len(BORDERS[border].seeds), [])


@pytest.mark.parametrize("border", BORDERS)
def test_some_inputs_in_a_process_with_200_mib(border: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--child", "--only", border, "--inputs", "60", "--seed", "tests"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["faults"] == []


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, again, other = (list(made((b"a: 1", b"[1]"), 200, seed)) for seed in ("1", "1", "2"))
    assert first == again != other


def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BORDERS, "blind", Border(json.loads, (b"1",), ()))
    told = play("blind", [b"1", b"{"])
    assert (told["read"], len(told["faults"])) == (1, 1)
