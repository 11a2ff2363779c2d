"""`perfkit captures`, `perfkit drop` and `perfkit formats`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import duckdb
import pytest
from tests.cli.program import run
from tests.query.profiles import Sample, batches

from perfkit.adapters.contract import batch
from perfkit.adapters.registry import adapters
from perfkit.ingest.store import CaptureStamp, Store
from perfkit.query.catalogue import statements


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    stack = (("main", "/usr/bin/app", 0), (None, "/usr/lib/libc.so.6", 0))
    with Store(folder / "perfkit.duckdb", catalogue=statements()) as store:
        for name, labels in (("base", {"build": "41"}), ("run", {"build": "42"}), ("again", {"build": "42"})):
            rows = [
                *batches([Sample(stack, 5, ts=0), Sample(stack, 5, ts=1_500_000_000)]),
                batch("import_issue", code=["lost"], severity=["warning"], offset=[77], count=[3], detail=["gone"]),
            ]
            store.add(rows, CaptureStamp(name, f"/data/{name}", name, 2048, labels=labels))
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "db")
    return tmp_path / "db"


def names(folder: Path) -> list[str]:
    with duckdb.connect(str(folder / "perfkit.duckdb"), read_only=True) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM capture ORDER BY capture_id").fetchall()]


def test_the_list(prepared):
    lines = run("captures", cwd=prepared).text.splitlines()
    heading = "id name tool format metrics samples threads span_ns named_percent issues labels ingested"
    assert " ".join(lines[0].split()) == heading
    assert re.fullmatch(
        r" 2  run    test  test    metric-0:u, metric-1:u        2        3   1.50 s         50.00%       1  build=42  "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        lines[3],
    )


def test_the_list_for_machines(prepared):
    listed = json.loads(run("captures", "--json", cwd=prepared).out)
    assert [(row["capture_id"], row["name"], row["labels"]) for row in listed] == [
        (1, "base", {"build": "41"}),
        (2, "run", {"build": "42"}),
        (3, "again", {"build": "42"}),
    ]


def test_one_in_detail(prepared):
    text = run("captures", "run", cwd=prepared).text
    assert re.search(r"^path +/data/run$", text, re.MULTILINE)
    assert re.search(r"^byte_count +2\.00 KiB$", text, re.MULTILINE)
    assert re.search(r"^warning +lost +3 +gone +77$", text, re.MULTILINE)
    assert re.search(r"^/usr/lib/libc\.so\.6 +2 +2 +100\.00% +50\.00%$", text, re.MULTILINE)
    assert "tool_version" not in text, "what is not known is left out"


def test_several_in_detail(prepared):
    detailed = json.loads(run("captures", "build=42", "--json", cwd=prepared).out)
    assert [item["name"] for item in detailed] == ["run", "again"]
    assert detailed[0]["issues"][0]["code"] == "lost"
    assert len(re.findall("^capture_id ", run("captures", "build=42", cwd=prepared).text, re.MULTILINE)) == 2


def test_an_unknown_capture(prepared):
    result = run("captures", "nope", cwd=prepared)
    assert result.code == 2
    assert "no capture is called nope; there is 3 (again), 2 (run), 1 (base)." in result.err


def test_an_empty_database(tmp_path):
    Store(tmp_path / "perfkit.duckdb", catalogue=statements()).close()
    result = run("captures", cwd=tmp_path)
    assert (result.code, result.out) == (0, b"")
    assert "perfkit ingest" in result.err
    assert json.loads(run("captures", "--json", cwd=tmp_path).out) == []


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["@latest"], ["base", "run"]),
        (["1", "base"], ["run", "again"]),
        (["build=42"], ["base"]),
        (["run", "3"], ["base"]),
        (["--all"], []),
    ],
)
def test_dropping(folder, arguments, left):
    result = run("drop", *arguments, "--yes", cwd=folder)
    assert result.code == 0
    assert names(folder) == left
    with duckdb.connect(str(folder / "perfkit.duckdb"), read_only=True) as connection:
        tables = connection.execute(
            "SELECT table_name FROM duckdb_columns() WHERE column_name = 'capture_id' AND table_name IN "
            "(SELECT table_name FROM duckdb_tables())"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT count(DISTINCT capture_id) FROM "{table}"').fetchall()
            assert rows[0][0] <= len(left), table


def test_nobody_to_ask(folder):
    result = run("drop", "1", cwd=folder)
    assert result.code == 2
    assert "this would drop 1 (base)." in result.err
    assert "--yes" in result.err
    assert names(folder) == ["base", "run", "again"]


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", ["base", "run"]), (b"n\n", ["base", "run", "again"])])
def test_somebody_to_ask(folder, answer, left):
    result = run("drop", "@latest", cwd=folder, stdin=answer, is_terminal=True)
    assert result.code == 0
    assert names(folder) == left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the captures to drop, or --all"),
        (["1", "--all"], "name the captures to drop, or --all"),
        (["1", "nope"], "no capture is called nope"),
        (["1", "--db", "missing.duckdb"], "there is no database at missing.duckdb"),
    ],
)
def test_what_is_not_dropped(folder, arguments, message):
    result = run("drop", *arguments, "--yes", cwd=folder)
    assert result.code == 2
    assert message in result.err
    assert names(folder) == ["base", "run", "again"]


def test_a_database_in_use(folder):
    with Store(folder / "perfkit.duckdb"):
        result = run("drop", "1", "--yes", cwd=folder)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_formats(tmp_path):
    listed = json.loads(run("formats", "--json", cwd=tmp_path).out)
    assert [row["name"] for row in listed] == [adapter.info.name for adapter in adapters()]
    assert all(row["specification"].startswith("http") for row in listed)
    text = run("formats", cwd=tmp_path).text
    for adapter in adapters():
        assert re.search(rf"^{re.escape(adapter.info.name)} ", text, re.MULTILINE)
