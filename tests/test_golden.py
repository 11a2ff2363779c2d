"""Fixture → adapter → store → SQL → CSV, held against tests/golden; and the numbers in it against the tool's reports.

Frames are left unnamed: what a machine has installed must not change the answers.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from tests.support import ROOT, fixtures

from perfkit.adapters.contract import Batch, IssueLog
from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import Source
from perfkit.ingest.store import CaptureStamp, Store

GOLDEN = ROOT / "tests" / "golden"
QUERIES = sorted(GOLDEN.glob("*/*.sql"))
CAPTURES = sorted((ROOT / "fixtures" / "perf").glob("*.data"))
CASES = [
    pytest.param(capture, query, id=f"{capture.name}-{query.stem}")
    for query in QUERIES
    for capture in sorted((ROOT / "fixtures" / query.parent.name).glob("*.data"))
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("golden") / "golden.duckdb", threads=1) as store:
        yield store


def capture_id(store: Store, path: Path) -> int:
    """The capture in the store, added when it is first asked for."""
    known = store.find(str(path))
    if known is not None:
        return known
    with Source(path) as source:
        return store.add(batches(source), CaptureStamp(path.name, str(path), str(path), source.size))


def batches(source: Source) -> Iterator[Batch]:
    issues = IssueLog()
    yield from find_adapter(source).read(source, issues)
    if len(issues):
        yield issues.to_batch()


def ask(store: Store, sql: str, path: Path) -> duckdb.DuckDBPyConnection:
    return store.connection.execute(sql, {"id": capture_id(store, path)})


@pytest.mark.parametrize(("path", "query"), CASES)
def test_the_answer_is_the_golden(path: Path, query: Path, store: Store, request: pytest.FixtureRequest):
    capture_id(store, path)
    answer = ask(store, query.read_text("utf-8"), path)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(column[0] for column in answer.description)
    rows.writerows(answer.fetchall())
    golden = query.parent / path.name / f"{query.stem}.csv"
    comments, expected = read_golden(golden) if golden.exists() else ("", None)
    if request.config.getoption("--bless"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(comments + out.getvalue(), "utf-8")
        return
    assert expected is not None, f"{golden} is missing; --bless writes it"
    assert out.getvalue() == expected


def read_golden(path: Path) -> tuple[str, str]:
    """Comment lines at the top, and what follows."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    comments = [line for line in lines if line.startswith("#")]
    return "".join(comments), "".join(lines[len(comments) :])


def test_no_golden_is_left_over():
    expected = {q.parent / p.name / f"{q.stem}.csv" for q in QUERIES for p in CAPTURES if q.parent.name == "perf"}
    assert set(GOLDEN.glob("perf/*/*.csv")) == expected


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_counts_are_those_that_perf_reports(path: Path, store: Store):
    text = fixtures("perf", path.name.replace(".data", ".stats.txt")).read_text("utf-8")
    events = text.split("\n", 2)[2]
    aggregated = {name: int(count) for name, count in re.findall(r"^ +(\w+) events: +(\d+)  \(", events, re.MULTILINE)}
    sql = "SELECT record, count FROM record_count WHERE capture_id = $id AND metric_id IS NULL"
    assert dict(ask(store, sql, path).fetchall()) == aggregated
    by_event = dict(re.findall(r"^(\S+) stats:\n +SAMPLE events: +(\d+)$", events, re.MULTILINE))
    sql = (
        "SELECT name, count(*) FROM sample JOIN metric USING (capture_id, metric_id) WHERE capture_id = $id GROUP BY 1"
    )
    counts = dict(ask(store, sql, path).fetchall())
    assert counts == {name: int(count) for name, count in by_event.items() if int(count)}


@pytest.mark.parametrize("path", [path for path in CAPTURES if "pipe" not in path.name], ids=lambda path: path.name)
def test_weights_by_module_are_those_that_perf_reports(path: Path, store: Store):
    """Samples and periods by module of the innermost frame, against the sum of perf's rows for its functions."""
    text = fixtures("perf", path.name.replace(".data", ".report-flat.txt")).read_text("utf-8")
    theirs: Counter[tuple[str, int]] = Counter()
    for line in text.splitlines():
        columns = line.split()
        if not columns or line.startswith("#"):
            continue
        count = sum(column.endswith("%") for column in columns)  # as many as the group has members
        samples, periods, module = columns[count : 2 * count], columns[2 * count : 3 * count], columns[3 * count + 1]
        theirs[module, 0] += sum(map(int, samples))
        theirs[module, 1] += sum(map(int, periods))
    sql = """SELECT regexp_extract(module, '[^/]+$'), count(*), sum(value)::BIGINT
        FROM sample JOIN stack USING (capture_id, stack_id) JOIN frame USING (capture_id, frame_id)
        WHERE capture_id = $id GROUP BY 1"""
    ours = {(module, kind): (n, w)[kind] for module, n, w in ask(store, sql, path).fetchall() for kind in (0, 1)}
    assert ours == dict(theirs)


def test_functions_have_the_shares_that_the_program_gives_them(store: Store):
    """`truth` burns in burn_a, burn_b and burn_c 60 : 30 : 10; perf reports 1195, 598 and 199 samples of them."""
    path = fixtures("perf", "truth-cpu.data")
    sql = """SELECT address // 64, count(*) AS n
        FROM sample JOIN stack USING (capture_id, stack_id) JOIN frame USING (capture_id, frame_id)
        WHERE capture_id = $id AND module LIKE '%/truth' GROUP BY 1 ORDER BY 2 DESC LIMIT 3"""
    assert [count for _, count in ask(store, sql, path).fetchall()] == [1195, 598, 199]
