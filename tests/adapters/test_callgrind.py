"""callgrind: every function's self and inclusive cost against callgrind_annotate, on captures, on others' files and
live; what KCachegrind makes of recursion; estimated stacks; the format's corners; damage.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.adapters.annotated import parse, read_golden, run_annotate
from tests.adapters.costs import Costs, Named, differing
from tests.adapters.integrity import read_checked
from tests.adapters.reading import Tables, chains, nameless, read_tables
from tests.support import captures, corpus, fixtures, tool

import perfkit.adapters.callgrind.adapter
from perfkit.adapters.callgrind import Callgrind

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


_CYCLE = """\
# callgrind format
events: Ir
ob=/bin/x
fl=x.c
fn=main
1 10
cfn=a
calls=1 2
1 100
fn=a
2 20
cfn=b
calls=3 3
2 90
cfn=c
calls=1 5
2 5
fn=b
3 30
cfn=a
calls=2 2
3 60
cfn=c
calls=1 5
3 7
fn=c
5 12
cfn=c
calls=4 5
5 8
"""


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "x"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_cycles_cost_what_kcachegrind_shows(costs, tmp_path):
    """By hand after KCachegrind's TraceFunction::update and TracePartFunction::update: members of a cycle cost their
    own and what they call outside of it; others what their callers say, calls of itself left out.
    """
    capture = costs.capture_id(_write(tmp_path, _CYCLE))
    rows = costs.rows("SELECT function, self, inclusive, calls, in_cycle FROM function_cost(capture := ?)", capture)
    assert {row[0]: row[1:] for row in rows} == {
        "main": (10, 110, 0, False),
        "a": (20, 25, 3, True),
        "b": (30, 37, 3, True),
        "c": (12, 12, 6, False),
    }


def _edges(tables: Tables) -> list[tuple]:
    frames = {frame["frame_id"]: frame for frame in tables["frame"]}
    return [
        (frames[e["caller_frame_id"]]["function"], frames[e["caller_frame_id"]]["line"],
         frames[e["callee_frame_id"]]["function"], frames[e["callee_frame_id"]]["line"],
         e["call_count"], e["value"], e["is_recursive"])
        for e in tables["call_edge"]
    ]  # fmt: skip


def test_edges_lead_from_the_line_of_the_call_to_the_function(tmp_path):
    assert _edges(read_tables(_write(tmp_path, _CYCLE), adapter="callgrind.out")) == [
        ("main", 1, "a", None, 1, 100, False),
        ("a", 2, "b", None, 3, 90, True),
        ("a", 2, "c", None, 1, 5, False),
        ("b", 3, "a", None, 2, 60, True),
        ("b", 3, "c", None, 1, 7, False),
        ("c", 5, "c", None, 4, 8, True),
    ]


def _instructions(tables: Tables) -> list[tuple[int, int]]:
    return [(row["address"], row["value"]) for row in tables["instruction_cost"]]


def _estimates(tables: Tables) -> list[tuple]:
    """(metric, path, value)"""
    return _samples(tables, is_estimate=True)


def _samples(tables: Tables, *, is_estimate: bool = False) -> list[tuple]:
    """(metric, function, file, line, module, value), or (metric, path, value) of estimates."""
    metrics = {row["metric_id"]: row for row in tables["metric"]}
    frames = {row["frame_id"]: row for row in tables["frame"]}
    chain = chains(tables)
    found: list[tuple] = []
    for sample in tables["sample"]:
        metric = metrics[sample["metric_id"]]
        path = [frames[frame] for frame in chain[sample["stack_id"]]]
        if metric["is_estimate"] and is_estimate:
            found.append((metric["name"], ";".join(frame["function"] for frame in path), sample["value"]))
        elif not metric["is_estimate"] and not is_estimate:
            (frame,) = path
            place = tuple(frame[key] for key in ("function", "source_file", "line", "module"))
            found.append((metric["name"], *place, sample["value"]))
    return sorted(found, key=str)


def test_estimated_stacks_share_cost_among_callers(tmp_path):
    text = (
        "events: Ir\nfl=x.c\nfn=main\n1 10\ncfn=f\ncalls=1 1\n1 60\nfn=b\n2 5\ncfn=f\ncalls=1 1\n2 40\n"
        "fn=f\n3 70\ncfn=g\ncalls=1 1\n3 30\nfn=g\n4 30\n"
    )
    tables = read_tables(_write(tmp_path, text), adapter="callgrind.out")
    assert _estimates(tables) == [
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


def test_blocks_may_end_anywhere(monkeypatch):
    """What is in effect at a block's end goes on in the next: with blocks of a few lines everything is the same."""
    path = fixtures("valgrind", "callgrind.out")
    whole = read_tables(path, adapter="callgrind.out")
    monkeypatch.setattr(perfkit.adapters.callgrind.adapter, "_BLOCK_BYTES", 1009)
    pieces = read_tables(path, adapter="callgrind.out")
    for view in (_samples, _edges, _instructions):  # estimates are rounded in the order of their functions' numbers
        assert sorted(view(pieces), key=str) == sorted(view(whole), key=str)


def test_compression_is_only_a_way_of_writing():
    folder = captures("valgrind", "callgrind")
    tables = [read_tables(folder / name, adapter="callgrind.out") for name in ("default.out", "nocompress.out")]
    assert _samples(tables[0]) == _samples(tables[1])
    assert sorted(map(str, _edges(tables[0]))) == sorted(map(str, _edges(tables[1])))
    fine = [read_tables(folder / name, adapter="callgrind.out") for name in ("dumpinstr.out", "nocompress-instr.out")]
    assert _samples(fine[0]) == _samples(fine[1]) == _samples(tables[0])
    assert sorted(_instructions(fine[0])) == sorted(_instructions(fine[1]))


def test_a_name_may_be_given_to_another_number_again(tmp_path):
    text = "# callgrind format\nevents: Ir\nfn=(1) a\n1 1\nfn=(2) b\n1 2\nfn=(1)\n1 4\nfn=(1) c\n1 8\nfn=(1)\n1 16\n"
    found = _samples(read_tables(_write(tmp_path, text), adapter="callgrind.out"))
    assert found == [("Ir", "a", None, 1, None, 5), ("Ir", "b", None, 1, None, 2), ("Ir", "c", None, 1, None, 24)]


def test_derived_events_are_metrics(tmp_path):
    text = (
        "# callgrind format\r\nevent: Sum = Ir + 2 Dr : all of it\r\nevent: Ir : Instructions\r\n"
        "events: Ir Dr\r\nfn=f\r\n1 5 7"
    )
    tables = read_tables(_write(tmp_path, text), adapter="callgrind.out")
    assert [(name, value) for name, *_, value in _samples(tables)] == [("Dr", 7), ("Ir", 5), ("Sum", 19)]
    assert not any(metric["is_estimate"] for metric in tables["metric"])


def test_times_of_system_calls_have_their_unit():
    tables = read_tables(captures("valgrind", "callgrind", "allevents.out"), adapter="callgrind.out")
    assert {m["name"]: m["unit"] for m in tables["metric"]}["sysTime"] == "ms"


def test_addresses_are_relative_and_wrap(tmp_path):
    text = (
        "# callgrind format\npositions: instr\nevents: Ir\nob=(1) /bin/x\nfn=f\n"
        "0xfffffffffffffff0 3\n+8 4\n-16 1\n* 2\n"
    )
    tables = read_tables(_write(tmp_path, text), adapter="callgrind.out")
    assert _instructions(tables) == [((1 << 64) - 16, 3), ((1 << 64) - 8, 4), ((1 << 64) - 24, 1), ((1 << 64) - 24, 2)]
    assert _samples(tables) == [("Ir", "f", None, None, "/bin/x", 10)]


def test_jumps_are_counted_and_cost_nothing(tmp_path):
    text = (
        "# callgrind format\nevents: Ir\nfl=x\nfn=f\n3 1\njcnd=1/2 +4\n5\n"
        "jfi=(3) y\njfn=(4) g\njump=7 9\n+1\n+1 2\nfl=(3)\nfn=(4)\n1 1\n"
    )
    tables = read_tables(_write(tmp_path, text), adapter="callgrind.out")
    places = [("Ir", "f", "x", 3, None, 1), ("Ir", "f", "x", 7, None, 2), ("Ir", "g", "y", 1, None, 1)]
    assert _samples(tables) == places
    assert [(i["code"], i["count"]) for i in tables["import_issue"]] == [("jumps_not_kept", 2)]


def test_xdebug_writes_the_format_too(tmp_path):
    text = (
        "version: 1\ncreator: xdebug 3.1.6 (PHP 8.1)\ncmd: /var/www/index.php\npart: 1\npositions: line\n\n"
        "events: Time_(10ns) Memory_(bytes)\n\nfl=(1) php:internal\nfn=(1) php::define\n7 12 0\n\n"
        "fl=(2) /var/www/index.php\nfn=(2) {main}\n\nsummary: 22 -20\n\n"
        "3 10 -20\ncfl=(1)\ncfn=(1)\ncalls=1 0 0\n4 12 0\n"
    )
    tables = read_tables(_write(tmp_path, text), adapter="callgrind.out")
    (capture,) = tables["capture"]
    assert (capture["tool"], capture["tool_version"]) == ("xdebug", "3.1.6 (PHP 8.1)")
    assert ("Memory_(bytes)", "{main}", "/var/www/index.php", 3, None, -20) in _samples(tables)
    assert _edges(tables)[0] == ("{main}", 4, "php::define", None, 1, 12, False)
    assert tables["import_issue"] == []


def test_what_is_wrong_is_counted_where_it_stands(tmp_path):
    text = (
        "# callgrind format\nevents: Ir\nfn=(1) main\n5 3 4\nnonsense\n7 abc\n"
        "fn=(9)\n9 1\ntotals: 11\ncfn=(1)\ncalls=1 5\n"
    )
    tables = read_tables(_write(tmp_path, text), adapter="callgrind.out")
    issues = {issue["code"]: (issue["offset"], issue["count"]) for issue in tables["import_issue"]}
    assert issues == {
        "malformed_cost": (text.index("5 3 4"), 2),
        "unparsed_line": (text.index("nonsense"), 1),
        "undefined_name": (text.index("fn=(9)"), 1),
        "totals_differ": (None, 1),
        "truncated": (None, 1),
    }
    assert _samples(tables) == [("Ir", "[unknown]", None, 9, None, 1), ("Ir", "main", None, 5, None, 3)]


def test_is_recognised_without_its_name(tmp_path):
    for name in ("default.out", "threads-sep.out-02", "nocompress-instr.out"):
        path = nameless(captures("valgrind", "callgrind", name), tmp_path)
        assert read_tables(path, adapter="callgrind.out")["capture"][0]["tool"] == "callgrind"
    assert read_tables(corpus(_CORPUS[1]), adapter="callgrind.out")["capture"][0]["tool_version"] == "3.5.0-Debian"


def test_damage_costs_no_more_than_what_it_hits(tmp_path):
    whole = captures("valgrind", "callgrind", "threads-combined.out").read_bytes()
    head = whole[:6_000]
    path = tmp_path / "x"
    for cut in range(0, len(head), 411):
        path.write_bytes(head[:cut])
        read_checked(path, Callgrind())
    for position in range(0, len(head), 397):
        for flip in (0x01, 0x10, 0xFF):
            damaged = bytearray(head)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            read_checked(path, Callgrind())
    path.write_bytes(whole[: len(whole) // 2])
    tables = read_checked(path, Callgrind())
    assert tables is not None
    assert "totals_differ" in tables["import_issue"]["code"].to_pylist()


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
