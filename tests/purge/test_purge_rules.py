"""What a deploy purges: rules about paths, and what they mean for files that changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from edgeguard import patterns
from edgeguard.purge import Changes, Purge, of_deploy
from edgeguard.release import image
from edgeguard.release.application import Application
from edgeguard.settings import PurgeSettings
from edgeguard.testing import images

if TYPE_CHECKING:
    from pathlib import Path

NEWS = {"path": "content/news/{slug}.md", "keys": ["news", "news-{slug}"]}
STYLE = {"path": "**.css", "keys": ["style"]}
TESTS = {"path": "tests/", "keys": []}


@pytest.mark.parametrize(
    ("pattern", "path", "kept"),
    [
        ("a/b.md", "a/b.md", {}),
        ("a/b.md", "x/a/b.md", None),
        ("a/*.md", "a/b.md", {}),
        ("a/*.md", "a/b/c.md", None),
        ("a/?.md", "a/b.md", {}),
        ("a/?.md", "a/bc.md", None),
        ("**/b.md", "b.md", {}),
        ("**/b.md", "a/a/b.md", {}),
        ("a/**", "a/b/c", {}),
        ("a/**/c", "a/c", {}),
        ("**", "anything/at all\n", {}),
        ("a/", "a/b/c", {}),
        ("a/", "a", None),
        ("{year}/{slug}.md", "2026/light.md", {"year": "2026", "slug": "light"}),
        ("{year}/{slug}.md", "2026/11/light.md", None),
        ("a+(b)|[c].md", "a+(b)|[c].md", {}),
        ("a.md", "axmd", None),
    ],
)
def test_patterns(pattern: str, path: str, kept: dict[str, str] | None) -> None:
    found = patterns.compiled(pattern).fullmatch(path)
    assert (found.groupdict() if found else None) == kept


@pytest.mark.parametrize(
    "rule",
    [
        *({"path": path, "keys": []} for path in ("", "/a", "{a}/{a}", "{A}", "{", "a}", "{}", "a\nb")),
        *({"path": "{a}", "keys": [key]} for key in ("{b}", "", "two words", "\u00e4", "k" * 1025)),
    ],
)
def test_rules_that_can_not_be_meant_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PurgeSettings.model_validate({"rules": [rule]})


def decided(
    *paths: str, given: tuple[str, ...] = (), unknown: str = "", grouped: bool = True, **settings: object
) -> Purge:
    changes = Changes(None, unknown) if unknown else Changes(paths)
    return of_deploy(PurgeSettings.model_validate(settings), given, changes, grouped=grouped)


@pytest.mark.parametrize(
    ("wanted", "keys", "groups"),
    [
        (decided(), (), True),
        (decided(default="none"), (), False),
        (decided(given=("a", "a", "b")), ("a", "b"), False),
        (decided(release_key="release"), ("release",), False),
        (decided(given=("a",), release_key="release"), ("a", "release"), False),
        (decided("content/news/x.md", rules=[NEWS, STYLE]), ("news", "news-x"), False),
        (decided("content/news/x.css.md", "a.css", rules=[NEWS, STYLE]), ("news", "news-x.css", "style"), False),
        (decided("content/news/x.md", "other", rules=[NEWS]), ("news", "news-x"), True),
        (decided("content/news/x.md", "other", rules=[NEWS], default="none"), ("news", "news-x"), False),
        (decided("content/news/x.md", "other", rules=[NEWS], given=("a",)), ("a", "news", "news-x"), False),
        (decided("tests/test.py", rules=[NEWS, TESTS]), (), False),
        (decided("content/news/two words.md", rules=[NEWS]), (), True),
        (decided(rules=[NEWS]), (), True),
        (decided(grouped=False), (), False),
        (decided(grouped=False, given=("a",)), ("a",), False),
        (decided(rules=[NEWS], unknown="no image"), (), True),
    ],
)
def test_what_is_purged(wanted: Purge, keys: tuple[str, ...], *, groups: bool) -> None:
    assert (wanted.keys, wanted.groups) == (keys, groups)
    assert wanted.reasons, "it says why"
    assert wanted.soft


def test_it_says_why() -> None:
    wanted = decided("content/news/x.md", "other", "tests/x", rules=[NEWS, TESTS])
    assert wanted.reasons == (
        "content/news/x.md changed: news, news-x",
        "tests/x changed: no key",
        "no rule is about other",
        "what changed is not named (purge.default = paced): every page, by its group",
    )
    assert (
        "no key is derived from what changed: the image is gone"
        in decided(rules=[NEWS], unknown="the image is gone").reasons
    )
    many = decided(*(f"content/news/{number}.md" for number in range(100)), rules=[NEWS])
    assert (len(many.keys), many.reasons[-1]) == (101, "and 92 more paths")


def test_what_changed_is_seen_in_the_images_of_two_releases(tmp_path: Path) -> None:
    """Contents count, and which files there are; not folders, modes, compiled files, or the toolchain."""
    for name in ("one", "two"):
        folder = tmp_path / "releases" / name
        app = folder / "app"
        (app / "__pycache__").mkdir(parents=True)
        (app / f"empty-{name}").mkdir()
        (app / "__pycache__" / "x.pyc").write_text(name)
        (app / "same").write_text("same")
        (app / "same").chmod(0o600 if name == "one" else 0o644)
        (app / f"only-{name}").write_text("")
        (app / "link").symlink_to(name)
        images.make(folder, name, facts={"application": asdict(Application(name="a", type="plain", start="true"))})
    one, two = (image.load(tmp_path / "releases" / name) for name in ("one", "two"))
    assert image.changed(one, two) == ["link", "only-one", "only-two", "release"]
    assert image.changed(one, one) == []
    assert image.find(tmp_path, two.digest) == two
    assert image.find(tmp_path, "nobody's") is None
    assert image.find(tmp_path / "nowhere", two.digest) is None
