"""Damaged captures: never anything but a FormatError, and all that is sound is kept, the rest counted."""

from __future__ import annotations

import signal
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.adapters.integrity import Tables, check_time_order, read_checked
from tests.adapters.perf_data import writer as w
from tests.adapters.perf_data.written import CHAINED, chained
from tests.support import fixtures

from perfkit.adapters.perf_data.adapter import PerfData

FIXTURES = ["fp.data", "group-S.data", "pipe-multi.data", "compressed.data", "allfields.data", "lost.data"]
RECORDS = 400


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A reading that takes a minute hangs."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def read(folder: Path, content: bytes) -> Tables | None:
    path = folder / "damaged"
    path.write_bytes(content)
    tables = read_checked(path, PerfData())
    if tables is not None:
        check_time_order(tables)  # perf's samples are put in order, whatever their times have become
    return tables


def times(tables: Tables | None) -> list[int]:
    return [] if tables is None or "sample" not in tables else tables["sample"]["ts"].to_pylist()


def issues(tables: Tables | None) -> dict[str, dict[str, int]]:
    if tables is None or "import_issue" not in tables:
        return {}
    return {row["code"]: row for row in tables["import_issue"].to_pylist()}


def numbered() -> tuple[w.Writer, bytes, list[int]]:
    """Samples at the times 0, 1, 2 …; the file, and where each record begins in it."""
    writer = chained()
    for time in range(RECORDS):
        writer.sample(w.Sample(time=time, ip=7, callchain=(w.USER_CONTEXT, *range(1, 2 + time % 5))))
    content = writer.to_file()
    at = content.index(writer.records[0])
    starts = []
    for record in writer.records:
        starts.append(at)
        at += len(record)
    return writer, content, starts


# --- cut --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIXTURES)
def test_a_file_cut_anywhere(name: str, tmp_path: Path):
    content = fixtures("perf", name).read_bytes()
    offsets = {*range(0, 700, 23), *range(len(content) - 300, len(content), 11), *range(0, len(content), 397)}
    whole = times(read(tmp_path, content))
    counts = []
    for offset in sorted(offsets):
        tables = read(tmp_path, content[:offset])
        found = times(tables)
        assert set(found) <= set(whole)
        counts.append(len(found))
        if tables is not None and name != "pipe-multi.data":
            told = issues(tables)
            assert told.keys() & {"truncated_file", "truncated_features", "bad_feature_section"}
            assert "truncated_file" not in told or told["truncated_file"]["offset"] == offset
    assert counts == sorted(counts)  # the later the cut, the more there is
    assert counts[-1] > 0 or not whole


def test_all_records_before_a_cut_are_kept(tmp_path: Path):
    _, content, starts = numbered()
    ends = [*starts[1:], len(content)]
    for offset in range(starts[0], len(content), 331):
        tables = read(tmp_path, content[:offset])
        assert times(tables) == [time for time, end in enumerate(ends) if end <= offset]
        if offset not in ends and offset != starts[0]:
            begin = max(start for start in starts if start < offset)
            assert issues(tables)["truncated_record"]["offset"] == begin


# --- overwritten ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize("seed", range(3))
def test_bytes_flipped_anywhere(name: str, seed: int, tmp_path: Path):
    random = Random(seed)
    content = fixtures("perf", name).read_bytes()
    for _ in range(15):
        damaged = bytearray(content)
        for _ in range(random.choice([1, 1, 3, 50])):
            damaged[random.randrange(8, len(damaged))] = random.randrange(256)
        read(tmp_path, bytes(damaged))


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize(
    "word", [b"\xff" * 8, bytes(8), b"\xff" * 7 + b"\x7f", bytes(7) + b"\x80", b"\xff" * 4 + bytes(4)]
)
def test_words_of_nonsense(name: str, word: bytes, tmp_path: Path):
    content = fixtures("perf", name).read_bytes()
    random = Random(word)
    for at in [*range(8, 500, 112), *(random.randrange(8, len(content) - 8) & ~7 for _ in range(5))]:
        read(tmp_path, content[:at] + word + content[at + 8 :])


@pytest.mark.parametrize(
    "header", [b"\0" * 8, b"\xff" * 8, struct.pack("<IHH", 9, 0, 12), struct.pack("<IHH", 200, 0, 64)]
)
def test_a_damaged_header_costs_its_record_only(header: bytes, tmp_path: Path):
    _, content, starts = numbered()
    for victim in (0, 1, RECORDS // 2, RECORDS - 2):
        at = starts[victim]
        tables = read(tmp_path, content[:at] + header + content[at + 8 :])
        assert times(tables) == [time for time in range(RECORDS) if time != victim]
        found = issues(tables)
        assert found["damaged_records"]["offset"] == at
        assert found["skipped_bytes"]["count"] == starts[victim + 1] - at


def test_a_stretch_of_noise_costs_what_it_covers(tmp_path: Path):
    _, content, starts = numbered()
    random = Random(1)
    for first in range(0, RECORDS - 60, 37):
        begin, end = starts[first] + 8, starts[first + 40] + 8
        tables = read(tmp_path, content[:begin] + random.randbytes(end - begin) + content[end:])
        found = set(times(tables))
        assert set(range(first)) <= found
        # The noise may hold what looks like a header: a few records behind it may go with it.
        assert len(set(range(first + 41, RECORDS)) - found) <= 8


def test_compressed_data_that_is_broken(tmp_path: Path):
    plain = numbered()[0]
    records = w.compressed(plain, 10)
    broken = bytearray(records[5])
    broken[8:] = b"\xff" * (len(broken) - 8)  # block type 3 is reserved
    content = plain.with_records([*records[:5], bytes(broken), *records[6:]]).to_file()
    tables = read(tmp_path, content)
    found = times(tables)
    assert found == list(range(len(found)))
    assert RECORDS // 3 < len(found) < RECORDS
    assert issues(tables)["bad_compressed_data"]["offset"] == content.index(bytes(broken))


# --- bogus counts -----------------------------------------------------------------------------------------------------

HUGE = (2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("field", ["size", "attr_size", "attrs_at", "attrs_size", "data_at", "data_size"])
def test_huge_numbers_in_the_header(field: str, huge: int, tmp_path: Path):
    at = {"size": 8, "attr_size": 16, "attrs_at": 24, "attrs_size": 32, "data_at": 40, "data_size": 48}[field]
    _, content, _ = numbered()
    check_memory(tmp_path, content[:at] + struct.pack("<Q", huge) + content[at + 8 :])


@pytest.mark.parametrize("huge", HUGE)
def test_huge_numbers_in_feature_sections(huge: int, tmp_path: Path):
    writer = numbered()[0]
    large, small = struct.pack("<Q", huge), struct.pack("<I", huge & 2**32 - 1)
    writer.features = {bit: small * 4 + bytes(64) for bit in (3, 4, 6, 8, 11, 12, 13, 17)}
    writer.features |= {2: large * 8, 7: small * 2, 10: large, 21: large * 2, 23: large, 29: small * 2 + large * 2}
    tables = check_memory(tmp_path, writer.to_file())
    assert len(times(tables)) == RECORDS


@pytest.mark.parametrize("huge", HUGE)
def test_huge_numbers_in_records(huge: int, tmp_path: Path):
    writer = numbered()[0]
    large = struct.pack("<Q", huge)
    for kind in range(1, 90):
        if kind not in {9, 66, 71}:
            writer.records.append(w.record("<", kind, large * 8))
    writer.sample(w.Sample(time=RECORDS))
    assert times(check_memory(tmp_path, writer.to_file()))[:RECORDS] == list(range(RECORDS))


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("kind", [66, 71])
def test_a_payload_that_claims_to_be_huge(kind: int, huge: int, tmp_path: Path):
    writer = numbered()[0]
    writer.records.append(w.record("<", kind, struct.pack("<Q", huge) * 5))
    for content in (writer.to_file(), writer.to_pipe()):
        tables = check_memory(tmp_path, content)
        assert times(tables) == list(range(RECORDS))


def test_a_bomb_of_compressed_zeros(tmp_path: Path):
    import zstandard

    packed = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    assert len(packed) < 60_000
    writer = w.Writer([w.Event(CHAINED)], records=[w.record("<", 81, packed)])
    tables = check_memory(tmp_path, writer.to_file())
    assert issues(tables)["skipped_bytes"]["count"] > 60 << 20


def check_memory(folder: Path, content: bytes) -> Tables | None:
    tracemalloc.start()
    try:
        return read(folder, content)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 96 << 20, f"{peak >> 20} MB for a file of {len(content)} bytes"
