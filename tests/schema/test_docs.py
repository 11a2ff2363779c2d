"""The generated pages say what the code says now."""

from __future__ import annotations

import pytest
from tests.support import ROOT

from perfkit.cli.docs import main, pages, stale
from perfkit.schema.docs import render
from perfkit.schema.tables import TABLES


def test_pages_are_fresh():
    assert stale(ROOT / "docs") == [], "run `make docs`"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_is_in_the_page(table):
    text = render()
    section = text.split(f"\n## `{table.name}`\n")[1].split("\n## ")[0]
    for column in table.columns:
        (line,) = [line for line in section.splitlines() if line.startswith(f"| `{column.name}` |")]
        assert line.count(" | ") == 3
        assert column.doc.replace("|", "\\|") in line


def test_stale_pages_are_told_and_written(tmp_path, capsys):
    assert main([str(tmp_path), "--check"]) == 1
    assert f"{tmp_path / 'SCHEMA.md'} is stale" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == pages()
    (tmp_path / "CLI.md").write_text("edited")
    assert stale(tmp_path) == ["CLI.md"]
