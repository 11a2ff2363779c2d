"""The road of a capture: the same rows whichever way they come, each content once, a failure leaves no trace."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pytest
from tests.support import captures

from perfkit.adapters.contract import Batch, batch
from perfkit.ingest import pipeline
from perfkit.ingest.pipeline import IngestOptions, Outcome, ingest
from perfkit.ingest.store import CaptureStamp, Store
from perfkit.schema.errors import FormatError, SchemaError, UnknownFormatError
from perfkit.schema.tables import TABLES

FILES = ("fp.data", "truth-cpu.data", "group-S.data", "stat-json.txt", "switch-events.data")


def _run(store: Store, paths: list[Path | str], **options: object) -> list[Outcome]:
    return list(ingest(store, [str(path) for path in paths], IngestOptions(**options)))


def _rows(store: Store, capture_id: int) -> dict[str, list[tuple[object, ...]]]:
    """Everything of a capture but what the moment of ingest stamped on it."""
    out = {}
    for name, table in TABLES.items():
        if not table.stamped:
            continue
        left_out = ("capture_id", "ingested_at") if name == "capture" else ("capture_id",)
        query = f"SELECT * EXCLUDE ({', '.join(left_out)}) FROM {name} WHERE capture_id = {capture_id}"
        out[name] = store.connection.execute(query).fetchall()
    return out


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "a.duckdb") as opened:
        yield opened


def test_workers_yield_the_rows_that_one_process_does(tmp_path: Path) -> None:
    paths = [captures("perf", name) for name in FILES]
    with Store(tmp_path / "one.duckdb") as one, Store(tmp_path / "many.duckdb") as many:
        alone = {outcome.path: outcome for outcome in _run(one, paths)}
        together = {outcome.path: outcome for outcome in _run(many, paths, jobs=2)}
        assert alone.keys() == together.keys() == {str(path) for path in paths}
        for path, outcome in alone.items():
            assert outcome.error is None
            assert _rows(one, outcome.capture_id) == _rows(many, together[path].capture_id)
        assert one.connection.execute("SELECT count(*) FROM sample").fetchall()[0][0] > 2000


def test_the_same_content_is_added_once_whatever_its_name(store: Store, tmp_path: Path) -> None:
    original = captures("perf", "fp.data")
    copy = shutil.copy(original, tmp_path / "renamed")
    first, second = _run(store, [original, copy])
    assert (first.is_known, second.is_known) == (False, True)
    assert second.capture_id == first.capture_id
    (again,) = _run(store, [copy], again=True)
    assert not again.is_known
    assert again.capture_id != first.capture_id
    before, after = _rows(store, first.capture_id), _rows(store, again.capture_id)
    assert before["sample"] == after["sample"]


def test_two_paths_of_one_content_are_one_capture_for_workers_too(store: Store, tmp_path: Path) -> None:
    original = captures("perf", "fp.data")
    copy = shutil.copy(original, tmp_path / "copy")
    outcomes = _run(store, [original, copy], jobs=2)
    assert sorted(outcome.is_known for outcome in outcomes) == [False, True]
    assert len({outcome.capture_id for outcome in outcomes}) == 1


def test_name_labels_and_run_are_stamped(store: Store) -> None:
    _run(store, [captures("perf", "fp.data")], name="mine", labels={"build": "42"}, run_id="r1")
    row = store.connection.execute("SELECT name, labels, run_id, byte_count, length(sha256) FROM capture").fetchall()
    assert row == [("mine", {"build": "42"}, "r1", captures("perf", "fp.data").stat().st_size, 64)]


def test_standard_input_is_read_like_a_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    content = captures("perf", "pipe.data").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    (outcome,) = _run(store, ["-"])
    assert outcome.error is None
    # 219 is what `perf report --stats` counts (pipe.stats.txt).
    assert store.connection.execute("SELECT count(*) FROM sample").fetchall() == [(219,)]
    assert store.connection.execute("SELECT name FROM capture").fetchall() == [("stdin",)]


def test_a_failure_leaves_the_others_and_no_row_of_its_own(store: Store, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"PERFILE2" + bytes(200))
    unknown = tmp_path / "unknown"
    unknown.write_bytes(b"\x00\x01\x02" * 100)
    good = captures("perf", "fp.data")
    bad, strange, fine = _run(store, [junk, unknown, good])
    assert isinstance(bad.error, FormatError)
    assert isinstance(strange.error, UnknownFormatError)
    assert fine.error is None
    assert store.connection.execute("SELECT count(*) FROM capture").fetchall() == [(1,)]


def test_an_adapter_that_breaks_half_way_leaves_the_database_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(store, [captures("perf", "truth-cpu.data")])
    before = _rows(store, 1)

    def break_off(*_: object):
        yield batch("metric", metric_id=[0], name=["x"], unit=["event"], aggregation=["sum"], is_estimate=[False])
        yield batch("event.something", ts=[1], payload=[2])
        raise FormatError("x", 7, "more", "less")

    monkeypatch.setattr(pipeline, "read_batches", break_off)
    (outcome,) = _run(store, [captures("perf", "fp.data")])
    assert isinstance(outcome.error, FormatError)
    assert _rows(store, 1) == before
    assert store.connection.execute("SELECT count(*) FROM metric").fetchall() == [(1,)]
    assert store.connection.execute("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'event'").fetchall() == [
        (0,)
    ]
    # The event table was rolled back with the rest; the next capture must be able to make it again.
    good = [
        batch("capture", name=[""], tool=["t"], format=["f"]),
        batch("event.something", ts=[1], payload=[2]),
    ]
    capture_id = store.add(good, CaptureStamp("n", "/p", "digest", 1))
    assert store.connection.execute("SELECT capture_id, payload FROM event.something").fetchall() == [(capture_id, 2)]


def test_a_capture_without_its_own_row_is_refused(store: Store) -> None:
    rows: list[Batch] = [batch("record_count", record=["SAMPLE"], count=[1])]
    with pytest.raises(SchemaError, match="expected one row of capture"):
        store.add(rows, CaptureStamp("n", "/p", "digest", 1))
    assert store.connection.execute("SELECT count(*) FROM record_count").fetchall() == [(0,)]


def test_dropping_a_capture_takes_all_its_rows_and_no_others(store: Store) -> None:
    first, second = _run(store, [captures("perf", name) for name in ("switch-events.data", "fp.data")])
    kept = _rows(store, second.capture_id)
    assert store.connection.execute("SELECT count(*) FROM event.perf_switch").fetchall() == [(140,)]
    store.drop(first.capture_id)
    assert all(not rows for rows in _rows(store, first.capture_id).values())
    assert _rows(store, second.capture_id) == kept
    assert store.connection.execute("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'event'").fetchall() == [
        (0,)
    ]
    assert store.connection.execute("SELECT count(*) FROM event").fetchall() == [(0,)]
