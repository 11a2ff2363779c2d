"""callgrind: every function's self and inclusive cost against callgrind_annotate, on captures, on others' files and
live; what KCachegrind makes of recursion; estimated stacks.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.adapters.annotated import parse, read_golden, run_annotate
from tests.adapters.callgrind_rows import CYCLE, estimates_of, write
from tests.adapters.costs import Costs, Named, differing
from tests.adapters.reading import read_tables
from tests.support import captures, corpus, fixtures, tool

_CAPTURES = [
    "allevents", "cachebranch", "default", "dumpinstr", "inl", "inl-instr", "nocompress", "sepcallers", "seprecs",
    "threads-merged", "threads-sep", "truth-units",
]  # fmt: skip
_RECURSION = "qt-creator/tests/auto/valgrind/callgrind/data/recursion.out"
_CORPUS = [
    "gprof2dot/callgrind/bool.callgrind",
    "gprof2dot/callgrind/empty.callgrind",
    "gprof2dot/callgrind/googlecode-issue98.callgrind",
    "gprof2dot/callgrind/issue35.callgrind",
    "gungraun/iai-callgrind-runner/tests/fixtures/callgrind.out/callgrind.when_entry_point.out",
    "qt-creator/tests/auto/valgrind/callgrind/data/callgrind.out.sample",
    "qt-creator/tests/auto/valgrind/callgrind/data/inlinedFunctions.out",
    "qt-creator/tests/auto/valgrind/callgrind/data/multiCost.out",
    _RECURSION,
    "qt-creator/tests/auto/valgrind/callgrind/data/simpleFunction.out",
    "speedscope/sample/profiles/callgrind/callgrind.cfn-reset.log",
    "speedscope/sample/profiles/callgrind/callgrind.example.log",
    "speedscope/sample/profiles/callgrind/callgrind.multiple-event-types.log",
    "speedscope/sample/profiles/callgrind/callgrind.name-compression.log",
    "speedscope/sample/profiles/callgrind/callgrind.subposition-compression.log",
]
_ABANDONED = ["bbdumps.out", "bbdumps.out.2", "combined.out", "dumpbefore.out", "dumpbefore.out.2", "dumpbefore.out.3"]
_REFUSED = ["summary_and_totals", "summary_no_totals", "valid.minimal_main"]


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    made = Costs(tmp_path_factory.mktemp("callgrind"))
    yield made
    made.store.close()


def _annotate(path: Path, inclusive: str) -> str:
    name = tool("callgrind_annotate")
    return run_annotate(name, "--threshold=100", "--auto=no", f"--inclusive={inclusive}", path)


def _assert_equal(costs: Costs, path: Path, text: str, column: str) -> None:
    events, totals, functions = parse(text, has_objects=True)
    assert costs.events(path) == events
    for event in events:
        # Where a file has no `fl=` line, callgrind_annotate names the file nothing at all.
        expected = {f"???{name}" if name.startswith(":") else name: cost for name, cost in functions[event].items()}
        assert differing(costs.by_file_function(path, event, column), expected) == {}
        # `summary:` may have 0 for events that callgrind only adds up at the end.
        if column == "self" and not costs.issues(path) and totals[event]["totals"]:
            assert abs(costs.totals(path, event) - totals[event]["totals"]) <= 2


@pytest.mark.parametrize("name", _CAPTURES)
@pytest.mark.parametrize(("kind", "column"), [("excl", "self"), ("incl", "inclusive")])
def test_functions_cost_what_callgrind_annotate_prints(costs, name, kind, column):
    for path in sorted(captures("valgrind", "callgrind").glob(f"{name}.out*")):
        golden = path.parent / f"{path.name.removesuffix('.out')}.annotate-{kind}.txt"
        if path.suffix != ".txt":
            _assert_equal(costs, path, read_golden(golden), column)
            assert costs.issues(path) == {}


@pytest.mark.parametrize(
    ("name", "kind", "column"),
    [
        (name, kind, column)
        for name in _CORPUS
        for kind, column in (("exclusive", "self"), ("inclusive-tree", "inclusive"))
        if (name, kind) != (_RECURSION, "exclusive")  # without `fl=` lines the last function is left out of that table
    ],
)
def test_functions_of_other_projects_cost_what_callgrind_annotate_prints(costs, name, kind, column):
    golden = corpus("_peer_goldens", "valgrind-3.19.0", f"{name.replace('/', '~')}.callgrind_annotate-{kind}.txt.gz")
    _assert_equal(costs, corpus(name), read_golden(golden), column)


@pytest.mark.parametrize(("kind", "column"), [("exclusive", "self"), ("inclusive", "inclusive")])
def test_the_shipped_capture_costs_what_callgrind_annotate_prints(costs, kind, column):
    golden = read_golden(fixtures("valgrind", f"callgrind.{kind}.txt"))
    _assert_equal(costs, fixtures("valgrind", "callgrind.out"), golden, column)


@pytest.mark.parametrize("name", _ABANDONED)
def test_calls_of_no_count_are_calls(costs, name):
    """A dump inside a call writes its cost so far as `calls=0`. callgrind_annotate takes the line for self cost, and
    its total is off by that much from the file's own; KCachegrind takes it for a call, as perfkit does.
    """
    path = captures("valgrind", "callgrind", name)
    _, _, functions = parse(_annotate(path, "no"), has_objects=True)
    sql = (
        "SELECT coalesce(f.source_file, '???') || ':' || f.function, sum(e.value)::BIGINT FROM call_edge e "
        "JOIN frame f ON f.capture_id = e.capture_id AND f.frame_id = e.caller_frame_id "
        "WHERE e.capture_id = ? AND e.call_count = 0 GROUP BY ALL"
    )
    misread = dict(costs.rows(sql, costs.capture_id(path)))
    assert misread
    found = costs.by_file_function(path, "Ir", "self")
    found = {key: found.get(key, 0) + misread.get(key, 0) for key in found.keys() | misread.keys()}
    assert differing(found, functions["Ir"]) == {}
    assert costs.issues(path) == {}  # the sums are the file's own `totals:`


@pytest.mark.parametrize("name", _REFUSED)
def test_files_without_a_file_name_are_read(costs, name):
    """callgrind_annotate prints no function of a file that has no `fl=` line at its end."""
    path = corpus("gungraun/iai-callgrind-runner/tests/fixtures/callgrind.out", f"callgrind.{name}.out")
    assert [costs.by_file_function(path, event, "self")["???:main"] for event in costs.events(path)] == [*range(1, 10)]


def test_calls_are_those_that_the_program_makes(costs):
    """recur.c: fib(…) calls itself 1972 times, is_even and is_odd take turns 501 times each."""
    path = fixtures("valgrind", "callgrind.out")
    sql = "SELECT function, calls, in_cycle FROM function_cost(capture := ?) WHERE module LIKE '%/recur'"
    found = {row[0]: row[1:] for row in costs.rows(sql, costs.capture_id(path))}
    assert found["fib"] == (1, False)
    assert found["fib'2"] == (1972, False)  # calls only itself: no cycle
    assert found["is_even"][0] + found["is_even'2"][0] == 501
    assert found["is_odd"][0] + found["is_odd'2"][0] == 501
    assert found["is_even'2"][1]
    assert found["is_odd'2"][1]
    assert (found["op_add"][0], found["op_mul"][0], found["leaf_work"][0], found["dispatch"][0]) == (
        500,
        500,
        380,
        1000,
    )


def test_no_function_includes_more_than_the_whole(costs):
    """callgrind_annotate counts recursion many times over (is_even'2 is 1191 % of this program); function_cost does
    not, since cycles leave out the cost of calls inside them.
    """
    path = fixtures("valgrind", "callgrind.out")
    rows = costs.rows("SELECT inclusive, self FROM function_cost(capture := ?)", costs.capture_id(path))
    total = costs.totals(path, "Ir")
    assert sum(own for _, own in rows) == total
    assert max(inclusive for inclusive, _ in rows) == total
    assert all(inclusive >= 0 for inclusive, _ in rows)


def test_cycles_cost_what_kcachegrind_shows(costs, tmp_path):
    """By hand after KCachegrind's TraceFunction::update and TracePartFunction::update: members of a cycle cost their
    own and what they call outside of it; others what their callers say, calls of itself left out.
    """
    capture = costs.capture_id(write(tmp_path, CYCLE))
    rows = costs.rows("SELECT function, self, inclusive, calls, in_cycle FROM function_cost(capture := ?)", capture)
    assert {row[0]: row[1:] for row in rows} == {
        "main": (10, 110, 0, False),
        "a": (20, 25, 3, True),
        "b": (30, 37, 3, True),
        "c": (12, 12, 6, False),
    }


def test_estimated_stacks_share_cost_among_callers(tmp_path):
    text = (
        "events: Ir\nfl=x.c\nfn=main\n1 10\ncfn=f\ncalls=1 1\n1 60\nfn=b\n2 5\ncfn=f\ncalls=1 1\n2 40\n"
        "fn=f\n3 70\ncfn=g\ncalls=1 1\n3 30\nfn=g\n4 30\n"
    )
    tables = read_tables(write(tmp_path, text), adapter="callgrind.out")
    assert estimates_of(tables) == [
        ("Ir (estimated stacks)", "b", 5),
        ("Ir (estimated stacks)", "b;f", 28),
        ("Ir (estimated stacks)", "b;f;g", 12),
        ("Ir (estimated stacks)", "main", 10),
        ("Ir (estimated stacks)", "main;f", 42),
        ("Ir (estimated stacks)", "main;f;g", 18),
    ]


@pytest.mark.parametrize("name", ["default.out", "threads-combined.out", "inl-instr.out", "cachebranch.out"])
def test_estimated_stacks_add_up_to_the_self_cost_of_each_function(costs, name):
    path = captures("valgrind", "callgrind", name)
    sql = (
        "SELECT m.name, f.function, f.module, sum(s.value)::BIGINT FROM sample s "
        "JOIN metric m USING (capture_id, metric_id) JOIN stack k USING (capture_id, stack_id) "
        "JOIN frame f USING (capture_id, frame_id) "
        "WHERE capture_id = ? AND m.is_estimate = ? GROUP BY ALL HAVING sum(s.value) <> 0"
    )
    capture = costs.capture_id(path)
    recorded = {(row[0], *row[1:]) for row in costs.rows(sql, capture, False)}
    estimated = {(row[0].removesuffix(" (estimated stacks)"), *row[1:]) for row in costs.rows(sql, capture, True)}
    assert recorded
    assert estimated == recorded


def test_estimated_stacks_nest_as_the_program_calls(costs):
    path = captures("valgrind", "callgrind", "truth-units.out")
    sql = "SELECT function, total FROM hot_functions(capture := ?, metric := 'Ir (estimated stacks)')"
    total = dict(costs.rows(sql, costs.capture_id(path)))
    inclusive = dict(costs.rows("SELECT function, inclusive FROM function_cost(capture := ?)", costs.capture_id(path)))
    for function in ("main", "run_burns", "burn_a", "burn_b", "burn_c"):
        assert total[function] == pytest.approx(inclusive[function], rel=1e-4)
    assert total["burn_a"] == pytest.approx(240e6, rel=1e-3)


def test_the_exact_metric_comes_first(costs):
    capture = costs.capture_id(fixtures("valgrind", "callgrind.out"))
    rows = costs.rows("SELECT name, unit, is_estimate FROM metric WHERE capture_id = ? ORDER BY metric_id", capture)
    assert rows == [("Ir", "event", False), ("Ir (estimated stacks)", "event", True)]
    hottest = costs.rows("SELECT function, self FROM hot_functions(capture := ?) LIMIT 1", capture)
    assert hottest == [("leaf_work", 49_660)]


def test_instructions_add_up_to_their_lines(costs):
    capture = costs.capture_id(fixtures("valgrind", "callgrind.out"))
    sql = (
        "WITH fine AS (SELECT frame_id, sum(value) AS value FROM instruction_cost WHERE capture_id = $c GROUP BY ALL), "
        "coarse AS (SELECT k.frame_id, sum(s.value) AS value FROM sample s JOIN stack k USING (capture_id, stack_id) "
        "WHERE s.capture_id = $c AND s.metric_id = 0 GROUP BY ALL) "
        "SELECT count(*), count(*) FILTER (fine.value = coarse.value), sum(fine.value)::BIGINT "
        "FROM fine FULL JOIN coarse USING (frame_id)"
    )
    ((rows, same, total),) = costs.store.connection.execute(sql, {"c": capture}).fetchall()
    assert rows == same > 1000
    assert total == 252_088


def test_threads_are_kept_apart(costs):
    path = captures("valgrind", "callgrind", "threads-combined.out")
    sql = (
        "SELECT t.name, t.is_main, p.pid, sum(s.value)::BIGINT FROM sample s JOIN thread t USING (capture_id, utid) "
        "JOIN process p USING (capture_id, upid) WHERE capture_id = ? AND s.metric_id = 0 GROUP BY ALL ORDER BY 1"
    )
    assert costs.rows(sql, costs.capture_id(path)) == [
        ("multi thread 1", True, 3319, 182_827),
        ("multi thread 2", False, 3319, 774_122_012),
        ("multi thread 3", False, 3319, 774_120_007),
    ]


@pytest.mark.parametrize(
    "options", [(), ("--dump-instr=yes", "--cache-sim=yes", "--branch-sim=yes", "--collect-jumps=yes")]
)
def test_a_live_run_is_what_callgrind_annotate_prints(costs, tmp_path, options):
    program = tmp_path / "truth"
    subprocess.run([tool("cc"), "-g", "-O1", "-o", program, captures("workloads", "truth.c"), "-pthread"], check=True)
    path = tmp_path / "callgrind.out"
    command = [tool("valgrind"), "-q", "--tool=callgrind", f"--callgrind-out-file={path}", *options]
    subprocess.run([*command, program, "--units", "1"], check=True, capture_output=True)
    _assert_equal(costs, path, _annotate(path, "no"), "self")
    _assert_equal(costs, path, _annotate(path, "yes"), "inclusive")
    burns: Named = {
        row[0]: row[1]
        for row in costs.rows("SELECT function, self FROM function_cost(capture := ?)", costs.capture_id(path))
        if row[0].startswith("burn_")
    }
    assert burns["burn_a"] / burns["burn_c"] == pytest.approx(6, rel=0.01)
    assert burns["burn_b"] / burns["burn_c"] == pytest.approx(3, rel=0.01)
