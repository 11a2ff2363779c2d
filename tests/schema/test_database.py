"""Opening databases: new, foreign, of another version, held by somebody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from perfkit.ingest.store import Store
from perfkit.schema.database import default_path, fetch_one, open_for_reading, open_for_writing
from perfkit.schema.errors import NotAStoreError, StoreBusyError, StoreError, StoreVersionError
from perfkit.schema.tables import TABLES
from perfkit.schema.version import SCHEMA_VERSION

MACRO = "CREATE OR REPLACE MACRO answer() AS 42"


def _set_version(path: Path, version: int) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE perfkit_meta SET value = ? WHERE key = 'schema_version'", [str(version)])


def test_the_default_is_in_the_environment_or_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERFKIT_DB", raising=False)
    assert default_path() == Path("perfkit.duckdb")
    monkeypatch.setenv("PERFKIT_DB", "/data/x.duckdb")
    assert default_path() == Path("/data/x.duckdb")


@pytest.mark.parametrize("writable_cache", [True, False])
def test_a_new_database_has_all_tables_with_or_without_a_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, writable_cache: bool
) -> None:
    cache = tmp_path / "cache"
    if not writable_cache:
        cache.write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for name in ("first.duckdb", "second.duckdb"):  # the second comes from the template, where there is one
        with open_for_writing(tmp_path / name, catalogue=[MACRO]) as connection:
            tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            assert set(TABLES) <= tables
            assert fetch_one(connection, "SELECT answer()") == (42,)
            comment = fetch_one(connection, "SELECT comment FROM duckdb_tables() WHERE table_name = 'sample'")
            assert comment == ("a weight on a stack",)
    assert list(cache.glob("perfkit/empty-*.duckdb")) if writable_cache else cache.is_file()


def test_the_catalogue_of_an_older_perfkit_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    open_for_writing(path, catalogue=[MACRO]).close()
    with open_for_writing(path, catalogue=[MACRO.replace("42", "43")]) as connection:
        assert fetch_one(connection, "SELECT answer()") == (43,)
    with open_for_reading(path) as connection:
        assert fetch_one(connection, "SELECT answer()") == (43,)


def test_a_missing_database_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database") as caught:
        open_for_reading(tmp_path / "none.duckdb")
    assert "perfkit ingest" in caught.value.hint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        open_for_writing(tmp_path / "no" / "x.duckdb")


@pytest.mark.parametrize("opener", [open_for_reading, open_for_writing])
@pytest.mark.parametrize(
    ("version", "message"), [(SCHEMA_VERSION + 1, "knows versions up to"), (SCHEMA_VERSION - 1, "cannot read it")]
)
def test_another_version_is_refused_with_the_way_out(tmp_path: Path, opener, version: int, message: str) -> None:
    path = tmp_path / "a.duckdb"
    Store(path).close()
    _set_version(path, version)
    with pytest.raises(StoreVersionError, match=message) as caught:
        opener(path)
    assert caught.value.hint


@pytest.mark.parametrize("opener", [open_for_reading, open_for_writing])
def test_a_foreign_duckdb_file_is_left_alone(tmp_path: Path, opener) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS x")
    with pytest.raises(NotAStoreError, match="not one that perfkit made"):
        opener(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("mine",)]


@pytest.mark.parametrize("opener", [open_for_reading, open_for_writing])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, opener) -> None:
    path = tmp_path / "text.duckdb"
    path.write_text("hello, I am a text file\n" * 1000)
    with pytest.raises(NotAStoreError, match="no DuckDB database"):
        opener(path)
    assert path.read_text().startswith("hello")


def test_a_database_that_another_process_writes_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    program = (
        "import sys; from pathlib import Path; from perfkit.ingest.store import Store\n"
        "store = Store(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        for opener in (open_for_reading, open_for_writing):
            with pytest.raises(StoreBusyError, match=f"process {holder.pid}"):
                opener(path)
        holder.communicate("")
    open_for_reading(path).close()
