"""What is documented is what there is."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
import typer.core
import typer.main
from pydantic_core import PydanticUndefined

import edgeguard
from edgeguard import errors, settings
from edgeguard.cli.app import app, import_families
from edgeguard.cluster.commands.options import Options as CommandsOptions
from edgeguard.cluster.commands.options import Step
from edgeguard.cluster.local.ports import Options as LocalOptions
from edgeguard.deploy.steps import ACCEPTABLE
from edgeguard.doctor import installation
from edgeguard.purge import closed
from edgeguard.release import application_file
from edgeguard.settings import Settings
from tests.test_arrows import FLOORS

if TYPE_CHECKING:
    from collections.abc import Iterator

import_families()
ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MANUAL = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
DOCUMENTS = [*MANUAL, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((DOCS / "decisions").glob("*.md"))]
OPERATORS = DOCS / "operators.md"
REFERENCE = (ROOT / "config" / "production.toml").read_text(encoding="utf-8")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, title: str) -> str:
    """What is below one of a page's headings of the second level."""
    found = text_of(page).partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, f"{page.name} has no section {title}"
    return found


def without_blocks(text: str) -> str:
    """A page's text without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What links can name behind #: a page's headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text_of(page)), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[str, str]]:
    """The relative links of a page: the path ("" for the page itself) and the anchor ("" for none)."""
    return re.findall(r"\]\(([^)#:]*)#?([^)#:]*)\)", text_of(page))


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


@pytest.mark.parametrize("name", [*LocalOptions.model_fields, *CommandsOptions.model_fields])
def test_every_option_of_a_driver_is_in_the_reference(name: str) -> None:
    options = tables(REFERENCE)["cluster"]["options"]
    assert isinstance(options, dict)
    assert name in options


def test_the_example_of_a_folder_of_scripts_loads_and_its_scripts_are_there() -> None:
    folder = ROOT / "config" / "commands"
    options = CommandsOptions.model_validate(settings.load("site", folder).cluster.options)

    assert options.folder == folder.relative_to(ROOT)
    for step in get_args(Step):
        if command := options.command(step):
            script = command.removeprefix("exec ").split()[0]
            assert os.access(folder / script, os.X_OK), command


def test_every_fact_that_a_command_is_told_is_in_the_manual() -> None:
    manual = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "edgeguard" / "cluster" / "commands").glob("*.py"))
    facts = set(re.findall(r'"([A-Z_]{4,})": ', "".join(sources)))

    assert {"EPOCH", "UNTIL", "EXPECTED", "COMMAND", "VARIABLES", "SERVERS"} <= facts
    assert [fact for fact in sorted(facts) if not re.search(rf"`(EDGEGUARD_)?{fact}`", manual)] == []


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


def test_the_readme_is_one_page() -> None:
    assert len(text_of(ROOT / "README.md").split()) <= 900


def test_the_operators_tables_are_linked_from_the_top() -> None:
    top = text_of(ROOT / "README.md").partition("\n## ")[0]

    assert "(docs/operators.md#exit-codes)" in top
    assert "(docs/operators.md#if-the-machine-that-deploys-dies)" in top


def test_the_first_environment_of_the_readme_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("EDGEGUARD_")]:
        monkeypatch.delenv(variable)
    [example] = re.findall(r"^```toml\n(.*?)^```", text_of(ROOT / "README.md"), flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "live.toml").write_text(example, encoding="utf-8")

    LocalOptions.model_validate(settings.load("live", tmp_path).cluster.options)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_page_is_in_the_manual(page: Path) -> None:
    linked = {path for path, _ in links(DOCS / "README.md")}

    assert page.name in linked | {"README.md"}


def test_every_exit_code_has_its_row() -> None:
    rows = [int(number) for number in re.findall(r"^\| (\d+) \|", section(OPERATORS, "Exit codes"), flags=re.MULTILINE)]

    assert rows == sorted({0} | exit_codes())


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_is_documented(name: str, command: typer.core.TyperCommand) -> None:
    """In the manual with its own options; in its help with an example and a word on each option."""
    page = text_of(DOCS / "commands.md")
    [row] = [line for line in page.splitlines() if re.match(rf"\| `{name}\b", line)]
    shared = re.search(r"^All of them have .*?\n\n", page, flags=re.MULTILINE | re.DOTALL)
    assert shared is not None
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]

    for option in options:
        assert f"`{option.opts[0]}" in row + shared[0], f"docs/commands.md does not name {option.opts[0]} of {name}"
        assert getattr(option, "help", ""), f"{name} --help does not explain {option.opts[0]}"
    assert {"--json", "--version"} <= {option.opts[0] for option in options}
    assert (command.epilog or "").startswith(f"Example: {name}")
    assert command.help


def test_the_table_of_commands_names_none_that_is_not_there() -> None:
    named = re.findall(r"^\| `(edgeguard [a-z-]+(?: [a-z]+\b)?)", text_of(DOCS / "commands.md"), flags=re.MULTILINE)

    assert sorted(named) == sorted(name for name, _ in commands())


@pytest.mark.parametrize("page", MANUAL, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_that_is_shown_can_be_typed(page: Path) -> None:
    """In blocks and within sentences: its command exists, and so do the options that stand in its line."""
    there = dict(commands())
    groups = {" ".join(name.split()[:2]) for name in there}
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text_of(page), flags=re.MULTILINE | re.DOTALL)
    commanding = [block for language, block in blocks if language in ("", "sh", "yaml")]
    lines = [line.partition(" # ")[0] for block in commanding for line in block.splitlines()]
    lines += re.findall(r"`([^`]+)`", without_blocks(text_of(page)))
    for shown in (shown for line in lines for shown in re.findall(r"\bedgeguard [a-z][^&;]*", line)):
        words = shown.split()
        name = next((name for name in (" ".join(words[:3]), " ".join(words[:2])) if name in there), None)
        assert name is not None or shown.strip() in groups, f"{page.name} shows {shown}"
        if name is not None:
            options = {option for parameter in there[name].params for option in parameter.opts}
            used = set(re.findall(r"(?<= )--[a-z-]+", shown.partition(" -- ")[0]))
            assert used <= options, f"{page.name} shows {shown}"


def test_refusals_that_can_be_passed_over_are_explained() -> None:
    """A refusal's own message names the option; the manual says, in two tables, what each name stands for."""
    pattern = r"^\| `--accept` \| found \|\n\|[-|]+\|\n((?:\|.*\n)+)"
    tables = [
        table for page in (DOCS / "setup.md", OPERATORS) for table in re.findall(pattern, text_of(page), re.MULTILINE)
    ]
    explained = [set(re.findall(r"`([a-z-]+)`", re.sub(r"(?m)^\|(.*?)\|.*$", r"\1", table))) for table in tables]

    assert explained == [set(installation.ACCEPTABLE), set(ACCEPTABLE)]
    of_purge = text_of(OPERATORS).partition("`purge` refuses")[2].partition("\n\n")[0]
    assert set(closed.ACCEPTABLE) <= set(re.findall(r"`([a-z-]+)`", of_purge))


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Relative ones: to a file, and to a heading in it where they name one."""
    for path, anchor in links(page):
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    """In code: a path that begins with one of this project's folders."""
    named = re.findall(r"`((?:edgeguard|docs|scripts|tests)/[\w./-]*)`", text_of(page))

    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "given",
    re.findall(r"^```yaml\n(.*?)^```", text_of(DOCS / "package-managers.md"), flags=re.MULTILINE | re.DOTALL),
)
def test_every_application_file_that_is_shown_is_one(given: str) -> None:
    assert not application_file.parse(given.encode(), include=lambda _: None).warnings


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")

    assert set(re.findall(r"\]\(([^)]+)\)", index)) == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_contributing_shows_every_wing_from_the_top_down() -> None:
    table = section(ROOT / "CONTRIBUTING.md", "The first hour").partition("| wing | has |\n|---|---|\n")[2]
    rows = [set(re.findall(r"`([a-z.]+)`", row.split(" | ")[0])) for row in table.splitlines() if row.startswith("|")]

    assert rows == [set(wings) - {"__main__"} for wings in FLOORS if wings != ("__main__",)]


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
