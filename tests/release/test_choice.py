"""Which file of a tree describes the application, and which application of several is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import UsageError
from edgeguard.release import choice
from edgeguard.release.source import resolve
from tests.release.test_tree import git

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.release.application import Application

APP = "type: python:3\nweb: {commands: {start: ./serve}}\n"
ONE = f"name: one\n{APP}"
INLINE = "type: python:3, web: {commands: {start: ./serve}}"
TABLE = f"shop: {{{INLINE}, source: {{root: shop}}}}\nblog: {{{INLINE}}}\n"
LIST = f"- {{name: shop, {INLINE}, source: {{root: /shop}}}}\n- {{name: blog, {INLINE}}}\n"
UPSUN = f"applications:\n  shop: {{{INLINE}, source: {{root: shop}}}}\n  blog: {{{INLINE}, source: {{root: '/'}}}}\n"


def chosen(folder: Path, files: dict[str, str], name: str | None = None) -> Application:
    git(folder, "init", "--quiet", "--initial-branch=main")
    for path, text in {"shop/page": "", **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=one")
    return choice.application(resolve(str(folder), "main", cache=folder.parent / "cache"), name)


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        ({".platform.app.yaml": ONE}, None, ("one", "")),
        ({".platform.app.yaml": ONE}, "one", ("one", "")),
        ({"shop/.platform.app.yaml": ONE}, None, ("one", "shop")),
        ({"shop/.platform.app.yaml": f"{ONE}source: {{root: /}}\n"}, None, ("one", "")),
        ({".platform.app.yaml": ONE, "shop/.platform.app.yaml": ONE.replace("one", "two")}, "two", ("two", "shop")),
        ({".platform/applications.yaml": TABLE}, "shop", ("shop", "shop")),
        ({".platform/applications.yaml": TABLE}, "blog", ("blog", "")),
        ({".platform/applications.yaml": LIST}, "shop", ("shop", "shop")),
        ({".platform/applications.yaml": f"it: {{name: other, {INLINE}}}\n"}, None, ("other", "")),
        ({".platform.app.yaml": ONE, ".platform/applications.yaml": LIST}, "blog", ("blog", "")),
        ({".upsun/config.yaml": UPSUN}, "shop", ("shop", "shop")),
        ({".upsun/config.yaml": UPSUN}, "blog", ("blog", "")),
        ({".upsun/a.yaml": UPSUN, ".upsun/b.yml": UPSUN.replace("root: shop", "root: /")}, "shop", ("shop", "")),
        ({".upsun/local/a.yaml": "x", ".upsun/config.yaml": f"applications: {{a: {{{INLINE}}}}}"}, None, ("a", "")),
        ({".platform.app.yaml": ONE, ".upsun/config.yaml": UPSUN}, None, ("one", "")),
    ],
)
def test_each_form_is_read(tmp_path: Path, files: dict[str, str], name: str | None, found: tuple[str, str]) -> None:
    application = chosen(tmp_path, files, name)

    assert (application.name, application.root) == found


@pytest.mark.parametrize(
    ("files", "name", "said"),
    [
        ({}, None, "has no .platform.app.yaml, no .platform/applications.yaml and no .upsun/config.yaml"),
        ({".upsun/config.yaml": "routes: {}\n"}, None, "has no .platform.app.yaml"),
        ({".platform/applications.yaml": TABLE}, None, "several applications: blog, shop"),
        ({".upsun/config.yaml": UPSUN}, None, "several applications: blog, shop"),
        ({"a/.platform.app.yaml": ONE, "b/.platform.app.yaml": ONE}, None, "in a/.platform.app.yaml and b/.platform"),
        ({"a/.platform.app.yaml": ONE, "b/.platform.app.yaml": ONE}, "one", "in a/.platform.app.yaml and b/.platform"),
        ({".platform/applications.yaml": TABLE}, "other", "no application 'other' in this commit; it has blog, shop"),
        ({".platform.app.yaml": ONE}, "other", "no application 'other' in this commit; it has one"),
        ({".platform/applications.yaml": "text\n"}, None, ".platform/applications.yaml has no applications"),
        ({".platform/applications.yaml": "- {type: a}\n"}, None, "application 1 has no name"),
        ({".upsun/config.yaml": "applications: [a]\n"}, None, ".upsun/config.yaml: applications: a mapping"),
        (
            {".platform/applications.yaml": "a: {source: {root: nowhere}, " + INLINE + "}"},
            None,
            "the tree has no folder 'nowhere'",
        ),
        ({"shop/.platform.app.yaml": "name: [\n"}, None, "shop/.platform.app.yaml: it is not YAML"),
        ({"shop/.platform.app.yaml": APP}, None, "shop/.platform.app.yaml: name"),
        ({".upsun/config.yaml": "applications: {a: {type: python:3}}"}, None, ".upsun/config.yaml: web.commands.start"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_one_sentence(
    tmp_path: Path, files: dict[str, str], name: str | None, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        chosen(tmp_path, files, name)

    assert said in refused.value.message
    assert refused.value.remedy


def test_what_stands_beside_the_applications_is_named(tmp_path: Path) -> None:
    routes = "'https://{default}/': {type: upstream}\n  'https://www.{default}/': {type: redirect}\n"
    config = f"applications: {{a: {{{INLINE}}}}}\nservices: {{db: {{type: mariadb}}}}\nroutes:\n  {routes}other: 1\n"

    assert chosen(tmp_path, {".upsun/config.yaml": config}).warnings == (
        ".upsun/config.yaml: other: not supported, ignored",
        "services: db: application.relationships in the environment's file says where they are",
        "routes: redirects are the edge's to make, and these are ignored: https://www.{default}/",
    )


def test_a_file_that_is_not_read_is_named(tmp_path: Path) -> None:
    files = {".platform.app.yaml": ONE, ".platform/routes.yaml": "'http://{default}/': {type: redirect}\n"}

    assert chosen(tmp_path, {**files, ".upsun/config.yaml": UPSUN}).warnings == (
        ".upsun/config.yaml: not read, since there is .platform.app.yaml",
        "routes: redirects are the edge's to make, and these are ignored: http://{default}/",
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".platform/applications.yaml", "- !include app.yaml\n"),
        (".platform/applications.yaml", "- !include ./app.yaml\n"),
        (".platform/applications.yaml", "- !include /.platform/app.yaml\n"),
        (".platform/applications.yaml", "- !include .platform/app.yaml\n"),
        (
            ".platform.app.yaml",
            f"{ONE}hooks: {{build: !include {{type: string, path: build.sh}}}}\nsource: {{root: shop}}",
        ),
        (
            ".platform.app.yaml",
            f"{ONE}hooks: {{build: !include {{type: string, path: ../top.sh}}}}\nsource: {{root: shop}}",
        ),
    ],
)
def test_what_is_included_is_beside_the_application_or_its_file(tmp_path: Path, path: str, text: str) -> None:
    files = {".platform/app.yaml": f"{ONE}hooks: {{build: make}}\n", "shop/build.sh": "make", "top.sh": "make"}

    assert chosen(tmp_path, {**files, path: text}).hooks == {"build": "make"}
