"""Arrows point down only: which wing may import from which, read from the source.

A wing is a folder or a file at the root of the package. `cluster/host` is a wing of its own, since its archive holds
nothing else of the package. Imports for type checking count too. Run by hand, this prints rooms, arrows and circles:

    python tests/test_arrows.py [PACKAGE]
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGE = Path(__file__).parent.parent / "edgeguard"


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of a package, by its dotted name."""
    return {
        ".".join([package.name, *path.relative_to(package).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py"))
    }


FILES = modules_of(PACKAGE)

# From the top down. A wing imports from the floors below it, never from its own floor or from one above.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("push", "rehearsal"),
    ("deploy",),
    ("doctor", "monitor"),
    ("grace",),
    ("purge",),
    ("environment",),
    ("testing",),
    ("cluster", "site"),
    ("edge", "release"),
    ("cluster.host", "machine", "settings", "standin"),
    ("user",),
    ("errors", "findings", "patterns", "sshkeys", "texts", "times", "visible", "width"),
)

# Foreign things, each with the one place that may touch it.
BORDERS = {
    "fastly": ("edgeguard.edge.fastly.api",),
    "urllib3": ("edgeguard.edge.fastly.api",),
    "tenacity": ("edgeguard.edge.fastly.api",),
    "httpx": ("edgeguard.site.asking",),
    "http.client": ("edgeguard.site.light", "edgeguard.cluster.host.health", "edgeguard.testing"),
    "pytest": ("edgeguard.testing",),
    "typer": ("edgeguard.cli",),
    "yaml": ("edgeguard.release.strict_yaml", "edgeguard.rehearsal.repository"),
}

IMPORTED_AS = {"yaml": "pyyaml"}  # a package by another name
RUN = {"virtualenv"}  # as a program of its own

# Programs that live as long as their servers carry nothing that they don't need for years.
LONG_LIVED = ("edgeguard.cluster.local.gate", "edgeguard.cluster.local.supervisor")
HEAVY = ("fastly", "httpx", "pydantic", "typer", "urllib3", "yaml")


def imports(module: str, files: Mapping[str, Path] = FILES, *, types: bool = True) -> Iterator[str]:
    """What a module imports, also inside of functions; with `types`, for type checking as well."""
    for statement in ast.parse(files[module].read_text(encoding="utf-8")).body:
        if types or not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"):
            for node in ast.walk(statement):
                if isinstance(node, ast.Import):
                    yield from (name.name for name in node.names)
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{module} has a relative import, which this test does not read"
                    inner = [f"{node.module}.{name.name}" for name in node.names]
                    yield from (name if name in files else str(node.module) for name in inner)


def ours(module: str, files: Mapping[str, Path] = FILES, *, types: bool = True) -> set[str]:
    """What a module imports of this project, but for the package's own name and version."""
    return {name for name in imports(module, files, types=types) if name.startswith("edgeguard.")}


def within(name: str, *packages: str) -> bool:
    """Whether a module is one of these, or inside of one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def wing(module: str) -> str:
    """The wing in which a module stands."""
    inside = module.removeprefix("edgeguard.")
    return "cluster.host" if within(inside, "cluster.host") else inside.partition(".")[0]


def floor(name: str) -> int:
    """The number of a wing's floor; 0 is the top."""
    found = [number for number, wings in enumerate(FLOORS) if name in wings]
    assert found, f"{name} has no floor: say in FLOORS where it stands"
    return found[0]


def arrows(files: Mapping[str, Path] = FILES) -> dict[str, set[str]]:
    """Every module, and the modules of this project that it imports."""
    return {module: ours(module, files) & set(files) - {module} for module in files if module != "edgeguard"}


def between_wings(arrows: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """The same arrows, from wing to wing."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, seen in arrows.items():
        found[wing(module)] |= {wing(name) for name in seen} - {wing(module)}
    return dict(found)


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other (Tarjan's strongly connected components of two or more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


RECORD = ("lock", "parts", "record")  # beside the drivers: no driver reads what the record says

MODULES = sorted(set(FILES) - {"edgeguard"})
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_arrows_between_wings_point_down() -> None:
    """Types included: a wing that names a type of a higher one could not be read without it."""
    turned = [
        f"{module} → {name}"
        for module, seen in arrows().items()
        for name in sorted(seen)
        if wing(name) != wing(module) and floor(wing(name)) <= floor(wing(module))
    ]

    assert turned == []


def test_files_do_not_circle() -> None:
    """Inside a wing as between wings."""
    assert circles(arrows()) == []


def test_what_is_imported_is_declared() -> None:
    """What is imported for type checking alone is not needed to run."""
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["testing"]]
    declared = {re.split(r"[<>=]", need)[0].replace("-", "_") for need in needed}
    own = {*sys.stdlib_module_names, "edgeguard"}
    imported = {name.partition(".")[0] for module in MODULES for name in imports(module, types=False)} - own

    assert {IMPORTED_AS.get(name, name) for name in imported} | RUN == declared


def test_the_engine_knows_nothing_of_deploys() -> None:
    """The saga sees the journal and the errors, not even another's types."""
    assert ours("edgeguard.deploy.saga", types=True) <= {"edgeguard.deploy.journal", "edgeguard.errors"}


def test_drivers_never_see_each_other() -> None:
    drivers = {point.partition(":")[0] for point in PROJECT["entry-points"]["edgeguard.drivers"].values()}
    seen = [
        f"{module} → {name}"
        for driver in drivers - {f"edgeguard.cluster.{name}" for name in RECORD}
        for module in MODULES
        if within(module, driver)
        for name in ours(module)
        if within(name, *(drivers - {driver}))
    ]

    assert seen == []


def test_nothing_imports_the_contract_suite() -> None:
    """It is for drivers' authors, and needs pytest."""
    assert [module for module in MODULES if wing(module) != "testing" and "testing" in map(wing, ours(module))] == []


def test_only_two_verbs_know_the_stand_in() -> None:
    """The product reaches the stand-in through its URLs, so no code can ask whether it is being tested."""
    knowing = [
        module
        for module in MODULES
        if not within(module, "edgeguard.standin") and any(within(name, "edgeguard.standin") for name in ours(module))
    ]

    assert knowing == ["edgeguard.cli.rehearsals"]


def test_the_stand_in_shares_no_code_with_what_it_stands_against() -> None:
    """Shared code would repeat the product's mistakes."""
    seen = [f"{module} → {name}" for module in MODULES if wing(module) == "standin" for name in ours(module)]

    assert [
        line for line in seen if not within(line.partition(" → ")[2], "edgeguard.standin", "edgeguard.errors")
    ] == []


def test_only_the_composition_root_knows_fastly() -> None:
    """Everybody else knows the Protocol of an edge."""
    knowing = [
        module
        for module in MODULES
        if not within(module, "edgeguard.edge") and any(within(name, "edgeguard.edge.fastly") for name in ours(module))
    ]

    assert knowing == ["edgeguard.environment"]


@pytest.mark.parametrize("foreign", BORDERS)
def test_each_foreign_thing_has_one_border(foreign: str) -> None:
    touching = {module for module in MODULES if any(within(name, foreign) for name in imports(module))}

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
        "import sys; from edgeguard.cli.app import import_families; import_families();"
        f"print(*(name for name in {HEAVY} if name in sys.modules and name != 'typer'))"
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == ""


def test_an_edge_without_a_token_imports_no_api() -> None:
    """The health check runs each minute, and only looks."""
    api = ("edgeguard.edge.fastly.api", "edgeguard.edge.fastly.service", "fastly", "urllib3", "httpx")
    question = (
        "import sys, edgeguard.monitor.check, edgeguard.environment as e, edgeguard.settings as s;"
        "e.visible_edge(s.EdgeSettings(service='s', url='http://h', health_url='http://h/'), None).asking;"
        f"print(*(name for name in {api} if name in sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == ""


def _print(package: Path) -> None:
    """The house in words, for who draws it."""
    files = modules_of(package)
    seen = arrows(files)
    graph = between_wings(seen)
    height: dict[str, int] = {}

    def floors(name: str, above: tuple[str, ...] = ()) -> int:
        if name not in height:
            below = [floors(other, (*above, name)) for other in graph.get(name, ()) if other not in (*above, name)]
            height[name] = 1 + max(below, default=0)
        return height[name]

    for name in sorted(graph, key=lambda name: (-floors(name), name)):
        inside = [module for module in files if module != "edgeguard" and wing(module) == name]
        print(f"floor {height[name]:2}  {name:14} {len(inside):3} files → {', '.join(sorted(graph[name])) or '-'}")
    crossing = sum(map(len, graph.values()))
    print(f"{len(graph)} rooms, {max(height.values())} floors, {crossing} arrows between rooms")
    for title, found in (("rooms", circles(graph)), ("files", circles(seen))):
        print(f"{len(found)} circles of {title}", *(f"  {' ↔ '.join(circle)}" for circle in found), sep="\n")


if __name__ == "__main__":
    _print(Path(sys.argv[1]).resolve() if sys.argv[1:] else PACKAGE)
