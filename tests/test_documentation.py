"""What is documented is what there is."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.core
import typer.main
from pydantic_core import PydanticUndefined

import edgeguard
from edgeguard import errors, settings
from edgeguard.cli import app, import_families
from edgeguard.cluster.local.ports import Options as LocalOptions
from edgeguard.deploy.steps import ACCEPTABLE
from edgeguard.doctor import installation
from edgeguard.purge import closed
from edgeguard.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

import_families()
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "config" / "production.toml").read_text(encoding="utf-8")


def tables(text: str) -> dict[str, dict[str, object]]:
    """The file's tables with its commented lines taken in: what every setting is said to be."""
    uncommented = re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE)
    return tomllib.loads(uncommented)


def fields() -> Iterator[tuple[str, str, object]]:
    """Every setting: its table, its name, and its default (None: it has none)."""
    for table, outer in Settings.model_fields.items():
        assert isinstance(outer.annotation, type)
        assert issubclass(outer.annotation, settings.Table)
        for name, field in outer.annotation.model_fields.items():
            default = field.get_default(call_default_factory=True)
            yield table, name, None if default is PydanticUndefined else default


def commands() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Every command, by its whole name."""

    def below(group: typer.core.TyperGroup, prefix: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
        for name, command in group.commands.items():
            if isinstance(command, typer.core.TyperGroup):
                yield from below(command, f"{prefix} {name}")
            else:
                assert isinstance(command, typer.core.TyperCommand)
                yield f"{prefix} {name}", command

    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    yield from below(group, "edgeguard")


def exit_codes() -> set[int]:
    def below(error: type[errors.EdgeguardError]) -> set[int]:
        return {error.exit_code}.union(*(below(inner) for inner in error.__subclasses__()))

    return below(errors.EdgeguardError)


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, name, _ in fields()])
def test_every_setting_is_in_the_reference(table: str, name: str) -> None:
    assert name in tables(REFERENCE).get(table, {}), f"config/production.toml does not explain {table}.{name}"


def test_the_reference_has_no_setting_that_is_not_there() -> None:
    there = {(table, name) for table, name, _ in fields()}
    said = {(table, name) for table, content in tables(REFERENCE).items() for name in content}

    assert said == there


@pytest.mark.parametrize("name", LocalOptions.model_fields)
def test_every_option_of_the_local_driver_is_in_the_reference(name: str) -> None:
    options = tables(REFERENCE)["cluster"]["options"]
    assert isinstance(options, dict)
    assert name in options


def test_commented_lines_show_the_defaults() -> None:
    """A line that is commented out changes nothing when it is taken in, unless the text says "Unset"."""
    with_comments = Settings.model_validate(tables(REFERENCE))
    given = tomllib.loads(REFERENCE)
    differing = {
        f"{table}.{name}"
        for table, name, default in fields()
        if name not in given.get(table, {}) and getattr(getattr(with_comments, table), name) != default
    }
    sections = re.split(r"^\[([a-z]+)\]$", REFERENCE, flags=re.MULTILINE)
    paragraphs = {table: text.split("\n\n") for table, text in zip(sections[1::2], sections[2::2], strict=True)}
    unset = {
        f"{table}.{name}"
        for table, name, _ in fields()
        for paragraph in paragraphs[table]
        if re.search(rf"^# {name} = ", paragraph, flags=re.MULTILINE) and "Unset" in paragraph
    }

    assert differing == unset


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.toml")), ids=lambda path: path.stem)
def test_every_environment_that_is_shipped_loads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("EDGEGUARD_")]:
        monkeypatch.delenv(variable)
    loaded = settings.load(path.stem, path.parent)

    LocalOptions.model_validate(loaded.cluster.options)


def test_every_exit_code_has_its_row() -> None:
    section = README.partition("## Exit codes")[2].partition("\n## ")[0]
    rows = [int(number) for number in re.findall(r"^\| (\d+) \|", section, flags=re.MULTILINE)]

    assert rows == sorted({0} | exit_codes())


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_is_documented(name: str, command: typer.core.TyperCommand) -> None:
    """In the README with its own options; in its help with an example and a word on each option."""
    [row] = [line for line in README.splitlines() if re.match(rf"\| `{name}\b", line)]
    shared = re.search(r"^Of all of them: .*?\n\n", README, flags=re.MULTILINE | re.DOTALL)
    assert shared is not None
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]

    for option in options:
        assert f"`{option.opts[0]}" in row + shared[0], f"README does not name {option.opts[0]} of {name}"
        assert getattr(option, "help", ""), f"{name} --help does not explain {option.opts[0]}"
    assert {"--json", "--version"} <= {option.opts[0] for option in options}
    assert (command.epilog or "").startswith(f"Example: {name}")
    assert command.help


def test_the_readme_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"`(edgeguard [a-z]+(?: [a-z]+\b)?)", README))

    assert named == {name for name, _ in commands()}


def test_refusals_that_can_be_passed_over_are_explained() -> None:
    """A refusal's own message names the option; README says, in two tables, what each name stands for."""
    tables = re.findall(r"^\| `--accept` \| found \|\n\|[-|]+\|\n((?:\|.*\n)+)", README, flags=re.MULTILINE)
    explained = [set(re.findall(r"`([a-z-]+)`", re.sub(r"(?m)^\|(.*?)\|.*$", r"\1", table))) for table in tables]

    assert explained == [set(installation.ACCEPTABLE), set(ACCEPTABLE)]
    of_purge = README.partition("`purge` refuses")[2].partition("\n\n")[0]
    assert set(closed.ACCEPTABLE) <= set(re.findall(r"`([a-z-]+)`", of_purge))


def test_links_lead_somewhere() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links to {target}"


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")

    assert set(re.findall(r"\]\(([^)]+)\)", index)) == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_the_changelog_has_this_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert newest is not None
    assert newest[1] == edgeguard.__version__


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_are_of_this_project_and_name_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = project["project"]["dependencies"] + project["dependency-groups"]["build"]
    if "dev" in lock:
        needed += project["project"]["optional-dependencies"]["dev"]
    locked = set(re.findall(r"^([a-z0-9-]+)==", text, flags=re.MULTILINE))

    assert {re.split(r"[<>=]", need)[0].lower() for need in needed} <= locked
    assert "://" not in text
