"""Which captures a CAPTURE argument names."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from tests.query.profiles import Sample, batches

from perfkit.ingest.store import CaptureStamp, Store
from perfkit.query.captures import details, resolve_capture, resolve_captures, summaries
from perfkit.query.catalogue import statements
from perfkit.schema.errors import CaptureNotFoundError


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with Store(tmp_path_factory.mktemp("captures") / "t.duckdb", catalogue=statements()) as store:
        for number, (name, labels) in enumerate(
            [("base", {"build": "41"}), ("run", {"build": "42", "host": "a"}), ("run", {"build": "42"}), ("1", {})]
        ):
            samples = [Sample((("main", "/bin/app", 0), (None, "/lib/x", 0)), value=5, ts=t * 100) for t in range(3)]
            store.add(batches(samples), CaptureStamp(name, "/x", str(number), 10, labels=labels))
        yield store.connection


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (None, [4]),
        ("@latest", [4]),
        ("3", [3]),
        ("base", [1]),
        ("run", [2, 3]),
        ("build=42", [2, 3]),
        ("host=a", [2]),
        ("1", [1]),  # an id wins over a name
    ],
)
def test_what_is_named(connection, text, ids):
    assert resolve_captures(connection, text) == ids


@pytest.mark.parametrize("text", ["9", "nope", "build=43", "=", "", "@first", "no=pe", "'; DROP TABLE capture; --"])
def test_what_is_not_there_lists_what_is(connection, text):
    with pytest.raises(CaptureNotFoundError, match=r"there is 4 \(1\), 3 \(run\), 2 \(run\), 1 \(base\)\.") as caught:
        resolve_captures(connection, text)
    assert "perfkit captures" in caught.value.hint


def test_exactly_one(connection):
    assert resolve_capture(connection, "base") == 1
    with pytest.raises(CaptureNotFoundError, match=r"run names 2 captures \(2, 3\), and one is needed"):
        resolve_capture(connection, "run")


def test_an_empty_database_says_what_to_do(tmp_path):
    with (
        Store(tmp_path / "t.duckdb") as store,
        pytest.raises(CaptureNotFoundError, match="holds no captures") as caught,
    ):
        resolve_captures(store.connection, None)
    assert "perfkit ingest" in caught.value.hint


def test_a_long_list_is_cut(tmp_path):
    with Store(tmp_path / "t.duckdb") as store:
        for number in range(12):
            store.add(batches([]), CaptureStamp(f"c{number}", "/x", str(number), 0))
        with pytest.raises(CaptureNotFoundError, match=r"3 \(c2\) and 2 more\."):
            resolve_captures(store.connection, "nope")


def test_summaries(connection):
    assert [row["capture_id"] for row in summaries(connection)] == [1, 2, 3, 4]
    (row,) = summaries(connection, [2])
    assert row["name"] == "run"
    assert row["metrics"] == ["metric-0:u", "metric-1:u"]
    assert (row["samples"], row["threads"], row["span_ns"], row["issues"]) == (3, 3, 200, 0)
    assert row["named_percent"] == 50
    assert row["labels"] == {"build": "42", "host": "a"}


def test_details(connection):
    item = details(connection, 1)
    assert (item["name"], item["byte_count"], item["samples"]) == ("base", 10, 3)
    assert [metric["unit"] for metric in item["metrics"]] == ["ns", "event"]
    assert [(row["module"], row["unnamed"]) for row in item["trust"]] == [("/lib/x", 3), ("/bin/app", 0)]
    assert item["issues"] == []
