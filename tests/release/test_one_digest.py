"""The same commit is the same release, whoever builds it: users differ in their Git settings, umasks and homes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.release.test_attacks import ANOTHER, environment, python_for
from tests.release.test_image import PLAIN, commit, git

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILDS = """
import json, os, sys
from pathlib import Path
from edgeguard.release import image
from edgeguard.settings import ApplicationSettings

os.umask(int(sys.argv[3], 8))
settings = ApplicationSettings(repository=sys.argv[1], branch="main")
build = {"root": Path(sys.argv[2]), "in_use": lambda _: False, "cancelled": lambda: False, "output": lambda _: None}
release = image.build(settings, ref=None, **build)
print(json.dumps([release.digest, release.inputs, list(release.application.warnings)]))
"""
HOOK = r"""
umask > made
mkdir -p folder/in
echo x > folder/in/file
printf '#!/bin/sh\n' > program
chmod u+x program
chmod -R go-rwx folder
chmod g+w,o+w made
ln -s made link
echo kept > "$HOME/kept"
"""
UMASKS = ("022", "077", "027")
SETTINGS = {
    "plain": "",
    "odd": """
[core]
    autocrlf = true
    eol = crlf
    fileMode = false
    symlinks = false
    safecrlf = false
    ignoreCase = true
    precomposeUnicode = true
    attributesFile = {home}/attributes
    excludesFile = {home}/excluded
    hooksPath = {home}/hooks
    sharedRepository = 0600
[submodule]
    recurse = true
[grep]
    patternType = perl
    fallbackToNoIndex = true
[filter "loud"]
    smudge = tr a-z A-Z
    clean = cat
    required = true
[filter "lfs"]
    smudge = tr a-z A-Z
    required = true
[log]
    showSignature = true
[color]
    ui = always
[safe]
    directory = *
""",
}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own folders are not."""
    folder = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
    shutil.rmtree(folder)


@pytest.fixture
def repository(place: Path) -> Path:
    """A commit with every kind of entry, and a submodule."""
    library, repository = place / "library", place / "repository"
    for folder in (library, repository):
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")
    part = commit(library, {"page": "a\nb\n", ".gitattributes": "* text eol=crlf filter=loud\n"})
    (repository / "run").write_text("#!/bin/sh\n", encoding="utf-8")
    (repository / "run").chmod(0o755)
    (repository / "linked").symlink_to("text")
    (repository / "library").mkdir()
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{part},library")
    commit(
        repository,
        {
            ".platform.app.yaml": PLAIN + f"hooks: {{build: {json.dumps(HOOK)}}}\n",
            ".gitattributes": "*.txt text=auto\nversion export-subst ident\nhidden export-ignore\n",
            ".gitmodules": f'[submodule "library"]\n\tpath = library\n\turl = {library}\n',
            "text": "a\nb\n",
            "dos.txt": "a\r\nb\r\n",
            "version": "$Id$ $Format:%H$\n",
            "hidden/file": "left out of archives\n",
            "upper/File": "one\n",
        },
    )
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return repository


def built(place: Path, repository: Path, user: int, umask: str, settings: str) -> tuple[str, str]:
    """What this user's build of the commit is. It is made and removed below the same root."""
    root, home = place / "root", place / f"home-{user}-{umask}-{settings}"
    root.mkdir()
    home.mkdir()
    (home / "attributes").write_text("* text eol=crlf filter=loud\nhidden -export-ignore\n", encoding="utf-8")
    (home / ".gitconfig").write_text(SETTINGS[settings].format(home=home), encoding="utf-8")
    for path in (root, home, *home.iterdir()):
        os.chown(path, user, user)
    argv = [*python_for(user), "-c", BUILDS, str(repository), str(root), umask]
    ran = subprocess.run(
        argv, env={**environment(), "HOME": str(home)}, cwd=home, capture_output=True, check=False, text=True
    )
    subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)
    shutil.rmtree(root)
    assert ran.returncode == 0, ran.stderr
    digest, inputs, warnings = json.loads(ran.stdout)
    assert not [said for said in warnings if "submodule" in said]
    return digest, inputs


@pytest.mark.parametrize("kind", ["plain", "python:3"])
def test_settings_and_umask_do_not_change_a_release(place: Path, repository: Path, kind: str) -> None:
    """Python's toolchain is a part of the release."""
    user, file = os.geteuid(), repository / ".platform.app.yaml"
    commit(repository, {file.name: file.read_text(encoding="utf-8").replace("type: plain", f"type: {kind}")})
    first = built(place, repository, user, "022", "plain")

    for umask in UMASKS if kind == "plain" else UMASKS[1:2]:  # a toolchain takes seconds
        assert built(place, repository, user, umask, "odd") == first


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can be two users, on Linux")
@pytest.mark.parametrize("umask", UMASKS)
def test_two_users_build_the_same_release(place: Path, repository: Path, umask: str) -> None:
    """The root is the same: an image is built at the path where it runs."""
    first = built(place, repository, 0, "022", "plain")

    assert built(place, repository, ANOTHER, umask, "odd") == first
