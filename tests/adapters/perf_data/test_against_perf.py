"""Every perf.data file beside the repository, and live ones of every kind, against what perf says of them."""

from __future__ import annotations

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from tests.adapters.perf_data import files, live, oracle
from tests.adapters.perf_data.comparing import DEPTH, DUMP, STRAY, compare
from tests.adapters.perf_data.decoded import Decoded
from tests.support import corpus

ALL = [pytest.param(path, id=files.name_of(path)) for path in files.perf_data_files()]
NEWER_THAN_PERF_6_1 = ("sleep.data", "sleep.compressed.data")


@cache
def decoded(path: Path) -> Decoded:
    return Decoded(path)


def test_the_files_beside_the_repository_are_found():
    corpus()  # skips where there is none
    assert len(ALL) >= 50


@pytest.mark.parametrize("path", ALL)
def test_counts_are_those_of_perf_report(path: Path, tmp_path: Path):
    capture = decoded(path)
    golden = files.golden_stats(path)
    if golden is not None:
        stats = oracle.parse_stats(golden.read_text("utf-8"))
    else:
        stats = oracle.live_stats(readable(path, tmp_path))
    check_counts(stats, capture)


@pytest.mark.parametrize("path", ALL)
def test_samples_are_those_of_perf_script(path: Path, tmp_path: Path):
    golden = files.golden_script(path)
    script = oracle.golden_script(golden) if golden is not None else oracle.live_script(readable(path, tmp_path))
    rules = compare_samples(script, decoded(path))
    assert rules == EXPECTED_RULES.get(path.name, Counter())


# How many samples differ by a rule of docs/perf-data-differences.md. No other file differs in any sample.
EXPECTED_RULES = {
    "perf.data.callgraph-3.4": Counter({DEPTH: 2}),
    "perf_display_bitmaps.data": Counter({DEPTH: 51}),
}


@pytest.mark.parametrize("path", ALL)
def test_lives_hold_together(path: Path):
    check_lives(decoded(path))


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.name) for path in sorted(files.CORPUS.glob("quipper/testdata/*.pb_text"))]
)
def test_samples_are_those_of_quipper(path: Path):
    """Another reader's word: quipper wrote each record of these files out as protobuf text."""
    capture = decoded(path.with_name(re.sub(r"(\.pr\.out)?\.pb_text$", "", path.name)))
    text = path.read_text("utf-8", "replace")
    kinds = Counter(re.findall(r"^  header \{\n    type: (\d+)$", text, re.MULTILINE))
    counts = capture.record_counts()
    for kind, name in (("3", "COMM"), ("4", "EXIT"), ("7", "FORK"), ("9", "SAMPLE")):
        assert kinds[kind] == counts[name]
    fields = [dict(re.findall(r"^    (\w+): (\d+)$", event, re.MULTILINE)) for event in _blocks(text, "sample_event")]
    theirs = sorted((int(f.get("sample_time_ns", 0)), int(f["pid"]), int(f["tid"])) for f in fields)
    assert theirs == sorted((sample.time, sample.pid, sample.tid) for sample in capture.samples())


# --- live -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def path(name: str) -> Path:
        return live.record(name, tmp_path_factory.mktemp(name))

    return path


@pytest.mark.parametrize("name", live.RECORDINGS)
def test_a_live_capture_is_read_as_perf_reads_it(name: str, recorded: Callable[[str], Path]):
    path = recorded(name)
    capture = decoded(path)
    check_lives(capture)
    try:
        stats, script = oracle.live_stats(path), oracle.live_script(path)
    except oracle.PerfError:
        # perf 6.1 cannot read its own compressed pipes; newer ones write COMPRESSED2 for that.
        assert name == "compressed-pipe"
        assert not capture.issues().keys() - {"stray_callchain_value"}
        assert capture.record_counts()["SAMPLE"] > 20
        return
    check_counts(stats, capture)
    rules = compare_samples(script, capture)
    assert rules.keys() <= {STRAY, DEPTH}
    assert bool(rules[STRAY]) == ("stray_callchain_value" in capture.issues())


@pytest.mark.parametrize("name", ["system-wide", "threads", "compressed"])
def test_lives_are_those_of_perf(name: str, recorded: Callable[[str], Path]):
    path = recorded(name)
    capture = decoded(path)
    processes, threads = capture.rows("process"), capture.rows("thread")
    forks, exits, execs = set(), set(), Counter[tuple[int, str]]()
    for task in oracle.live_tasks(path):
        if task.kind == "COMM exec":
            execs[task.time, task.text.rpartition(":")[0].strip()] += 1
            continue
        numbers = [int(number) for number in re.findall(r"-?\d+", task.text)]
        if task.kind == "EXIT":
            exits.add((task.time, numbers[1]))
        elif task.kind == "FORK" and task.time:
            forks.add((task.time, *numbers))
    assert execs
    pid_of = {row["upid"]: row["pid"] for row in processes}
    parent_of = {row["upid"]: pid_of.get(row["parent_upid"]) for row in processes}
    born = {(row["start_ts"], pid_of[row["upid"]], row["tid"]) for row in threads if row["start_ts"] is not None}
    assert {(time, pid, tid) for time, pid, tid, _, _ in forks} == born
    started = {
        (row["start_ts"], row["pid"], parent_of[row["upid"]]) for row in processes if row["start_ts"] is not None
    }
    assert {(time, pid, parent) for time, pid, _, parent, _ in forks if pid != parent} == started
    assert {(row["end_ts"], row["tid"]) for row in threads if row["end_ts"] is not None} == exits
    assert Counter((row["ts"], row["name"]) for row in capture.rows("thread_name") if row["is_exec"]) == execs


# --- shared -----------------------------------------------------------------------------------------------------------


def compare_samples(script: list[oracle.ScriptSample], capture: Decoded) -> Counter[str]:
    """The rules that were needed, without that for copies of user stacks: they wait for an unwinder."""
    has_stack_dumps = "user_stack_not_unwound" in capture.issues()
    rules = compare(script, capture, has_stack_dumps=has_stack_dumps)
    if has_stack_dumps:
        del rules[DUMP]
    return rules


def check_counts(stats: oracle.Stats, capture: Decoded) -> None:
    theirs, ours = stats.records, capture.record_counts()
    if theirs["TRACING_DATA"] and not theirs["SAMPLE"] and ours["SAMPLE"]:
        # `perf report --stats` 6.1 loses its place behind the tracing data of a pipe; perf script does not.
        return
    del theirs["TOTAL"]
    assert ours == theirs
    assert Counter(sample.event for sample in capture.samples()) == +stats.samples


def check_lives(capture: Decoded) -> None:
    """What must hold of processes and threads whatever is in the capture."""
    processes, threads = capture.rows("process"), capture.rows("thread")
    assert [row["upid"] for row in processes] == list(range(len(processes)))
    assert [row["utid"] for row in threads] == list(range(len(threads)))
    assert all(row["parent_upid"] is None or 0 <= row["parent_upid"] < len(processes) for row in processes)
    assert all(row["is_main"] == (row["tid"] == processes[row["upid"]]["pid"]) for row in threads)
    lives = defaultdict(list)
    for row in threads:
        lives[processes[row["upid"]]["pid"], row["tid"]].append(row)
    for of_one_tid in lives.values():
        # Ids grow with time, and only the first life may have begun before the capture did.
        starts = [row["start_ts"] for row in of_one_tid]
        assert None not in starts[1:]
        assert starts[1:] == sorted(starts[1:])
        for row, following in pairwise(of_one_tid):
            assert row["end_ts"] is None or row["end_ts"] <= following["start_ts"]
    utids = {sample.utid for sample in capture.samples()} - {-1}
    assert utids <= set(range(len(threads)))
    for sample in capture.samples():
        start = None if sample.utid < 0 else threads[sample.utid]["start_ts"]
        assert start is None or sample.time is None or sample.time >= start


def _blocks(text: str, name: str) -> list[str]:
    return re.findall(rf"^  {name} \{{\n(.*?)^  \}}$", text, re.MULTILINE | re.DOTALL)


def readable(path: Path, folder: Path) -> Path:
    """The file itself, or where it is newer than perf 6.1 a copy whose attributes have the size that perf knows."""
    return shrink_attributes(path, folder / path.name) if path.name in NEWER_THAN_PERF_6_1 else path


def shrink_attributes(path: Path, target: Path, size: int = 128) -> Path:
    """A copy of a capture with the attributes cut to `size` bytes, appended at its end (all that was cut is zero)."""
    content = bytearray(path.read_bytes())
    (entry_size, at, total) = struct.unpack_from("<3Q", content, 16)
    entries = b""
    for begin in range(at, at + total, entry_size):
        entry = content[begin : begin + entry_size]
        assert not any(entry[size:-16])
        entries += entry[:4] + struct.pack("<I", size) + entry[8:size] + entry[-16:]
    struct.pack_into("<3Q", content, 16, size + 16, len(content), len(entries))
    target.write_bytes(content + entries)
    return target
