"""The archive of `cluster/host`: the same bytes everywhere, the standard library alone, any Python from 3.9 on."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from edgeguard.cluster import archive, host
from edgeguard.cluster.host import compiled, files, generations, hooks

FOLDER = Path(host.__file__).parent
NAMES = ("python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14")


def pythons() -> dict[str, str]:
    """Every Python from 3.9 on that runs here, by its version. A version switcher has names on PATH that don't run."""
    switched = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python"))
    candidates = [sys.executable, *map(str, switched), *filter(None, map(shutil.which, NAMES))]
    found: dict[str, str] = {}
    for candidate in candidates:
        ran = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2], sep='.')"],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode == 0:
            found.setdefault(ran.stdout.strip(), candidate)
    return found


def test_the_archive_is_the_same_wherever_and_whenever_it_is_made(tmp_path: Path) -> None:
    copy = tmp_path / "site" / "edgeguard"
    shutil.copytree(FOLDER.parents[1], copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        os.utime(path, (0, 1_000_000_000))
        path.chmod(0o600)
    command = "import sys; from edgeguard.cluster import archive; sys.stdout.buffer.write(archive.content())"
    elsewhere = subprocess.run(
        [sys.executable, "-c", command],
        cwd=copy.parent,
        env={"PYTHONPATH": str(copy.parent)},
        capture_output=True,
        check=True,
    )

    assert elsewhere.stdout == archive.content()


def test_versions_lie_side_by_side_and_a_damaged_archive_is_replaced(tmp_path: Path) -> None:
    older = tmp_path / "host-0123456789abcdef.pyz"
    older.write_bytes(b"older")
    path = archive.put(tmp_path)
    path.chmod(0o644)
    path.write_bytes(b"damaged")

    assert archive.put(tmp_path) == path
    assert (path.read_bytes(), older.read_bytes()) == (archive.content(), b"older")


def test_it_imports_the_standard_library_and_itself_alone() -> None:
    imported = {
        name
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    foreign = {name for name in imported if not name.startswith("edgeguard.cluster.host")}

    assert {name.partition(".")[0] for name in foreign} <= sys.stdlib_module_names


def test_it_needs_nothing_that_python_3_9_lacks() -> None:
    """By vermin, which knows since when each name of the standard library exists; ruff knows the syntax."""
    vermin = [str(Path(sys.executable).with_name("vermin")), "--target=3.9-", "--no-tips", "--violations"]
    ran = subprocess.run([*vermin, str(FOLDER)], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout


def test_its_parents_in_the_archive_are_empty() -> None:
    with zipfile.ZipFile(BytesIO(archive.content())) as opened:
        assert [opened.read(f"{name}/__init__.py") for name in ("edgeguard", "edgeguard/cluster")] == [b"", b""]


@pytest.mark.parametrize("python", [pytest.param(path, id=version) for version, path in pythons().items()])
def test_every_python_from_3_9_on_runs_a_hook_from_it(tmp_path: Path, python: str) -> None:
    server, program = tmp_path / "web1", [python, *archive.program(archive.put(tmp_path / "host"))[1:]]
    runs = generations.Runs(tmp_path, ("true",), {"deploy": ("/bin/sh", "-c", 'echo "$WHO"; exit 3')})
    generations.put(server, generations.Generation("one", "digest", tmp_path, runs, {"WHO": "it is me"}))
    hooks.start(server, hooks.Order("one", "deploy", {}, 30, "nonce"), program)
    result = hooks.wait(server, "one", "deploy", cancelled=lambda: False, output=lambda _: None)

    assert result is not None
    assert (result.code, result.output) == (3, "it is me")
    assert files.read(hooks.ledger(server, "one", "deploy")) == json.loads(
        hooks.ledger(server, "one", "deploy").read_text(encoding="utf-8")
    )


def test_its_compiled_modules_run_in_place_of_their_sources(tmp_path: Path) -> None:
    *command, path = archive.program(archive.put(tmp_path / "host"))
    without_sources = tmp_path / "without-sources.pyz"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(without_sources, "w") as changed:
        for member in whole.infolist():
            is_source = member.filename.endswith(".py")
            changed.writestr(member, b"raise SystemExit('a source')" if is_source else whole.read(member))
    ran = subprocess.run([*command, without_sources], capture_output=True, text=True, check=False, timeout=30)

    assert ran.stderr.startswith("usage")


def test_where_it_cant_be_compiled_the_sources_run(tmp_path: Path) -> None:
    path = archive.put(tmp_path / "host")
    compiled.place(path).with_name(f".{compiled.place(path).name}.{os.getpid()}.tmp").mkdir()

    assert compiled.beside(path) == path


def test_an_unknown_word_is_refused(tmp_path: Path) -> None:
    ran = subprocess.run(
        archive.program(archive.put(tmp_path)), capture_output=True, text=True, check=False, timeout=30
    )

    assert ran.returncode != 0
    assert "usage" in ran.stderr
