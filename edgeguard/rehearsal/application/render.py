"""The build hook: it renders the parts that all pages share into the tree, which is read-only afterwards."""

from __future__ import annotations

import os
from pathlib import Path
from string import Template

HERE = Path(__file__).parent

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title · Lighthouse</title>
<style>
$style
</style>
<header><a href="/">Lighthouse</a><span>$greeting</span></header>
<main>
<h1>$title</h1>
$body
</main>
<footer>$motto · release $release</footer>
</html>
"""


def main() -> None:
    """Write `page.html`: the style sheet and the release's name are in it, a page's own text is not."""
    page = Template(PAGE).safe_substitute(
        style=(HERE / "style.css").read_text(encoding="utf-8").strip(),
        motto=(HERE / "motto.txt").read_text(encoding="utf-8").strip(),
        release=os.environ["PLATFORM_TREE_ID"][:12],
    )
    (HERE / "page.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
