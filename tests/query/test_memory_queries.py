"""Heap at peak, leaks and findings, by the truth of the programs that were checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from tests.support import fixtures

from perfkit.ingest.pipeline import IngestOptions, ingest
from perfkit.ingest.store import Store
from perfkit.query.catalogue import statements

_HELD = {"temp_peak": 4_000_000, "leak_me": 1_234_567, "keep_me": 500_000, "leak_small": 100_000}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("memory") / "t.duckdb"
    names = ("massif.out", "dhat.json", "memcheck.xml", "memcheck.txt")
    paths = [fixtures("valgrind", name) for name in names]
    with Store(path, catalogue=statements()) as store:
        outcomes = list(ingest(store, [str(p) for p in paths], IngestOptions()))
        assert len(outcomes) == len(names)
        yield store.connection


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


@pytest.mark.parametrize("capture", ["massif.out", "dhat.json"])
def test_heap_at_peak_names_who_allocates(connection: duckdb.DuckDBPyConnection, capture: str) -> None:
    rows = _ask(connection, f"SELECT function, bytes, stack FROM heap_at_peak(capture := '{capture}')")
    found = {function: size for function, size, _ in rows if function in _HELD}
    assert found == _HELD
    assert sum(size for _, size, _ in rows) == 5_835_111
    assert next(stack for function, _, stack in rows if function == "leak_me").startswith("main;do_heap;leak_me")


def test_heap_at_peak_of_another_metric(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT sum(bytes) FROM heap_at_peak(capture := 'dhat.json', metric := 'heap_at_end')"
    assert _ask(connection, sql) == [(1_834_567,)]
    assert _ask(connection, "FROM heap_at_peak(capture := 'memcheck.xml')") == []
    with pytest.raises(duckdb.Error, match="no metric nonsense"):
        _ask(connection, "FROM heap_at_peak(capture := 'dhat.json', metric := 'nonsense')")


@pytest.mark.parametrize("capture", ["memcheck.xml", "memcheck.txt"])
def test_leaks_add_up_to_the_leak_summary(connection: duckdb.DuckDBPyConnection, capture: str) -> None:
    rows = _ask(connection, f"SELECT kind, sum(bytes), sum(blocks) FROM leaks(capture := '{capture}') GROUP BY kind")
    # LEAK SUMMARY of fixtures/valgrind/memcheck.txt.
    assert {kind: (size, blocks) for kind, size, blocks in rows} == {
        "Leak_DefinitelyLost": (364, 4),
        "Leak_IndirectlyLost": (128, 2),
        "Leak_PossiblyLost": (1000, 1),
        "Leak_StillReachable": (777, 1),
    }
    direct = _ask(connection, f"SELECT bytes, records, stack FROM leaks(capture := '{capture}') ORDER BY bytes LIMIT 1")
    assert direct == [(64, 1, "main;leak_indirect;malloc")]


@pytest.mark.parametrize("capture", ["memcheck.xml", "memcheck.txt"])
def test_findings_show_all_stacks(connection: duckdb.DuckDBPyConnection, capture: str) -> None:
    rows = _ask(connection, f"SELECT kind, count, stack, others, message FROM findings(capture := '{capture}')")
    assert len(rows) == 17
    assert [row[:-1] for row in rows if row[-1].startswith("Invalid read of size 4")] == [
        (
            "InvalidRead",
            1,
            "main;use_after_free",
            ["allocated: main;use_after_free;malloc", "freed: main;use_after_free;free"],
        )
    ]


def test_functions_coincide_across_tools(connection: duckdb.DuckDBPyConnection) -> None:
    """A function of one program is found by its name in both heap profilers."""
    sql = """
        SELECT count(DISTINCT c.name) FROM frame AS f JOIN capture AS c USING (capture_id)
        WHERE f.function = 'temp_peak' AND c.name IN ('massif.out', 'dhat.json')
    """
    assert _ask(connection, sql) == [(2,)]
