"""Arrows point down only: who may import whom, read from the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "edgeguard"
FILES = {
    ".".join(["edgeguard", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

# From the top down. A module imports from its own layer and from those below; a package is in the layer of its name.
# Names that are imported for types alone point where they like: an Environment is handed down, not opened below.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("standin",),
    ("environment",),
    ("recovery", "plan", "wrap", "hooks", "claims", "status", "lost", "doctor", "health", "by_hand", "installation"),
    ("deploy",),
    ("attempt",),
    ("steps",),
    ("readiness",),
    ("report",),
    ("cluster", "edge", "front_door", "purge", "visitors", "pages", "revalidation", "sitemap"),
    ("probe",),
    ("image",),
    ("build",),
    ("toolchain",),
    ("application", "source"),
    ("saga", "record"),
    ("journal", "renewal", "signals", "manifest", "patterns", "process", "seclusion", "settings"),
    ("moments", "redaction"),
    ("errors", "findings"),
)

# Foreign things, each with the one place that may touch it.
BORDERS = {
    "fastly": ("edgeguard.edge.fastly.api",),
    "urllib3": ("edgeguard.edge.fastly.api",),
    "tenacity": ("edgeguard.edge.fastly.api",),
    "httpx": ("edgeguard.site.asking",),
    "http.client": ("edgeguard.monitor.ask", "edgeguard.cluster.local.health"),
    "typer": ("edgeguard.cli",),
    "yaml": ("edgeguard.release.application", "edgeguard.standin"),
}

IMPORTED_AS = {"yaml": "pyyaml"}  # a package by another name
RUN = {"virtualenv"}  # as a program of its own

# Programs that live as long as their servers carry nothing that they don't need for years.
LONG_LIVED = ("edgeguard.cluster.local.gate", "edgeguard.cluster.local.supervisor")
HEAVY = ("fastly", "httpx", "pydantic", "typer", "urllib3", "yaml")


def imports(module: str, *, types: bool = False) -> Iterator[str]:
    """What a module imports, also inside of functions; with `types`, for type checking as well."""
    for statement in ast.parse(FILES[module].read_text(encoding="utf-8")).body:
        if types or not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"):
            for node in ast.walk(statement):
                if isinstance(node, ast.Import):
                    yield from (name.name for name in node.names)
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{module} has a relative import, which this test does not read"
                    inner = [f"{node.module}.{name.name}" for name in node.names]
                    yield from (name if name in FILES else str(node.module) for name in inner)


def ours(module: str, *, types: bool = False) -> set[str]:
    """What a module imports of this project, but for the package's own name and version."""
    return {name for name in imports(module, types=types) if name.startswith("edgeguard.")}


def within(name: str, *packages: str) -> bool:
    """Whether a module is one of these, or inside of one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def layer(module: str) -> int:
    name = module.split(".")[1]
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert found, f"{module} has no layer: say where it stands"
    return found[0]


MODULES = sorted(set(FILES) - {"edgeguard"})


def test_arrows_point_down() -> None:
    turned = [f"{module} → {name}" for module in MODULES for name in ours(module) if layer(name) < layer(module)]

    assert turned == []


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=]", need)[0].replace("-", "_") for need in project["dependencies"]}
    own = {*sys.stdlib_module_names, "edgeguard"}
    imported = {name.partition(".")[0] for module in MODULES for name in imports(module, types=True)} - own

    assert {IMPORTED_AS.get(name, name) for name in imported} | RUN == declared


def test_the_engine_knows_nothing_of_deploys() -> None:
    """The saga sees the journal and the errors, not even another's types."""
    assert ours("edgeguard.deploy.saga", types=True) <= {"edgeguard.deploy.journal", "edgeguard.errors"}


def test_drivers_never_see_each_other() -> None:
    drivers = {f"edgeguard.cluster.{path.stem}" for path in (PACKAGE / "cluster").iterdir() if path.stem != "__init__"}
    seen = [
        f"{module} → {name}"
        for driver in drivers
        for module in MODULES
        if within(module, driver)
        for name in ours(module, types=True)
        if within(name, *(drivers - {driver}))
    ]

    assert seen == []


def test_only_two_verbs_know_the_stand_in() -> None:
    """The product reaches the stand-in through its URLs, so no code can ask whether it is being tested."""
    knowing = [
        module
        for module in MODULES
        if not within(module, "edgeguard.standin")
        and any(within(name, "edgeguard.standin") for name in ours(module, types=True))
    ]

    assert knowing == ["edgeguard.cli.rehearsals"]


def test_the_stand_in_shares_no_code_with_what_it_stands_against() -> None:
    """The rehearsal around it drives the product; the stand-in itself would repeat its mistakes."""
    seen = [
        f"{module} → {name}"
        for module in MODULES
        if within(module, "edgeguard.standin") and module != "edgeguard.rehearsal.world"
        for name in ours(module)
        if within(name, "edgeguard.edge", "edgeguard.settings", "edgeguard.deploy.deploy", "edgeguard.deploy.steps")
    ]

    assert seen == []


@pytest.mark.parametrize("foreign", BORDERS)
def test_each_foreign_thing_has_one_border(foreign: str) -> None:
    touching = {module for module in MODULES if any(within(name, foreign) for name in imports(module, types=True))}

    assert touching, f"nothing imports {foreign}: take it out of the dependencies and of here"
    assert [module for module in touching if not within(module, *BORDERS[foreign])] == []


@pytest.mark.parametrize("program", LONG_LIVED)
def test_long_lived_programs_stay_small(program: str) -> None:
    """Asked of the interpreter, since importing a module runs the packages around it too."""
    question = f"import sys, {program}; print(*(name for name in {HEAVY} if name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == ""


def test_the_command_line_starts_light() -> None:
    """`edgeguard --help` pays for Typer, and for none of the rest."""
    question = (
        "import sys, edgeguard.cli; edgeguard.cli.import_families();"
        f"print(*(name for name in {HEAVY} if name in sys.modules and name != 'typer'))"
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == ""
