"""perf stat: CSV, JSON and the table, each against a reading with the standard library and against one another."""

from __future__ import annotations

import csv
import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adapters.reading import Tables, nameless, read_tables
from tests.support import captures, corpus

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_stat import PerfStat
from perfkit.adapters.source import Source
from perfkit.schema.errors import FormatError
from perfkit.schema.validate import validate_batch

_ALL = [
    "A-csv",
    "I-csv",
    "I-json",
    "I",
    "group-csv",
    "json",
    "node-json",
    "notsupported-csv",
    "notsupported-json",
    "plain",
    "r3",
    "socket-csv",
    "tp-csv",
]
_SCALES = {"K/sec": 1000.0, "M/sec": 1e6, "G/sec": 1e9}


def _stat(kind: str, folder: Path) -> Tables:
    return read_tables(nameless(captures("perf", f"stat-{kind}.txt"), folder), adapter="perf.stat")


def _read(text: str, folder: Path) -> Tables:
    path = folder / "text"
    path.write_text(text)
    return read_tables(path, adapter="perf.stat")


def _points(tables: Tables) -> list[tuple[Any, ...]]:
    """(name, unit, scope, device, cpu, ts, value, running share, spread) of each point, in order."""
    tracks = {row["track_id"]: row for row in tables["counter_track"]}
    keys = ("name", "unit", "scope", "device", "cpu")
    return [
        (
            *(tracks[row["track_id"]][key] for key in keys),
            row["ts"],
            row["value"],
            row["running_share"],
            row["stddev_percent"],
        )
        for row in tables["counter"]
    ]


def _values(tables: Tables) -> dict[tuple[str, int | None], float | None]:
    tracks = {row["track_id"]: row["name"] for row in tables["counter_track"]}
    return {(tracks[row["track_id"]], row["ts"]): row["value"] for row in tables["counter"]}


def _metric(event: str, value: str, unit: str, share: float, ts: int | None) -> list[tuple[Any, ...]]:
    if not unit:
        return []
    scaled = float(value) * _SCALES.get(unit, 1.0)
    unit = "/sec" if unit.endswith("/sec") else unit
    return [(f"{event}: {unit}", unit, ts, pytest.approx(scaled), share)]


def _plain_csv(text: str, *, interval: bool, place: int) -> list[tuple[Any, ...]]:
    """(name, unit, ts, value, share) of each point, by the columns of perf's manual."""
    out: list[tuple[Any, ...]] = []
    for row in csv.reader(line for line in text.splitlines() if line and not line.startswith("#")):
        ts = int(Decimal(row[0].strip()) * 10**9) if interval else None
        value, unit, event, _, percent, metric, metric_unit = (row[interval + place :] + [""] * 2)[:7]
        number = None if value.startswith("<") else float(value)
        share = float(percent) / 100
        out.append((event, unit or "event", ts, number, share))
        out += _metric(event, metric, metric_unit, share, ts)
    return out


def _plain_json(text: str) -> list[tuple[Any, ...]]:
    out: list[tuple[Any, ...]] = []
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        item = json.loads(line, parse_float=Decimal)
        ts = int(item["interval"] * 10**9) if "interval" in item else None
        value = None if item["counter-value"].startswith("<") else float(item["counter-value"])
        share = float(item["pcnt-running"]) / 100
        out.append((item["event"], item["unit"] or "event", ts, value, share))
        out += _metric(item["event"], str(item["metric-value"]), item["metric-unit"], share, ts)
    return out


@pytest.mark.parametrize(
    ("kind", "interval", "place"),
    [
        ("A", False, 1),
        ("I", True, 0),
        ("group", False, 0),
        ("notsupported", False, 0),
        ("socket", False, 2),
        ("tp", False, 0),
    ],
)
def test_csv_is_what_the_columns_say(kind: str, interval: bool, place: int, tmp_path: Path) -> None:
    points = _points(_stat(f"{kind}-csv", tmp_path))
    text = captures("perf", f"stat-{kind}-csv.txt").read_text()
    expected = _plain_csv(text, interval=interval, place=place)
    assert [(p[0], p[1], p[5], p[6], p[7]) for p in points] == expected
    assert len(expected) >= 4


@pytest.mark.parametrize("kind", ["json", "I-json", "node-json", "notsupported-json"])
def test_json_is_what_the_keys_say(kind: str, tmp_path: Path) -> None:
    points = _points(_stat(kind, tmp_path))
    expected = _plain_json(captures("perf", f"stat-{kind}.txt").read_text())
    assert [(p[0], p[1], p[5], p[6], p[7]) for p in points] == expected
    assert len(expected) >= 4


@pytest.mark.parametrize("kind", _ALL)
def test_no_line_is_left(kind: str, tmp_path: Path) -> None:
    tables = _stat(kind, tmp_path)
    assert {row["code"] for row in tables["import_issue"]} <= {"time_zone_unknown", "not_supported"}
    capture = tables["capture"][0]
    assert (capture["tool"], capture["format"]) == ("perf", "perf.stat")
    assert capture["started_at"].isoformat().startswith("2026-11-22T23:21:")


def test_places_have_their_scope(tmp_path: Path) -> None:
    assert {(p[2], p[3], p[4]) for p in _points(_stat("A-csv", tmp_path))} == {("cpu", None, 0), ("cpu", None, 1)}
    assert {(p[2], p[3], p[4]) for p in _points(_stat("socket-csv", tmp_path))} == {("socket", "S0", None)}
    assert {(p[2], p[3], p[4]) for p in _points(_stat("node-json", tmp_path))} == {("node", "N0", None)}


def test_the_table_says_what_csv_and_json_say_of_the_same_program(tmp_path: Path) -> None:
    plain, machine = _points(_stat("plain", tmp_path)), _points(_stat("json", tmp_path))
    assert [p[:2] for p in plain][:12] == [p[:2] for p in machine]
    assert [p[0] for p in plain][12:] == ["time elapsed", "user time", "system time"]
    assert [p[:2] for p in _points(_stat("notsupported-csv", tmp_path))] == [
        p[:2] for p in _points(_stat("notsupported-json", tmp_path))
    ]
    values = _values(_stat("plain", tmp_path))
    assert values["task-clock", None] == 507.51
    assert values["page-faults", None] == 2501
    assert values["page-faults: /sec", None] == 4928
    assert values["cycles", None] is None
    assert values["time elapsed", None] == 1.004317752
    assert _stat("plain", tmp_path)["capture"][0]["command"] == "/tmp/cap/wl/truth --time 0.5"


def test_the_table_of_intervals(tmp_path: Path) -> None:
    values = _values(_stat("I", tmp_path))
    assert values["page-faults", 100539425] == 2502
    assert values["cpu-clock", 1033495949] == 26.17
    assert len(values) == 66
    capture = _stat("I", tmp_path)["capture"][0]
    assert (capture["start_ts"], capture["end_ts"]) == (100539425, 1033495949)


def test_repeated_runs_have_their_spread(tmp_path: Path) -> None:
    spread = {p[0]: p[8] for p in _points(_stat("r3", tmp_path)) if p[8] is not None}
    assert spread == {"task-clock": 0.38, "context-switches": 19.15, "page-faults": 1.12, "time elapsed": 1.0}


def test_what_perf_could_not_count_is_null_and_counted(tmp_path: Path) -> None:
    tables = _stat("I-csv", tmp_path)
    issues = [row for row in tables["import_issue"] if row["code"] == "not_supported"]
    assert len(issues) == 4
    assert {row["count"] for row in issues} == {11}
    assert sum(row["value"] is None for row in tables["counter"]) == 44


def test_tables_of_old_perfs(tmp_path: Path) -> None:
    folder = "eclipse-linuxtools/perf/perf.tests/resources/stat-data"
    old = {p[0]: p for p in _points(read_tables(corpus(folder, "perf_old.stat"), adapter="perf.stat"))}
    assert old["cpu-clock"][1:] == ("msec", "process", None, None, None, 8.781967, None, 0.37)
    assert old["page-faults"][6] == 3164
    assert old["page-faults: /sec"][6] == 360_000
    assert old["time elapsed"][6] == 0.00896418


_TABLE = """
 Performance counter stats for './a b':

        1 234 567      cycles                    #    1,234 GHz                      (83,30%)
            12,50 msec task-clock:u              #    0,998 CPUs utilized
        2.345.678      instructions              #    1,90  insn per cycle           (80,00%)
                                                 #    0,10  stalled cycles per insn

       0,012345678 seconds time elapsed
"""


def test_numbers_of_other_locales(tmp_path: Path) -> None:
    text = _TABLE.replace("1 234 567", "1\u202f234\u202f567")
    points = {p[0]: p for p in _points(_read(text, tmp_path))}
    assert points["cycles"][6:8] == (1234567, pytest.approx(0.833))
    assert points["task-clock:u"][1] == "msec"
    assert points["task-clock:u"][6] == 12.5
    assert points["instructions"][6] == 2345678
    assert points["instructions: insn per cycle"][6] == 1.9
    assert points["instructions: stalled cycles per insn"][6] == 0.1
    assert points["time elapsed"][6] == 0.012345678


def test_bare_metrics_belong_to_the_event_before(tmp_path: Path) -> None:
    text = (
        "5000,,cycles,100,50.00,,\n"
        "2000,,instructions,100,100.00,0.40,insn per cycle\n"
        ",,,,,1.25,stalled cycles per insn\n"
    )
    points = _points(_read(text, tmp_path))
    assert [(p[0], p[6]) for p in points] == [
        ("cycles", 5000),
        ("instructions", 2000),
        ("instructions: insn per cycle", 0.4),
        ("instructions: stalled cycles per insn", 1.25),
    ]
    assert points[0][7] == 0.5


def test_events_may_hold_the_separator(tmp_path: Path) -> None:
    text = "5,,cpu/event=0x3c,umask=1/,100,100.00,,\n7,,sched:sched_switch,/grp,100,100.00,,\n"
    tables = _read(text, tmp_path)
    assert [row["name"] for row in tables["counter_track"]] == ["cpu/event=0x3c,umask=1/", "sched:sched_switch"]
    assert [row["device"] for row in tables["counter_track"]] == [None, "/grp"]


_EVENTS = "cpu-clock,page-faults"
_LIVE = {
    "separator": ["-x;", "-e", _EVENTS],
    "two characters": ["-x--", "-e", _EVENTS],
    "tab": ["-x\t", "-e", _EVENTS],
    "repeat": ["-x,", "-r", "2", "-e", _EVENTS],
    "repeat json": ["-j", "-r", "2", "-e", _EVENTS],
    "table": ["-e", _EVENTS],
    "cpu intervals": ["-x,", "-a", "-A", "-I", "20", "-e", _EVENTS],
    "cpu intervals json": ["-j", "-a", "-A", "-I", "20", "-e", _EVENTS],
    "cpu table": ["-a", "-A", "-e", _EVENTS],
    "core": ["-x,", "-a", "--per-core", "-e", _EVENTS],
    "core json": ["-j", "-a", "--per-core", "-e", _EVENTS],
    "socket table": ["-a", "--per-socket", "-I", "20", "-e", _EVENTS],
}


@pytest.mark.parametrize("kind", list(_LIVE))
def test_perf_of_this_machine(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    try:
        done = subprocess.run(
            ["perf", "stat", "-o", path, *_LIVE[kind], "sleep", "0.03"], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("perf is not installed")
    if done.returncode or not path.exists():
        pytest.skip(f"perf stat may not count here: {done.stderr.decode()[:80]}")
    tables = read_tables(path, adapter="perf.stat")
    assert not [row for row in tables["import_issue"] if row["code"] == "unparsed_line"], path.read_text()
    points = _points(tables)
    assert {"cpu-clock", "page-faults"} <= {p[0] for p in points}
    assert all(p[6] is not None and p[6] >= 0 for p in points)
    assert {p[1] for p in points if p[0] == "cpu-clock"} == {"msec"}
    if kind.startswith("repeat"):
        assert all(p[8] is not None for p in points if ":" not in p[0])
    scope = kind.split(maxsplit=1)[0]
    if scope in ("cpu", "core", "socket"):
        assert {p[2] for p in points if p[1] != "s"} == {scope}
    if "intervals" in kind:
        assert len({p[5] for p in points}) >= 1
        assert all(p[5] is not None for p in points)


def _survives(raw: bytes, path: Path) -> Tables | None:
    path.write_bytes(raw)
    tables: Tables = {}
    with Source(path) as source:
        PerfStat().sniff(source)
        try:
            for table, data in PerfStat().read(source, IssueLog()):
                validate_batch(table, data)
                tables.setdefault(table, []).extend(data.to_pylist())
        except FormatError:
            return None
    return tables


@pytest.mark.parametrize("kind", ["I-csv", "I-json", "plain", "r3"])
def test_cut_anywhere(kind: str, tmp_path: Path) -> None:
    raw = captures("perf", f"stat-{kind}.txt").read_bytes()[:1500]
    whole = _survives(raw, tmp_path / "x")
    assert whole is not None
    for end in range(0, len(raw), 11):
        tables = _survives(raw[:end], tmp_path / "x")
        if tables is not None:
            found = [(p[0], p[5], p[6]) for p in _points(tables)]
            assert found[:-2] == [(p[0], p[5], p[6]) for p in _points(whole)][: max(0, len(found) - 2)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["I-csv", "json", "plain", "socket-csv"]),
    flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_flipped_bytes(kind: str, flips: list[tuple[int, int]], tmp_path: Path) -> None:
    raw = bytearray(captures("perf", f"stat-{kind}.txt").read_bytes())
    for position, value in flips:
        raw[position % len(raw)] = value
    _survives(bytes(raw), tmp_path / "x")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=2000))
def test_junk(raw: bytes, tmp_path: Path) -> None:
    _survives(raw, tmp_path / "x")
    _survives(b"5,,cycles,100,100.00,,\n" + raw, tmp_path / "x")
    _survives(_TABLE.encode() + raw, tmp_path / "x")


@pytest.mark.parametrize("filler", [b" ", b"1 ", b",", b"1,", b"a-1 ", b"(", b"{", b"[", b"#  ", b"1.5"])
def test_long_lines_take_no_long_time(filler: bytes, tmp_path: Path) -> None:
    line = filler * (60_000 // len(filler)) + b"\n"
    for start in (b"5,,cycles,100,100.00,,\n", b'{"counter-value" : "1", "event" : "x"}\n', _TABLE.encode()):
        assert _survives(start + line, tmp_path / "x") is not None


@pytest.mark.parametrize(
    "parts", [("perf", "fp.script.txt"), ("bcc", "memleak.txt"), ("perf", "fp.data"), ("strace", "c.txt")]
)
def test_other_texts_are_not_taken(parts: tuple[str, ...]) -> None:
    with Source(captures(*parts)) as source:
        assert not PerfStat().sniff(source)
