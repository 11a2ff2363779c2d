"""cachegrind: every function's costs against cg_annotate, on captures, on others' files and live; damage."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.adapters.annotated import parse, read_golden, run_annotate
from tests.adapters.costs import Costs, differing
from tests.adapters.integrity import read_checked
from tests.adapters.reading import nameless, read_tables
from tests.support import captures, corpus, fixtures, tool

from perfkit.adapters.cachegrind import Cachegrind
from perfkit.adapters.callgrind import Callgrind
from perfkit.adapters.source import Source

_CAPTURES = ["inl", "merge", "nocache", "small", "truth-units"]
_ECLIPSE = "eclipse-linuxtools/valgrind/valgrind.cachegrind.tests/valgrindFiles"
_CORPUS = [
    "valgrind/cachegrind/tests/ann1.cgout",
    "valgrind/cachegrind/tests/ann1b.cgout",
    "valgrind/cachegrind/tests/ann-merge1a.cgout",
    "valgrind/cachegrind/tests/ann-merge1b.cgout",
    f"{_ECLIPSE}/testBranchSim/template_cachegrind_5190.txt",
    f"{_ECLIPSE}/testDefaults/template_cachegrind_5885.txt",
]


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    made = Costs(tmp_path_factory.mktemp("cachegrind"))
    yield made
    made.store.close()


def _assert_equal(costs: Costs, path: Path, text: str) -> None:
    events, totals, functions = parse(text, has_objects=False)
    assert costs.events(path) == events
    assert functions[events[0]]
    for event in events:
        assert costs.totals(path, event) == totals[event]["totals"]
        assert differing(costs.by_file_function(path, event, "self"), functions[event]) == {}
    assert costs.issues(path) == {}


@pytest.mark.parametrize("name", _CAPTURES)
def test_functions_cost_what_cg_annotate_prints(costs, name):
    path = captures("valgrind", "cachegrind", f"{name}.out")
    # Goldens may leave cheap functions out, so the tool is asked for all.
    _assert_equal(costs, path, run_annotate(tool("cg_annotate"), "--threshold=0", "--auto=no", path))


@pytest.mark.parametrize("name", _CORPUS)
def test_functions_of_other_projects_cost_what_cg_annotate_prints(costs, name):
    path = corpus(name)
    _assert_equal(costs, path, run_annotate(tool("cg_annotate"), "--threshold=0", "--auto=no", path))


@pytest.mark.parametrize("name", _CORPUS)
def test_totals_are_the_goldens(costs, name):
    golden = corpus("_peer_goldens", "valgrind-3.19.0", f"{name.replace('/', '~')}.cg_annotate.txt.gz")
    events, totals, functions = parse(read_golden(golden), has_objects=False)
    for event in events:
        assert costs.totals(corpus(name), event) == totals[event]["totals"]
        found = costs.by_file_function(corpus(name), event, "self")
        assert {key: found.get(key, 0) for key in functions[event]} == functions[event]


def test_a_file_line_leaves_the_function_open_as_since_valgrind_3_21(costs):
    """ann2.cgout has costs behind `fl=` without `fn=`: the newer cg_annotate (ann2.post.exp) puts them under no
    function, that of 3.19 under the last one of the file before.
    """
    path = corpus("valgrind", "cachegrind", "tests", "ann2.cgout")
    _, totals, functions = parse(
        run_annotate(tool("cg_annotate"), "--threshold=0", "--auto=no", path), has_objects=False
    )
    for event, moved in (("A", 1000), ("SomeCount", 500), ("VeryLongEventName", 0)):
        assert costs.totals(path, event) == totals[event]["totals"]
        found = costs.by_file_function(path, event, "self")
        assert found.pop("ann2-past-the-end.rs:???", 0) == moved
        expected = functions[event] | {"ann2-negatives.rs:neg4": functions[event]["ann2-negatives.rs:neg4"] - moved}
        assert differing(found, expected) == {}


def test_differences_may_be_negative(costs, tmp_path):
    old, new = (captures("valgrind", "cachegrind", f"{name}.out") for name in ("small", "truth-units"))
    made = subprocess.run([tool("cg_diff"), old, new], capture_output=True, check=True)
    path = tmp_path / "difference"
    path.write_bytes(made.stdout)
    found = costs.by_file_function(path, "Ir", "self")
    assert min(found.values()) < 0 < max(found.values())
    before, after = (costs.by_file_function(name, "Ir", "self") for name in (old, new))
    expected = {name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()}
    assert differing(found, expected) == {}


def test_frames_are_lines_of_functions():
    tables = read_tables(fixtures("valgrind", "cachegrind.out"), adapter="cachegrind.out")
    (capture,) = tables["capture"]
    assert (capture["tool"], capture["command"]) == ("cachegrind", "/tmp/cap/wl/vg/heap")
    assert all(frame["module"] is None and frame["kind"] == "user" for frame in tables["frame"])
    places = [(f["function"], f["source_file"], f["line"]) for f in tables["frame"]]
    assert len(set(places)) == len(places)
    assert "call_edge" not in tables
    assert [thread["name"] for thread in tables["thread"]] == ["heap"]


def test_is_told_from_callgrind_by_content(tmp_path):
    path = nameless(fixtures("valgrind", "cachegrind.out"), tmp_path)
    assert read_tables(path, adapter="cachegrind.out")["sample"]
    with Source(fixtures("valgrind", "callgrind.out")) as source:
        assert Callgrind().sniff(source)
        assert not Cachegrind().sniff(source)


def test_blanks_comments_and_missing_costs_are_the_formats_own(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(
        b"desc: a\r\ncmd: ./x y\r\nevents: Ir Dr\r\n\r\n# note\r\n"
        b"fl=a.c\r\nfn=f\r\n3   5\t. \r\n4\r\n0 1 2\r\nsummary: 6 2"
    )
    tables = read_tables(path, adapter="cachegrind.out")
    lines = {frame["frame_id"]: frame["line"] for frame in tables["frame"]}
    frames = {stack["stack_id"]: stack["frame_id"] for stack in tables["stack"]}
    found = [(lines[frames[s["stack_id"]]], s["metric_id"], s["value"]) for s in tables["sample"]]
    assert sorted(found, key=str) == [(3, 0, 5), (None, 0, 1), (None, 1, 2)]
    assert tables["import_issue"] == []


def test_a_wrong_summary_is_an_issue(tmp_path):
    path = tmp_path / "x"
    path.write_text("cmd: x\nevents: Ir\nfl=a\nfn=f\n1 5\nsummary: 9\n")
    (issue,) = read_tables(path, adapter="cachegrind.out")["import_issue"]
    assert issue["code"] == "totals_differ"
    assert "gives 9 of Ir" in issue["detail"]


def test_damage_costs_no_more_than_what_it_hits(tmp_path):
    whole = fixtures("valgrind", "cachegrind.out").read_bytes()[:12_000]
    path = tmp_path / "x"
    for cut in range(0, len(whole), 373):
        path.write_bytes(whole[:cut])
        read_checked(path, Cachegrind())
    for position in range(0, len(whole), 331):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            read_checked(path, Cachegrind())


def test_a_live_run_is_what_cg_annotate_prints(costs, tmp_path):
    program = tmp_path / "truth"
    subprocess.run([tool("cc"), "-g", "-O1", "-o", program, captures("workloads", "truth.c"), "-pthread"], check=True)
    path = tmp_path / "cachegrind.out"
    subprocess.run(
        [tool("valgrind"), "-q", "--tool=cachegrind", f"--cachegrind-out-file={path}", program, "--units", "1"],
        check=True,
        capture_output=True,
    )
    _assert_equal(costs, path, run_annotate(tool("cg_annotate"), "--threshold=0", "--auto=no", path))
