"""The file of `rehearse --application`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import UsageError
from edgeguard.rehearsal.application_settings import read

if TYPE_CHECKING:
    from pathlib import Path


def test_its_table_is_read_and_its_files_are_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "application.toml"
    file.write_text(
        '[application]\nname = "shop"\nignore = ["firewall"]\n'
        '[application.relationships]\ndb = "mysql://h/x"\nother = { file = "secret" }\n'
    )

    assert read(file) == {
        "name": "shop",
        "ignore": ["firewall"],
        "relationships": {"db": "mysql://h/x", "other": {"file": str(tmp_path / "secret")}},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not about the application"),
        ("application = 1\n", "not about the application"),
        ("[application]\n[cluster]\n", "not about the application"),
        ('[application]\nbranch = "main"\n', "not about the application"),
        ('[application]\nnam = "shop"\n', "application.toml: "),
        ("[application]\nvariables = { a = 1 }\n", "application.toml: "),
        ("[application\n", "can't be read"),
        (None, "can't be read"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "application.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError) as refused:
        read(file)

    assert said in refused.value.message
