"""Damaged, hostile and foreign input for the reader of perf script text: rows that fit the schema, or FormatError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adapters.reading import Tables, samples_of
from tests.support import captures

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_script import PerfScript
from perfkit.adapters.source import Source
from perfkit.schema.errors import FormatError
from perfkit.schema.validate import validate_batch

_RECORD = "java 100/101 [003] 12.000001:   5 cycles:ppp: \n\t      7f0012345678 f(int)+0x1 (/lib/a.so)\n\n"


@pytest.mark.parametrize(
    "parts",
    [
        ("bcc", "memleak.txt"),
        ("bpftrace", "ustack.txt"),
        ("libbpf-tools", "sys-tcplife_-T.txt"),
        ("strace", "f-tt-T.txt"),
        ("perf", "sched.timehist.txt"),
        ("perf", "trace.txt"),
        ("perf", "fp.report.txt"),
        ("perf", "fp.data"),
        ("perf", "stat-I-csv.txt"),
    ],
)
def test_other_tools_texts_are_not_taken(parts: tuple[str, ...]) -> None:
    with Source(captures(*parts)) as source:
        assert not PerfScript().sniff(source)


def _survives(raw: bytes, path: Path) -> Tables | None:
    """Read whatever this is: rows that fit the schema, or FormatError."""
    path.write_bytes(raw)
    tables: Tables = {}
    with Source(path) as source:
        PerfScript().sniff(source)
        try:
            for table, data in PerfScript().read(source, IssueLog()):
                validate_batch(table, data)
                tables.setdefault(table, []).extend(data.to_pylist())
        except FormatError:
            return None
    return tables


def test_cut_anywhere(tmp_path: Path) -> None:
    raw = captures("perf", "fp.script.txt").read_bytes()[:6000]
    whole = _survives(raw, tmp_path / "x")
    assert whole is not None
    expected = samples_of(whole)
    for end in range(0, len(raw), 37):
        tables = _survives(raw[:end], tmp_path / "x")
        if tables is None:
            assert end < 100
            continue
        found = samples_of(tables)
        assert found[:-1] == expected[: len(found) - 1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 5999), st.integers(0, 255)), min_size=1, max_size=40))
def test_flipped_bytes(flips: list[tuple[int, int]], tmp_path: Path) -> None:
    raw = bytearray(captures("perf", "truth-faults.script.txt").read_bytes()[:6000])
    for position, value in flips:
        raw[position] = value
    tables = _survives(bytes(raw), tmp_path / "x")
    assert tables is None or tables["sample"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=3000))
def test_junk(raw: bytes, tmp_path: Path) -> None:
    _survives(raw, tmp_path / "x")
    _survives(_RECORD.encode() + raw, tmp_path / "x")


@pytest.mark.parametrize("filler", [b" ", b"1 ", b":", b"a:", b"a 1 ", b"(", b"0 (", b"=> ", b"a="])
def test_long_lines_take_no_long_time(filler: bytes, tmp_path: Path) -> None:
    line = filler * (60_000 // len(filler))
    raw = _RECORD.encode() + line + b"\n" + b"java 100/101 13.0: 1 cycles:ppp: " + line + b")\n\t" + line + b"\n\n"
    assert _survives(line, tmp_path / "x") is None
    tables = _survives(raw, tmp_path / "x")
    assert tables is not None
    assert len(tables["sample"]) == 2
