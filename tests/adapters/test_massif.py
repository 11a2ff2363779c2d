"""massif: every tree and every snapshot against what ms_print shows of them, damage, and live runs."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.adapters.reading import Tables, chains, nameless, read_tables
from tests.support import captures, corpus, fixtures, tool

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.massif import Massif
from perfkit.adapters.source import Source
from perfkit.schema.errors import FormatError
from perfkit.schema.validate import validate_batch

_CAPTURES = ["admin0", "bytes", "default", "inl", "ms", "noheap", "pages", "stacks", "truth"]
_CORPUS = [
    "eclipse-linuxtools/valgrind/valgrind.massif.tests/valgrindFiles/testDefaults/template_massif_4357.txt",
    "eclipse-linuxtools/valgrind/valgrind.massif.tests/valgrindFiles/testDetailedFreq/template_massif_3420.txt",
    "eclipse-linuxtools/valgrind/valgrind.massif.tests/valgrindFiles/testHeap/template_massif_2980.txt",
    "eclipse-linuxtools/valgrind/valgrind.massif.tests/valgrindFiles/testStacks/template_massif_4317.txt",
    "eclipse-linuxtools/valgrind/valgrind.massif.tests/valgrindFiles/testTreeNodes/template_massif_2820.txt",
    "massif-visualizer/data/massif.out.32406",
    "massif-visualizer/data/massif.out.ktorrent",
    "massif-visualizer/data/massif.out.stack",
]
_ROW = re.compile(r" *(\d+) +([\d,.]+) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+)\Z")
_NODE = re.compile(r"((?:[| ] )*)->[\d.]+% \(([\d,]+)B\) (.*)\Z")
_BELOW = re.compile(r"in \d+\+? places?, (?:all )?below m")
Tree = Counter[tuple[tuple[str, ...], int]]


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _printed(text: str) -> tuple[dict[int, tuple[int, ...]], dict[int, Tree]]:
    """What ms_print shows: (total, heap, extra, stacks) of each snapshot, and its tree as (path, bytes)."""
    rows: dict[int, tuple[int, ...]] = {}
    trees: dict[int, Tree] = {}
    path: list[str] = []
    for line in text.splitlines():
        if row := _ROW.match(line):
            rows[int(row[1])] = tuple(map(_number, row.groups()[2:]))
        elif (node := _NODE.match(line)) and rows:
            depth = len(node[1]) // 2
            path[depth:] = [node[3]]
            if not _BELOW.match(node[3]):
                trees.setdefault(max(rows), Counter())[tuple(path), _number(node[2])] += 1
    return rows, trees


def _label(frame: dict[str, object]) -> str:
    if frame["source_file"]:
        place = f" ({frame['source_file']}:{frame['line']})"
    else:
        place = f" (in {frame['module']})" if frame["module"] else ""
    name = str(frame["function"])
    return f"0x{frame['address']:X}: {'???' if name.startswith('[') else name}{place}"


def _trees(tables: Tables) -> dict[int, dict[tuple[str, ...], int]]:
    """Of each snapshot its tree as {path: bytes, those below included}, from the samples."""
    frames = {row["frame_id"]: row for row in tables["frame"]}
    chain = chains(tables)
    snapshot = {row["metric_id"]: row["snapshot"] for row in tables["event.massif_snapshot"]}
    trees: dict[int, dict[tuple[str, ...], int]] = {}
    for sample in tables["sample"]:
        names = [frames[frame] for frame in reversed(chain[sample["stack_id"]])]
        labels = [_label(f) for f in names if f["function"] != "[below threshold]" and f["address"] is not None]
        tree = trees.setdefault(snapshot[sample["metric_id"]], {})
        for depth in range(1, len(labels) + 1):
            key = tuple(labels[:depth])
            tree[key] = tree.get(key, 0) + sample["value"]
    return trees


def _check(path: Path, printed: str, *, is_whole: bool) -> Tables:
    """Hold every snapshot and tree against ms_print's; `is_whole` where it was told to leave out nothing."""
    tables = read_tables(path, adapter="massif.out")
    rows, expected = _printed(printed)
    snapshots = tables["event.massif_snapshot"]
    found = {s["snapshot"]: tuple(s[f"mem_{n}_B"] for n in ("heap", "heap_extra", "stacks")) for s in snapshots}
    assert found == {number: row[1:] for number, row in rows.items()}
    trees = _trees(tables)
    for number, tree in expected.items():
        for (labels, size), count in tree.items():
            assert count == 1
            assert trees[number].get(labels, 0) == size, (number, labels)
        if is_whole:
            assert {(labels, size) for labels, size in trees[number].items() if size} == {k for k in tree if k[1]}
    return tables


@pytest.mark.parametrize("name", _CAPTURES)
def test_trees_are_those_of_ms_print(name: str, tmp_path: Path) -> None:
    path = nameless(captures("valgrind", "massif", f"{name}.out"), tmp_path)
    _check(path, captures("valgrind", "massif", f"{name}.ms_print.txt").read_text(), is_whole=False)
    tables = _check(path, captures("valgrind", "massif", f"{name}.ms_print-t0.txt").read_text(), is_whole=True)
    assert tables["import_issue"] == []


@pytest.mark.parametrize("name", _CORPUS)
def test_trees_of_others_files_are_those_of_ms_print(name: str) -> None:
    golden = corpus("_peer_goldens", "valgrind-3.19.0", name.replace("/", "~") + ".ms_print.txt.gz")
    tables = _check(corpus(name), gzip.decompress(golden.read_bytes()).decode(), is_whole=False)
    assert tables["import_issue"] == []


def test_samples_of_a_metric_add_up_to_the_heap_of_its_snapshot() -> None:
    tables = read_tables(corpus("massif-visualizer/data/massif.out.ktorrent"), adapter="massif.out")
    sums: Counter[int] = Counter()
    for sample in tables["sample"]:
        sums[sample["metric_id"]] += sample["value"]
    expected = {s["metric_id"]: s["mem_heap_B"] for s in tables["event.massif_snapshot"] if s["tree"] != "empty"}
    assert sums == expected
    assert len(sums) > 10


def test_the_truth() -> None:
    tables = read_tables(fixtures("valgrind", "massif.out"), adapter="massif.out")
    peak = next(m["metric_id"] for m in tables["metric"] if m["name"] == "heap_at_peak")
    assert peak == 0
    assert sum(s["value"] for s in tables["sample"] if s["metric_id"] == peak) == 5_835_111
    frames = {row["frame_id"]: row["function"] for row in tables["frame"]}
    leaf = {node["stack_id"]: frames[node["frame_id"]] for node in tables["stack"]}
    by_function = {leaf[s["stack_id"]]: s["value"] for s in tables["sample"] if s["metric_id"] == peak}
    assert by_function["leak_me"] == 1_234_567
    assert by_function["temp_peak"] == 4_000_000
    assert by_function["keep_me"] == 500_000
    assert tables["capture"][0]["command"] == "/tmp/cap/wl/truth --units 1"
    extra = next(t["track_id"] for t in tables["counter_track"] if t["name"] == "mem_heap_extra_B")
    assert max(c["value"] for c in tables["counter"] if c["track_id"] == extra) == 1673
    assert {c["ts"] for c in tables["counter"]} == {None}


def test_milliseconds_are_times() -> None:
    tables = read_tables(captures("valgrind", "massif", "ms.out"), adapter="massif.out")
    for row in tables["event.massif_snapshot"]:
        assert row["ts"] == row["time"] * 1_000_000
        assert row["time_unit"] == "ms"


def test_places_below_the_threshold_are_kept() -> None:
    path = captures("valgrind", "massif", "admin0.out")
    tables = read_tables(path, adapter="massif.out")
    lines = re.findall(r"n0: (\d+) in (\d+) places?, (?:all )?below massif's threshold", path.read_text())
    rows = tables["event.massif_below_threshold"]
    assert [(row["bytes"], row["places"]) for row in rows] == [(int(size), int(places)) for size, places in lines]
    assert {row["threshold_percent"] for row in rows} == {1.0}


def _damaged(data: bytes, folder: Path) -> tuple[int, int] | None:
    """(samples, issues) of what is left of a damaged file; None where nothing is."""
    path = folder / "damaged"
    path.write_bytes(data)
    issues = IssueLog()
    samples = 0
    try:
        with Source(path) as source:
            for table, rows in Massif().read(source, issues):
                validate_batch(table, rows)
                samples += rows.num_rows if table == "sample" else 0
    except FormatError:
        return None
    return samples, len(issues)


def test_a_file_cut_anywhere_yields_what_stands_before(tmp_path: Path) -> None:
    data = fixtures("valgrind", "massif.out").read_bytes()
    whole = _damaged(data, tmp_path)
    assert whole is not None
    assert whole[1] == 0
    last = 0
    for end in range(0, len(data), 97):
        found = _damaged(data[:end], tmp_path)
        assert (found is None) == (not re.search(rb"^snapshot=\d+$", data[:end], re.MULTILINE))
        if found is not None:
            assert last - 3 <= found[0] <= whole[0] + 3
            last = found[0]
    assert _damaged(data[: data.rindex(b"n0:")], tmp_path) not in (None, whole)


def test_flipped_bytes_break_nothing(tmp_path: Path) -> None:
    data = fixtures("valgrind", "massif.out").read_bytes()
    for position in range(0, len(data), 131):
        _damaged(data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :], tmp_path)


def test_a_tree_that_does_not_add_up_is_told(tmp_path: Path) -> None:
    head = b"desc: (none)\ncmd: x\ntime_unit: i\n#-----------\nsnapshot=0\n#-----------\ntime=1\nmem_heap_B=10\n"
    head += b"mem_heap_extra_B=0\nmem_stacks_B=0\nheap_tree=peak\n"
    path = tmp_path / "x"
    path.write_bytes(head + b"n2: 10 (heap allocation functions)\n n0: 4 0x1: a (a.c:1)\n   n0: 1 0x2: deep\n")
    tables = read_tables(path, adapter="massif.out")
    assert {row["code"] for row in tables["import_issue"]} == {"tree_incomplete", "tree_damaged"}
    assert sum(row["value"] for row in tables["sample"]) == 10


def test_live_run_agrees_with_ms_print(tmp_path: Path) -> None:
    program = captures("workloads", "vg", "heap")
    out = tmp_path / "m"
    command = [tool("valgrind"), "--tool=massif", "--threshold=0", f"--massif-out-file={out}", str(program)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    printed = subprocess.run([tool("ms_print"), "--threshold=0", str(out)], check=True, capture_output=True, text=True)
    _check(out, printed.stdout, is_whole=True)


def test_execution_trees_of_memcheck(tmp_path: Path) -> None:
    program = captures("workloads", "vg", "memerr")
    out = tmp_path / "x"
    command = [tool("valgrind"), "-q", "--xtree-memory=full", f"--xtree-memory-file={out}.ms", str(program)]
    subprocess.run(command, check=False, capture_output=True, timeout=60)
    tables = read_tables(Path(f"{out}.ms"), adapter="massif.out")
    metrics = {row["metric_id"]: (row["name"], row["unit"]) for row in tables["metric"]}
    sums: Counter[tuple[str, str]] = Counter()
    for sample in tables["sample"]:
        sums[metrics[sample["metric_id"]]] += sample["value"]
    # The heap summary in captures/valgrind/memcheck/memerr-plain.txt.
    assert sums["curB", "byte"] == 2269
    assert sums["curBk", "block"] == 8
    assert sums["totB", "byte"] == 2412
