"""Applications that others have published for managed clusters, each with its own file, tried as they are.

`python -m tests.release.templates [--mirrors FOLDER] [--database KIND=URL]… [NAME]…` rehearses those with these words
in their names, or all, and writes their rows in the table of docs/application-file.md anew. Each is fetched when it is
tried and not kept, from GitHub, or from FOLDER/OWNER+NAME/repo. A database has to be there already, and empty; its KIND
is the scheme of its URL. Some of the applications take minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "application-file.md"
_FIRST = "the first release can't be deployed: "
STATIC = ("web.locations./static",)


@dataclass(frozen=True)
class Template:
    """A repository and a commit, and what the environment's file would say: the kinds of its databases by relationship,
    the name of the application, the keys to ignore."""

    repository: str
    commit: str
    about: str
    databases: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    ignore: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """What the table's row begins with."""
        given = [*([f"`name = {self.name}`"] if self.name else []), *(f"`ignore = {key}`" for key in self.ignore)]
        return f"| {self.repository} | `{self.commit[:12]}` | {', '.join([self.about, *given])} |"

    def settings(self, urls: dict[str, str]) -> dict[str, Any]:
        """The table [application] of the rehearsal."""
        there = {relationship: urls[kind] for relationship, kind in self.databases if kind in urls}
        return {**({"name": self.name} if self.name else {}), "ignore": list(self.ignore), "relationships": there}


TEMPLATES = (
    Template("platformsh-templates/flask", "16e4738374e81bed42e359780d111a689daa9a4d", "Python, Flask"),
    Template("platformsh-templates/django4", "8a381246156eede2f44da56831a7b3ead224a665", "Python, Django"),
    Template(
        "platformsh-templates/django4",
        "8a381246156eede2f44da56831a7b3ead224a665",
        "the same",
        (("database", "postgresql"),),
        ignore=STATIC,
    ),
    Template("platformsh-templates/fastapi", "186bbc5a5ff5e1d4b8388daa07d7455d6a9def6b", "Python, FastAPI"),
    Template(
        "platformsh-templates/express",
        "5c45132a6fe1d2eb02a60cb1fa851a1def66767f",
        "Node.js, Express",
        (("database", "mysql"),),
    ),
    Template("platformsh-templates/nextjs", "2870e85c60ad0acb086f8be975e261a8438b8e99", "Node.js, Next.js"),
    Template(
        "platformsh-templates/strapi4",
        "223cbb39e4f8fed0507a14b8fac04a1348675e94",
        "Node.js, Strapi",
        (("postgresdatabase", "postgresql"),),
    ),
    Template("GuGuss/blog-starter-app", "95f064efeacdef7a4bc10d196f631757817be7bf", "Node.js, Next.js, `.upsun`"),
    Template("platformsh-templates/pelican", "8bac058d7b9b0757cd2685df69dcffa030fa76d2", "static files of Pelican"),
    Template("platformsh-templates/laravel", "2f49122aed1b4dc46621798e8f65f740ebf4c015", "PHP, Laravel"),
    Template("platformsh-templates/golang", "cac13d84cc09b3eeb4a3e49761a1990994ee1b18", "Go, both platforms' files"),
    Template("platformsh-templates/rails", "0fd4f14689ee84ab3da149a1d265def1ae4bab9d", "Ruby, Rails"),
    Template("platformsh/language-examples", "3f17a8fa8c028cce59c42be0e5a9588882ae40c0", "six applications"),
    Template(
        "platformsh/language-examples",
        "3f17a8fa8c028cce59c42be0e5a9588882ae40c0",
        "the one in Node.js",
        name="nodejs",
    ),
)


def main() -> None:
    """Try them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirrors", type=Path)
    parser.add_argument("--database", action="append", default=[], metavar="KIND=URL")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    urls = dict(database.split("=", 1) for database in given.database)
    for template in TEMPLATES:
        if not given.names or any(name in template.repository for name in given.names):
            with tempfile.TemporaryDirectory() as folder:
                _write(template, _tried(template, given.mirrors, urls, Path(folder)))


def _tried(template: Template, mirrors: Path | None, urls: dict[str, str], folder: Path) -> str:
    """What became of a rehearsal: the end of the table's row."""
    origin = f"https://github.com/{template.repository}"
    if mirrors is not None:
        origin = str(mirrors / template.repository.replace("/", "+") / "repo")
    repository, settings = folder / "repository", folder / "application.toml"
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", origin, str(repository)], check=True)
    said = template.settings(urls)
    lines = [f"{key} = {json.dumps(value)}" for key, value in said.items() if key != "relationships"]
    lines += [
        "[application.relationships]",
        *(f"{key} = {json.dumps(url)}" for key, url in said["relationships"].items()),
    ]
    settings.write_text("\n".join(["[application]", *lines]), encoding="utf-8")
    argv = [sys.executable, "-m", "edgeguard", "rehearse", str(repository), "--ref", template.commit, "--json"]
    done = subprocess.run([*argv, "--application", str(settings)], capture_output=True, check=False)
    report = json.loads((done.stdout.splitlines() or [b"{}"])[-1])
    if report.get("event") == "report" and done.returncode == 0:
        took = {phase["name"]: phase["seconds"] for phase in report["phases"]}
        seen = report["visitors"]["anonymous"]
        return (
            f" deployed | built in {took['build']:.0f} s, closed for {report['closed_seconds']:.1f} s; "
            f"{seen['requests']} requests of anonymous visitors, {seen['errors']} errors |"
        )
    lines = done.stderr.decode(errors="replace").replace(str(folder), "").splitlines()
    sentence = next((line.removeprefix("edgeguard: ") for line in lines if line.startswith("edgeguard: ")), "?")
    return f" exit code {done.returncode} | {sentence.removeprefix(_FIRST)} |"


def _write(template: Template, end: str) -> None:
    """Put the row in its place in the table, or in the place of the one that was there."""
    print(template.row + end, flush=True)  # noqa: T201
    above, rule, rows = DOCUMENT.read_text(encoding="utf-8").rpartition("|---|---|---|---|---|\n")
    found = {one.row: row for one in TEMPLATES for row in rows.splitlines() if row.startswith(one.row)}
    found[template.row] = template.row + end
    there = [found[one.row] for one in TEMPLATES if one.row in found]
    DOCUMENT.write_text("\n".join([above + rule.rstrip(), *there, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
