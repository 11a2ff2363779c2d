"""Every saved query against plain Python on random profiles, and against perf's own reports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.query.profiles import Sample, batches, label, reckon
from tests.support import captures

from perfkit.adapters.contract import batch
from perfkit.ingest.pipeline import IngestOptions, ingest
from perfkit.ingest.store import CaptureStamp, Store
from perfkit.query.catalogue import GROUPS, call, find_query, saved_queries, statements
from perfkit.schema.errors import QueryError

# Few functions, so that recursion is the rule; the same name in two modules; names that are missing.
FUNCTIONS = [("a", "/x/m"), ("b", "/x/m"), ("a", "/x/n"), ("c_", "/y/n"), (None, "/y/n"), (None, None), (None, "[v]")]
FRAMES = st.tuples(st.sampled_from(FUNCTIONS), st.integers(0, 1)).map(lambda item: (*item[0], item[1]))
SAMPLES = st.lists(
    st.builds(
        Sample,
        stack=st.lists(FRAMES, max_size=6).map(tuple),
        value=st.integers(1, 100),
        metric=st.integers(0, 1),
        utid=st.integers(0, 2),
        ts=st.integers(0, 1000),
        cpu=st.integers(0, 3),
    ),
    min_size=1,
    max_size=25,
)
RANDOM = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("catalogue") / "t.duckdb", catalogue=statements()) as opened:
        yield opened


def add(store: Store, samples: list[Sample], name: str = "random") -> int:
    return store.add(batches(samples), CaptureStamp(name, f"/{name}", name, 0))


def first_metric(samples: list[Sample]) -> int:
    return min(sample.metric for sample in samples)


def ask(store: Store, sql: str, *parameters: object) -> list[tuple]:
    return store.connection.execute(sql, list(parameters)).fetchall()


@RANDOM
@given(SAMPLES)
def test_hot_functions_count_each_sample_once_a_function(store, samples):
    capture = add(store, samples)
    for metric in {sample.metric for sample in samples}:
        total = reckon(samples, metric, lambda stack: {(label(f), f[1]) for f in stack} or {("[no stack]", None)})
        own = reckon(
            samples, metric, lambda stack: {(label(stack[-1]), stack[-1][1])} if stack else {("[no stack]", None)}
        )
        rows = ask(
            store,
            "SELECT function, module, self, total FROM hot_functions(capture := ?, metric := ?)",
            capture,
            f"metric-{metric}",
        )
        assert {(f, m): t for f, m, _, t in rows} == total
        assert {(f, m): s for f, m, s, _ in rows if s} == own


@RANDOM
@given(SAMPLES)
def test_percentages_and_samples_of_hot_functions(store, samples):
    capture = add(store, samples)
    metric = first_metric(samples)
    whole = sum(sample.value for sample in samples if sample.metric == metric)
    rows = ask(store, "SELECT self, self_percent, total, total_percent, samples, unit FROM hot_functions(?)", capture)
    assert sum(row[4] for row in rows) == sum(sample.metric == metric for sample in samples)
    for own, own_percent, total, total_percent, _, unit in rows:
        assert own_percent == pytest.approx(100 * own / whole, abs=0.006)
        assert total_percent == pytest.approx(100 * total / whole, abs=0.006)
        assert unit == ("ns", "event")[metric]


@RANDOM
@given(SAMPLES)
def test_hot_modules(store, samples):
    capture = add(store, samples)
    total = reckon(samples, first_metric(samples), lambda s: {(m or "[unknown]",) for _, m in s} or {("[no stack]",)})
    own = reckon(samples, first_metric(samples), lambda s: {(s[-1][1] or "[unknown]",)} if s else {("[no stack]",)})
    rows = ask(store, "SELECT module, self, total FROM hot_modules(?)", capture)
    assert {(m,): t for m, _, t in rows} == total
    assert {(m,): s for m, s, _ in rows if s} == own


@RANDOM
@given(SAMPLES, st.sampled_from(["a", "b", "c_", "[n]", "[unknown]", "%", "_", "nowhere"]))
def test_callers_and_callees(store, samples, wanted):
    capture = add(store, samples)
    metric = first_metric(samples)
    names = {label((name, module)) for sample in samples for name, module, _ in sample.stack}
    pattern = re.compile(wanted.replace("[", r"\[").replace("%", ".*").replace("_", "."))
    matching = {wanted} if wanted in names else {name for name in names if pattern.fullmatch(name)}

    def callers(stack):
        pairs = {(label(f), f[1], label(c), c[1]) for c, f in pairwise(stack)}
        pairs |= {(label(f), f[1], "[root]", None) for f in stack[:1]}
        return {(name, other, module, own) for name, own, other, module in pairs if name in matching}

    def callees(stack):
        pairs = {(label(f), f[1], label(c), c[1]) for f, c in pairwise(stack)}
        pairs |= {(label(f), f[1], "[self]", None) for f in stack[-1:]}
        return {(name, other, module, own) for name, own, other, module in pairs if name in matching}

    for macro, keys, other in (("callers", callers, "caller"), ("callees", callees, "callee")):
        expected: Counter = Counter()
        for (name, target, module, own), value in reckon(samples, metric, keys).items():
            expected[name, target, module, own, value] += 1
        rows = ask(
            store,
            f"SELECT function, {other}, {other}_module, module, total FROM {macro}(?, capture := ?)",
            wanted,
            capture,
        )
        assert Counter(rows) == expected


@RANDOM
@given(SAMPLES)
def test_call_tree_and_hot_stacks_put_addresses_together(store, samples):
    capture = add(store, samples)
    metric = first_metric(samples)
    paths = reckon(samples, metric, lambda stack: {(stack[: i + 1],) for i in range(len(stack))})
    rows = ask(store, "SELECT depth, ltrim(function), module, total FROM call_tree(?, min_percent := 0)", capture)
    assert Counter(rows) == Counter(
        (len(path) - 1, label(path[-1]), path[-1][1], value) for (path,), value in paths.items()
    )
    folded = reckon(samples, metric, lambda stack: {(stack,)} if stack else set())
    rows = ask(store, "SELECT stack, value FROM hot_stacks(?)", capture)
    assert Counter(rows) == Counter((";".join(map(label, path)), value) for (path,), value in folded.items())


@RANDOM
@given(SAMPLES, st.integers(1, 7))
def test_threads_processes_and_time(store, samples, buckets):
    capture = add(store, samples)
    chosen = [sample for sample in samples if sample.metric == first_metric(samples)]
    by_thread: Counter[int] = Counter()
    for sample in chosen:
        by_thread[sample.utid] += sample.value
    rows = ask(store, "SELECT tid, process, value, samples, cpus FROM hot_threads(?)", capture)
    assert {tid - 100: value for tid, _, value, _, _ in rows} == by_thread
    for tid, process, _, count, cpus in rows:
        own = [sample for sample in chosen if sample.utid == tid - 100]
        assert (process, count, cpus) == ("app" if tid < 102 else "other", len(own), len({s.cpu for s in own}))
    rows = ask(store, "SELECT pid, value, threads FROM hot_processes(?)", capture)
    assert sum(value for _, value, _ in rows) == sum(by_thread.values())
    assert {pid: threads for pid, _, threads in rows} == Counter(100 if utid < 2 else 200 for utid in by_thread)

    rows = ask(
        store,
        "SELECT bucket, start_ns, dur_ns, samples, value FROM samples_over_time(?, buckets := ?)",
        capture,
        buckets,
    )
    assert [row[0] for row in rows] == list(range(buckets))
    start = min(sample.ts for sample in chosen)
    for _, offset, length, count, value in rows:
        inside = [s for s in chosen if offset <= s.ts - start < offset + length]
        assert (count, value) == (len(inside), sum(sample.value for sample in inside))
    assert sum(row[3] for row in rows) == len(chosen)


@RANDOM
@given(SAMPLES)
def test_trust_counts_frames_without_a_name(store, samples):
    capture = add(store, samples)
    frames: Counter[str] = Counter()
    unnamed: Counter[str] = Counter()
    for sample in samples:
        for name, module, _ in sample.stack:
            frames[module or "[unknown]"] += 1
            unnamed[module or "[unknown]"] += name is None
    rows = ask(store, "SELECT module, frames, unnamed FROM trust(?)", capture)
    assert {module: count for module, count, _ in rows} == frames
    assert Counter({module: count for module, _, count in rows}) == unnamed
    share = ask(store, "SELECT named_percent, samples FROM capture_summary WHERE capture_id = ?", capture)[0]
    expected = 100 * (1 - unnamed.total() / frames.total()) if frames else None
    assert share == (pytest.approx(expected, abs=0.006) if frames else None, len(samples))


def test_samples_named_as_their_threads_were_at_the_time(store):
    renamed = [
        *batches(
            [Sample((), ts=5), Sample((), ts=15), Sample((), ts=25), Sample((), ts=None), Sample((), utid=1, ts=7)]
        ),
        batch("thread_name", utid=[0, 0, 0], ts=[None, 10, 20], name=["before", "middle", "after"]),
    ]
    capture = store.add(renamed, CaptureStamp("renamed", "/renamed", "renamed", 0))
    rows = ask(store, "SELECT ts, thread, process, pid, metric FROM sample_named WHERE capture_id = ?", capture)
    assert sorted(rows, key=str) == sorted(
        [
            (5, "before", "app", 100, "metric-0:u"),
            (15, "middle", "app", 100, "metric-0:u"),
            (25, "after", "app", 100, "metric-0:u"),
            (None, "thread-0", "app", 100, "metric-0:u"),
            (7, "thread-1", "app", 100, "metric-0:u"),
        ],
        key=str,
    )


def test_event_counts_and_issues(store):
    rows = [
        *batches([Sample((), ts=0), Sample((), ts=2_000_000_000)]),
        batch("event.sched_switch", ts=[1, 2, 3], cpu=[0, 0, 0], prev=[1, 2, 3]),
        batch("import_issue", code=["seen", "lost"], severity=["info", "error"], offset=[7, None], count=[9, 1]),
    ]
    capture = store.add(rows, CaptureStamp("events", "/events", "events", 0))
    assert ask(store, "FROM event_counts(?)", capture) == [
        ("sched_switch", "event", 3, 1.5),
        ("metric-0:u", "sample", 2, 1.0),
    ]
    assert ask(store, "SELECT severity, code, count, byte_offset FROM issues(?)", capture) == [
        ("error", "lost", 1, None),
        ("info", "seen", 9, 7),
    ]


def test_counters_of_a_capture(store):
    rows = [
        batch("capture", name=[""], tool=["perf"], format=["perf.stat"]),
        batch("counter_track", track_id=[0, 1], name=["cycles", "faults"], unit=["", ""]),
        batch("counter", track_id=[0, 0, 1], ts=[1, 2, 1], value=[5.0, 7.0, None]),
    ]
    capture = store.add(rows, CaptureStamp("stat", "/stat", "stat", 0))
    assert ask(store, "SELECT name, points, total, low, high FROM counters(?)", capture) == [
        ("cycles", 2, 12.0, 5.0, 7.0),
        ("faults", 0, None, None, None),
    ]
    assert ask(store, "FROM hot_functions(?)", capture) == []


def test_which_capture_is_meant(tmp_path):
    with Store(tmp_path / "t.duckdb", catalogue=statements()) as store:
        add(store, [Sample((("old", None, 0),))], "first")
        add(store, [Sample((("new", None, 0),))], "second")

        def function(sql: str) -> str:
            return ask(store, f"SELECT function FROM {sql}")[0][0]

        assert function("hot_functions()") == "new"
        assert function("hot_functions(1)") == function("hot_functions('first')") == "old"
        store.connection.execute("SET VARIABLE capture = 1")
        assert function("hot_functions()") == "old"
        assert function("hot_functions(2)") == "new"
        with pytest.raises(duckdb.Error, match="no capture third"):
            function("hot_functions('third')")
        with pytest.raises(duckdb.Error, match="no metric page-faults"):
            function("hot_functions(metric := 'page-faults')")


def test_plain_duckdb_answers_from_the_file_too(tmp_path):
    path = tmp_path / "t.duckdb"
    with Store(path, catalogue=statements()) as store:
        add(store, [Sample((("main", "/bin/app", 0),), value=3)])
    with duckdb.connect(str(path), read_only=True) as plain:
        assert plain.execute("SELECT function, self FROM hot_functions()").fetchall() == [("main", 3)]


def test_an_older_files_queries_are_replaced(tmp_path):
    for _ in range(2):
        Store(tmp_path / "t.duckdb", catalogue=statements()).close()
    with Store(tmp_path / "t.duckdb", catalogue=["CREATE OR REPLACE MACRO issues() AS TABLE SELECT 1"]):
        pass
    with Store(tmp_path / "t.duckdb", catalogue=statements()) as store:
        add(store, [Sample(())])
        assert ask(store, "FROM issues()") == []


@pytest.mark.parametrize("query", saved_queries().values(), ids=saved_queries())
def test_documentation_is_true(store, query):
    assert query.summary.endswith(".")
    assert query.group in GROUPS
    assert re.search(rf"CREATE OR REPLACE (MACRO|VIEW) {query.name}\b", query.statement)
    for parameter in query.parameters:
        assert parameter.doc
        if parameter.default is not None:
            assert f"{parameter.name} := {parameter.default}" in query.statement
    if query.is_view:
        comment = ask(store, "SELECT comment FROM duckdb_views() WHERE view_name = ?", query.name)
    else:
        found = ask(store, "SELECT parameters, comment FROM duckdb_functions() WHERE function_name = ?", query.name)
        assert found[0][0] == [parameter.name for parameter in query.parameters]
        comment = [found[0][1:]]
    assert comment == [(query.summary,)]


def test_examples_run_and_documented_columns_exist(tmp_path):
    with Store(tmp_path / "t.duckdb", catalogue=statements()) as store:
        add(store, [Sample((("main", "/bin/app", 0), ("work", "/bin/app", 1)))])
        for query in saved_queries().values():
            example = query.example.replace("'cycles'", "'metric-0'")
            assert query.name in example
            assert ask(store, example) is not None
            if not query.is_scalar:
                sql = call(query, {"function"} if query.name in ("callers", "callees") else set())
                result = store.connection.execute(sql, {"function": "main"} if "$" in sql else {})
                assert {name for name, _ in query.columns} <= {column[0] for column in result.description}, query.name
                result.fetchall()


def test_a_query_is_found_by_its_title():
    assert find_query("@hot-functions") is find_query("hot_functions")
    with pytest.raises(QueryError, match=r"Did you mean @hot-functions\?"):
        find_query("@hot-function")
    with pytest.raises(QueryError, match="no saved query @is-named"):
        find_query("@is-named")


def test_parameters_are_checked():
    callers = find_query("@callers")
    assert call(callers, {"function", "metric"}) == "FROM callers($function, metric := $metric)"
    with pytest.raises(QueryError, match="needs the parameter function"):
        call(callers, set())
    with pytest.raises(QueryError, match="has no parameter functio; it takes capture, function, metric"):
        call(callers, {"functio"})


FLAT_ROW = re.compile(r"\s+[\d.]+%\s+(\d+)\s+(\d+)\s+(.{1,16}?)\s\s+(.+?)\s+\[[.k]\] (.*?)\s*$")


@pytest.mark.parametrize(
    "stem", ["fp", "truth-cpu", "truth-faults", "user-only", "allfields", "clockid", "nocallgraph"]
)
def test_hot_functions_are_those_of_perf_report(tmp_path, stem):
    text = captures("perf", f"{stem}.script.txt")
    samples: Counter[tuple[str, str]] = Counter()
    periods: Counter[tuple[str, str]] = Counter()
    for line in Path(captures("perf", f"{stem}.report-flat.txt")).read_text().splitlines():
        if match := FLAT_ROW.match(line):
            key = (match[4].strip(), match[5])
            samples[key] += int(match[1])
            periods[key] += int(match[2])
    assert samples
    with Store(tmp_path / "t.duckdb", catalogue=statements()) as store:
        (outcome,) = ingest(store, [str(text)], IngestOptions())
        assert outcome.error is None
        rows = ask(
            store,
            "SELECT coalesce(parse_filename(module), '[unknown]'), function, sum(samples), sum(self) "
            "FROM hot_functions() WHERE samples > 0 GROUP BY ALL",
        )
    assert {(module, function): count for module, function, count, _ in rows} == samples
    assert {(module, function): weight for module, function, _, weight in rows} == periods
