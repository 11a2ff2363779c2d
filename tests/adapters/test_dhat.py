"""DHAT: sums against the totals that DHAT prints, values against a plain json.load, damage, and live runs."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.reading import Tables, chains, nameless, read_tables
from tests.support import captures, corpus, fixtures, tool

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.dhat import Dhat
from perfkit.adapters.json_stream import END, JsonStream
from perfkit.adapters.source import Source
from perfkit.schema.errors import FormatError
from perfkit.schema.validate import validate_batch

_FILES = [
    "gungraun/iai-callgrind-runner/tests/fixtures/dhat/dhat.with_entry_point.out",
    "firefox-profiler/src/test/fixtures/upgrades/dhat.json.gz",
]
_NAMES = {
    "tb": "allocated_bytes",
    "tbk": "allocated_blocks",
    "tl": "lifetime",
    "mb": "max_bytes",
    "mbk": "max_blocks",
    "gb": "heap_at_peak",
    "gbk": "heap_blocks_at_peak",
    "eb": "heap_at_end",
    "ebk": "heap_blocks_at_end",
    "rb": "bytes_read",
    "wb": "bytes_written",
}


def _sums(tables: Tables) -> dict[str, int]:
    names = {row["metric_id"]: row["name"] for row in tables["metric"]}
    sums = dict.fromkeys(names.values(), 0)
    for sample in tables["sample"]:
        sums[names[sample["metric_id"]]] += sample["value"]
    return sums


def _load(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    return found


def _check(path: Path, tables: Tables) -> None:
    """Hold every program point against the same read by json.load: each value on each stack, and the accesses."""
    content = _load(path)
    frames = {row["frame_id"]: row for row in tables["frame"]}
    stacks = {
        stack_id: tuple((frames[f]["address"], frames[f]["function"]) for f in reversed(ids))
        for stack_id, ids in chains(tables).items()
    }
    names = {row["metric_id"]: row["name"] for row in tables["metric"]}
    found: Counter[tuple[str, object]] = Counter()
    for sample in tables["sample"]:
        found[names[sample["metric_id"]], stacks[sample["stack_id"]]] += sample["value"]
    expected: Counter[tuple[str, object]] = Counter()
    for point in content["pps"]:
        stack = tuple(map(_plain_frame, (content["ftbl"][index] for index in point["fs"])))
        for key, name in _NAMES.items():
            if point.get(key):
                expected[name, stack] += point[key]
    assert found == expected
    accessed: Counter[int] = Counter()
    for row in tables.get("histogram", []):
        accessed[int(row["key"])] += row["count"]
    by_stack = {stacks[key]: count for key, count in accessed.items()}
    for stack, count in by_stack.items():
        assert count == expected["bytes_read", stack] + expected["bytes_written", stack]
    assert tables["import_issue"] == []


def _plain_frame(text: str) -> tuple[int | None, str]:
    address, _, rest = text.partition(": ")
    if not address.startswith("0x"):
        return None, text
    return int(address, 16), re.sub(r" \([^()]*\)$", "", rest)


@pytest.mark.parametrize("name", _FILES)
def test_files_of_others(name: str) -> None:
    path = corpus(name)
    _check(path, read_tables(path, adapter="dhat.out"))


def test_a_frame_that_the_table_lacks_is_told() -> None:
    # Two frames are in the table of this file, and its stack has the third.
    tables = read_tables(
        corpus("gungraun/iai-callgrind-runner/tests/fixtures/dhat/dhat.minimal.out"), adapter="dhat.out"
    )
    assert [(row["code"], row["count"]) for row in tables["import_issue"]] == [("unknown_frame", 1)]
    assert [row["function"] for row in tables["frame"]] == ["malloc", "[unknown]"]
    assert _sums(tables)["bytes_read"] == 9456


def test_the_truth(tmp_path: Path) -> None:
    tables = read_tables(nameless(fixtures("valgrind", "dhat.json"), tmp_path), adapter="dhat.out")
    _check(fixtures("valgrind", "dhat.json"), tables)
    # What DHAT printed: captures/valgrind/dhat/truth.log.stderr.
    sums = _sums(tables)
    assert (sums["allocated_bytes"], sums["allocated_blocks"]) == (5_947_071, 1_112)
    assert (sums["heap_at_peak"], sums["heap_blocks_at_peak"]) == (5_835_111, 108)
    assert (sums["heap_at_end"], sums["heap_blocks_at_end"]) == (1_834_567, 102)
    assert (sums["bytes_read"], sums["bytes_written"]) == (3_512, 5_902_447)
    assert [row["pid"] for row in tables["process"]] == [20761]
    times = {t["name"]: t["unit"] for t in tables["counter_track"]}
    assert times == {"t_end": "instrs", "t_gmax": "instrs", "short_lived_threshold": "instrs"}
    assert [row["value"] for row in tables["counter"]] == [41_365_081, 1_071_696, 500]
    inlined = {row["function"] for row in tables["frame"] if row["inlined"]}
    assert inlined == {"calloc", "allocate_stack"}


def test_accesses_by_offset() -> None:
    tables = read_tables(fixtures("valgrind", "dhat.json"), adapter="dhat.out")
    frames = {row["frame_id"]: row["function"] for row in tables["frame"]}
    called = {stack_id: [frames[f] for f in ids] for stack_id, ids in chains(tables).items()}
    leak_small = [row for row in tables["histogram"] if "leak_small" in called[int(row["key"])]]
    assert [(r["low"], r["high"], r["count"]) for r in leak_small] == [(0, 992, 992 * 100), (992, 1000, 8 * 200)]


def test_copy_and_ad_hoc_modes() -> None:
    copy = read_tables(captures("valgrind", "dhat", "copy.json"), adapter="dhat.out")
    assert _sums(copy) == {"copied_bytes": 60_275, "copied_blocks": 35}
    ad_hoc = read_tables(captures("valgrind", "dhat", "adhoc.json"), adapter="dhat.out")
    assert _sums(ad_hoc) == {"occurred_units": 950, "occurred_events": 257}
    assert [row["unit"] for row in ad_hoc["metric"]] == ["unit", "event"]


def _read(data: bytes, folder: Path) -> tuple[dict[str, int], dict[str, int]] | None:
    path = folder / "damaged"
    path.write_bytes(data)
    issues = IssueLog()
    tables: Tables = {}
    try:
        with Source(path) as source:
            for table, rows in Dhat().read(source, issues):
                validate_batch(table, rows)
                tables.setdefault(table, []).extend(rows.to_pylist())
    except FormatError:
        return None
    return _sums(tables), {row["code"]: row["count"] for row in issues.to_batch().data.to_pylist()}


def test_a_file_cut_anywhere_yields_the_points_before(tmp_path: Path) -> None:
    data = fixtures("valgrind", "dhat.json").read_bytes()
    start = data.index(b'"pps":')
    for end in range(0, len(data) - 4, 37):
        found = _read(data[:end], tmp_path)
        if end < start:
            assert found is None
        elif found is not None:
            whole = re.findall(rb'"tb":(\d+)[^{]*?"fs":\[[\d,]*\]\s*\}', data[:end])
            assert found[0]["allocated_bytes"] == sum(map(int, whole))
            assert found[1]["truncated"] == 1


def test_a_damaged_point_costs_no_other(tmp_path: Path) -> None:
    data = fixtures("valgrind", "dhat.json").read_bytes()
    found = _read(data.replace(b'"tb":500000,"tbk"', b'"tb":5x0000,"tbk"'), tmp_path)
    assert found is not None
    assert found[0]["allocated_bytes"] == 5_947_071 - 500_000
    assert found[1]["damaged"] == 1
    last = _read(data.replace(b'"tb":7000,', b'"tb":7 00,'), tmp_path)
    assert last is not None
    assert last[0]["allocated_bytes"] == 5_947_071 - 7_000
    assert "unknown_frame" not in last[1]


def test_flipped_bytes_break_nothing(tmp_path: Path) -> None:
    data = fixtures("valgrind", "dhat.json").read_bytes()
    for position in range(0, len(data), 23):
        _read(data[:position] + bytes([data[position] ^ 0x15]) + data[position + 1 :], tmp_path)


def test_odd_values_are_told(tmp_path: Path) -> None:
    head = b'{"dhatFileVersion":2,"bklt":true,"pps":['
    points = b'{"tb":99999999999999999999999,"tbk":1.5,"gb":"7","eb":3,"fs":[0,9,-1]},7,{"tb":1,"acc":[-3],"fs":0}'
    found = _read(head + points + b'],"ftbl":["[root]"]}', tmp_path)
    assert found is not None
    assert found[0]["heap_at_end"] == 3
    assert found[0]["allocated_bytes"] == 1
    assert found[1]["unknown_frame"] == 2
    assert found[1]["bad_value"] >= 4


def test_other_versions_are_refused(tmp_path: Path) -> None:
    assert _read(b'{"dhatFileVersion":3,"pps":[],"ftbl":[]}', tmp_path) is None
    empty = _read(b'{"dhatFileVersion":2,"pps":[],"ftbl":["[root]"]}', tmp_path)
    assert empty == ({"allocated_bytes": 0, "allocated_blocks": 0}, {})


class _Dribble(io.BytesIO):
    """Gives three bytes at a time, so that every value ends at an end of what was read."""

    def read(self, size: int | None = -1) -> bytes:  # noqa: ARG002
        return super().read(3)


def test_values_may_be_cut_by_the_end_of_a_read() -> None:
    text = '{"a": 1234567, "long": [{"x": [1, 2]}, 12.5, "späte, ]"], "none": [], "b": "x"}'
    issues = IssueLog()
    found = list(JsonStream(_Dribble(text.encode()), issues).members({"long", "none"}))
    assert found == [
        ("a", 1234567),
        ("long", {"x": [1, 2]}),
        ("long", 12.5),
        ("long", "späte, ]"),
        ("long", END),
        ("none", END),
        ("b", "x"),
    ]
    assert len(issues) == 0


@pytest.mark.parametrize(("mode", "program"), [("heap", "heap"), ("copy", "dhatreq"), ("ad-hoc", "dhatreq")])
def test_live_run_adds_up_to_what_dhat_prints(mode: str, program: str, tmp_path: Path) -> None:
    out = tmp_path / "d"
    command = [tool("valgrind"), "--tool=dhat", f"--mode={mode}", f"--dhat-out-file={out}"]
    run = subprocess.run(
        [*command, str(captures("workloads", "vg", program))], capture_output=True, text=True, timeout=60, check=True
    )
    printed = re.findall(r"== (Total|At t-gmax|At t-end|Reads|Writes): +([\d,]+) \w+(?: in ([\d,]+))?", run.stderr)
    expected = [int(number.replace(",", "")) for row in printed for number in row[1:] if number]
    sums = _sums(read_tables(out, adapter="dhat.out"))
    keys = [name for name in sums if name not in ("max_bytes", "max_blocks", "lifetime")]
    assert [sums[key] for key in keys] == expected
