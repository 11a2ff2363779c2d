"""Reads a run of records block by block: bounded memory, damage skipped and counted, compressed records unpacked.

    file    ──▶ blocks of ≤ 16 MB, cut at record boundaries ──▶ Records
                   └─ COMPRESSED records ──zstd──▶ blocks ──▶ Records

A block's memory is used again for the next one: whoever takes `Records` is done with it, or has copied, before asking
for more.

Formats: `Documentation/perf.data-file-format.txt` (tools/perf); COMPRESSED records hold pieces of one zstd stream per
file, and records may straddle them (tools/perf/util/session.c, perf_session__process_compressed_event).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.walk import Block, Walk, WalkMemory, next_header, walk

BLOCK_BYTES = 16 << 20
_FIRST_BLOCK_BYTES = 64 << 10
_COMPRESSED = abi.RECORD["COMPRESSED"]
_COMPRESSED2 = abi.RECORD["COMPRESSED2"]


@dataclass(frozen=True, slots=True)
class Records:
    """Whole records in one block of memory."""

    block: Block
    starts: NDArray[np.int64]
    """Word index of each record."""
    offset: int
    """Byte offset of the block in the file; for unpacked data, of the compressed record it came from."""


class _Feed(Protocol):
    """Where bytes come from: a stretch of the file, or the decompressor."""

    def read_into(self, target: memoryview) -> int: ...

    def skip(self, count: int) -> int: ...

    def offset(self) -> int: ...


class _FileFeed:
    """Bytes `start` to `end` of a file."""

    def __init__(self, stream: BinaryIO, start: int, end: int) -> None:
        self._stream = stream
        self._at = start
        self._end = end
        stream.seek(start)

    def read_into(self, target: memoryview) -> int:
        wanted = min(len(target), self._end - self._at)
        count = self._stream.readinto(target[:wanted]) if wanted > 0 else 0  # type: ignore[attr-defined]
        self._at += count
        return int(count)

    def skip(self, count: int) -> int:
        step = max(min(count, self._end - self._at), -self._at)
        self._at += step
        self._stream.seek(self._at)
        return step

    def offset(self) -> int:
        return self._at


def read_records(
    path: Path, start: int, end: int, order: str, issues: IssueLog, memory: WalkMemory | None = None
) -> Iterator[Records]:
    """All records between the byte offsets `start` and `end` of a file, in file order. `memory` spares a second pass
    the walk.

    Problems are counted: `damaged_records` (bytes skipped until records make sense again), `truncated_record`,
    `bad_compressed_data`.
    """
    with open(path, "rb") as stream:
        outer = _read_blocks(_FileFeed(stream, start, end), order, issues, memory.walk if memory else walk)
        for records in outer:
            kinds = records.block.types(records.starts)
            if ((kinds == _COMPRESSED) | (kinds == _COMPRESSED2)).any():
                yield from _unpack(itertools.chain([records], outer), order, issues)
                return
            yield records


def _read_blocks(
    feed: _Feed, order: str, issues: IssueLog, walk_block: Callable[[Block], Walk] = walk
) -> Iterator[Records]:
    memory = np.zeros(_FIRST_BLOCK_BYTES, np.uint8)
    held = 0
    base = feed.offset()
    while True:
        count = feed.read_into(memoryview(memory)[held:])  # type: ignore[arg-type]
        held += count
        usable = held & ~7
        if not usable or (count == 0 and held == 0):
            break
        block = Block(memory[:usable], order)
        found = walk_block(block)
        if len(found.starts):
            yield Records(block, found.starts, base)
        consumed = found.end * 8
        if found.is_damaged:
            odd = _odd_record(memory, consumed, held, order)
            if odd is not None:
                yield Records(odd, np.zeros(1, np.int64), base + consumed)
                consumed += int(odd.u16[3])
            else:
                consumed = _resynchronise(block, found.end, base, issues)
        if consumed > held:
            # A trace payload reaches past what is in memory.
            missing = consumed - held
            if feed.skip(missing) < missing:
                issues.add("truncated_record", "warning", "a trace payload is cut off by the end of the file",
                           offset=base + found.end * 8)  # fmt: skip
            base, held = base + consumed, 0
        else:
            memory[: held - consumed] = memory[consumed:held].copy()
            base, held = base + consumed, held - consumed
        if count == 0 and consumed == 0:
            break
        if len(memory) < BLOCK_BYTES and held < len(memory):
            memory = np.concatenate([memory[:held], np.zeros(min(len(memory) * 4, BLOCK_BYTES) - held, np.uint8)])
    if held:
        issues.add(
            "truncated_record",
            "warning",
            f"expected a whole record, found the last {held} bytes of the data",
            offset=base,
        )


def _odd_record(memory: NDArray[np.uint8], at: int, held: int, order: str) -> Block | None:
    """The record at byte `at`, alone in a block, if its only oddity is a size that is no multiple of 8: perf writes
    FEATURE records to pipes so. The next header must make sense, or it is damage.
    """
    if at + 8 > held:
        return None
    kind, _, size = struct.unpack_from(f"{order}IHH", memory, at)
    if not 64 <= kind < abi.RECORD_TYPE_LIMIT or size < 8 or at + size > held:
        return None
    if at + size + 8 <= held:
        next_kind, _, next_size = struct.unpack_from(f"{order}IHH", memory, at + size)
        if not 1 <= next_kind < abi.RECORD_TYPE_LIMIT or next_size < 8:
            return None
    alone = np.zeros(size + 7 & ~7, np.uint8)
    alone[:size] = memory[at : at + size]
    return Block(alone, order)


def _resynchronise(block: Block, damaged_at: int, base: int, issues: IssueLog) -> int:
    """Byte in the block where records make sense again; what lies between is counted as lost."""
    resumed = next_header(block, damaged_at + 1)
    issues.add(
        "damaged_records",
        "error",
        f"expected a record header, found {block.u8[damaged_at * 8 : damaged_at * 8 + 8].tobytes().hex(' ')}; "
        "records behind it were skipped until one made sense again",
        offset=base + damaged_at * 8,
    )
    issues.add(
        "skipped_bytes",
        "error",
        "bytes of damaged records that could not be read",
        offset=base + damaged_at * 8,
        count=(resumed - damaged_at) * 8,
    )
    return resumed * 8


class _Payloads:
    """The zstd stream that the COMPRESSED records of a file make up; other records among them are set aside."""

    def __init__(self, outer: Iterator[Records]) -> None:
        self._outer = outer
        self._queue: list[tuple[int, bytes]] = []
        self.aside: list[Records] = []
        self.offset = 0

    def read(self, _size: int = -1) -> bytes:
        while not self._queue:
            records = next(self._outer, None)
            if records is None:
                return b""
            self._take(records)
        self.offset, payload = self._queue.pop(0)
        return payload

    def _take(self, records: Records) -> None:
        block, starts = records.block, records.starts
        kinds = block.types(starts)
        packed = (kinds == _COMPRESSED) | (kinds == _COMPRESSED2)
        for start, kind in zip(starts[packed].tolist(), kinds[packed].tolist(), strict=True):
            size = int(block.u16[start * 4 + 3])
            begin, end = start * 8 + 8, start * 8 + size
            if kind == _COMPRESSED2:  # struct perf_record_compressed2 { header; u64 data_size; char data[]; }
                begin += 8
                end = min(end, begin + int(block.u64[start + 1]))
            self._queue.append((records.offset + start * 8, block.u8[begin:end].tobytes()))
        # Of the compressed records only the headers are handed on, so that they are counted.
        headers = block.u64[starts[packed]].view(np.uint8)
        self.aside.append(Records(Block(headers, block.order), np.arange(int(packed.sum())), records.offset))
        rest = starts[~packed]
        for start in rest.tolist():
            words = int(block.u16[start * 4 + 3]) >> 3
            alone = Block(block.u8[start * 8 : (start + words) * 8].copy(), block.order)
            self.aside.append(Records(alone, np.zeros(1, np.int64), records.offset + start * 8))


class _ZstdFeed:
    """Bytes out of the decompressor, as many at a time as there is room for."""

    def __init__(self, payloads: _Payloads, issues: IssueLog) -> None:
        import zstandard

        self._payloads = payloads
        self._issues = issues
        self._error = zstandard.ZstdError
        self._stream = zstandard.ZstdDecompressor().stream_reader(payloads)  # type: ignore[arg-type]

    def read_into(self, target: memoryview) -> int:
        if not len(target):
            return 0
        try:
            return self._stream.readinto(target)
        except self._error as error:
            self._issues.add(
                "bad_compressed_data",
                "error",
                f"expected zstd data, found: {error}; the compressed records from here on are lost",
                offset=self._payloads.offset,
            )
            return 0

    def skip(self, count: int) -> int:
        skipped = 0
        scratch = memoryview(bytearray(64 << 10))
        while skipped < count and (step := self.read_into(scratch[: min(len(scratch), count - skipped)])):
            skipped += step
        return skipped

    def offset(self) -> int:
        return self._payloads.offset


def _unpack(outer: Iterator[Records], order: str, issues: IssueLog) -> Iterator[Records]:
    payloads = _Payloads(outer)
    for records in _read_blocks(_ZstdFeed(payloads, issues), order, issues):
        yield records
        while payloads.aside:
            yield payloads.aside.pop(0)
    for _ in iter(payloads.read, b""):  # behind damage, what is not compressed is still sound
        pass
    yield from payloads.aside
