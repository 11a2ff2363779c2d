"""Reads a run of records block by block: bounded memory, damage skipped and counted, compressed records unpacked.

    file    ──▶ blocks of ≤ 4 MB, cut at record boundaries ──▶ Records
                   └─ COMPRESSED records ──zstd──▶ blocks ──▶ Records

A block's memory is used again for the next one: whoever takes `Records` is done with it, or has copied, before asking
for more.

Formats: `Documentation/perf.data-file-format.txt` (tools/perf); COMPRESSED records hold pieces of one zstd stream per
file, and records may straddle them (tools/perf/util/session.c, perf_session__process_compressed_event).
"""

from __future__ import annotations

import itertools
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.walk import Block, Walk, WalkMemory, next_header, walk

BLOCK_BYTES = 4 << 20
"""What is computed for a block of this size stays in the processor's cache."""
_FIRST_BLOCK_BYTES = 64 << 10
_COMPRESSED = abi.RECORD["COMPRESSED"]
_COMPRESSED2 = abi.RECORD["COMPRESSED2"]
_TRACING_DATA = abi.RECORD["TRACING_DATA"]
_ODD_TYPES = (_COMPRESSED, _TRACING_DATA, abi.RECORD["FEATURE"])
_MAX_TRACING_BYTES = 64 << 20
_PIECE_BYTES = 2 << 10
"""Compressed bytes unpacked at a time: 4 of them may stand for a block of 128 kB (zstd's RLE blocks)."""


@dataclass(frozen=True, slots=True)
class Records:
    """Whole records in one block of memory."""

    block: Block
    starts: NDArray[np.int64]
    """Word index of each record."""
    offset: int
    """Byte offset of the block in the file; for unpacked data, counted on in unpacked bytes from the first compressed
    record.
    """
    is_aside: bool = False
    """Whether the records were found among compressed ones: where among the unpacked records they belong is known to
    the block only.
    """


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


class _Window:
    """The part of a feed that is in memory. What is consumed is dropped, so that what is left starts aligned."""

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed
        self._memory = np.zeros(0, np.uint8)
        self._room = _FIRST_BLOCK_BYTES
        self._held = 0
        self.base = feed.offset()
        """Where in the feed the window begins."""
        self.is_last = False
        """Whether nothing comes behind it."""

    @property
    def bytes(self) -> NDArray[np.uint8]:
        return self._memory[: self._held]

    def fill(self, wanted: int) -> None:
        """Read on, until memory is full or the feed is at its end; there is room for `wanted` bytes at least."""
        room = max(wanted, self._room)
        if len(self._memory) < room:
            self._memory = np.concatenate([self.bytes, np.zeros(room - self._held, np.uint8)])
        self._room = min(self._room * 4, BLOCK_BYTES)
        count = self._feed.read_into(memoryview(self._memory)[self._held :])  # type: ignore[arg-type]
        self._held += count
        self.is_last = self._held < len(self._memory)

    def drop(self, count: int) -> bool:
        """Drop bytes from the front, those not read yet included; false where the feed ends before that."""
        self.base += count
        beyond = count - self._held
        if beyond > 0:
            self._held = 0
            return self._feed.skip(beyond) == beyond
        self._memory[:-beyond] = self._memory[count : self._held].copy()
        self._held = -beyond
        return True


def _read_blocks(
    feed: _Feed, order: str, issues: IssueLog, walk_block: Callable[[Block], Walk] = walk
) -> Iterator[Records]:
    window = _Window(feed)
    wanted = 0
    while not window.is_last:
        window.fill(wanted)
        go_on = True
        while go_on:
            go_on, wanted = yield from _read_window(window, order, issues, walk_block)
    if len(window.bytes):
        issues.add(
            "truncated_record",
            "warning",
            f"expected a whole record, found the last {len(window.bytes)} bytes of the data",
            offset=window.base,
        )


def _read_window(
    window: _Window, order: str, issues: IssueLog, walk_block: Callable[[Block], Walk]
) -> Generator[Records, None, tuple[bool, int]]:
    """Hand on what whole records the window holds, and drop them.

    Returns:
        whether the next record is in memory but was not aligned; how many bytes must be in memory to read on, or 0.
    """
    held = window.bytes
    block = Block(held[: len(held) & ~7], order)
    found = walk_block(block)
    starts, end, wanted = found.starts, found.end * 8, 0
    if end > len(held) and not window.is_last and int(block.u32[starts[-1] * 2]) == _TRACING_DATA:
        # Its payload is needed whole: the names of tracepoints are in it.
        begin = int(starts[-1]) * 8
        if end - begin <= _MAX_TRACING_BYTES:
            starts, end, wanted = starts[:-1], begin, end - begin
    if len(starts):
        yield Records(block, starts, window.base)
    behind = end
    if found.is_damaged:
        odd, behind, wanted = _odd_records(held, end, order, is_last=window.is_last)
        for at, alone in odd:
            yield Records(alone, np.zeros(1, np.int64), window.base + at)
        if behind == end and not wanted:
            behind = _resynchronise(block, found.end, window.base, issues)
    begins_at = window.base
    if not window.drop(behind):
        issues.add("truncated_record", "warning", "a trace payload is cut off by the end of the file",
                   offset=begins_at + int(starts[-1]) * 8)  # fmt: skip
    return behind > end and not wanted and len(window.bytes) >= 8, wanted


def _odd_records(
    memory: NDArray[np.uint8], at: int, order: str, *, is_last: bool
) -> tuple[list[tuple[int, Block]], int, int]:
    """The run of the tool's records from byte `at` on whose only oddity is a size that is no multiple of 8, each alone
    in a block: perf writes FEATURE and TRACING_DATA to pipes so, and COMPRESSED (until COMPRESSED2 took its place in
    6.16). What follows such a record must make sense, or it is damage.

    Returns:
        (byte, record) pairs; the byte behind them; the bytes from there on that must be in memory to go on, or 0.
    """
    found: list[tuple[int, Block]] = []
    while True:
        if at + 8 > len(memory):
            return found, at, 0 if is_last else 8
        kind, _, size = struct.unpack_from(f"{order}IHH", memory.data, at)
        if not 64 <= kind < abi.RECORD_TYPE_LIMIT or size < 8:
            return found, at, 0
        total = size
        if kind == _TRACING_DATA and size >= 12 and at + 12 <= len(memory):
            (payload,) = struct.unpack_from(f"{order}I", memory.data, at + 8)
            total = min(size + (payload + 7 & ~7), _MAX_TRACING_BYTES)
        end = at + total
        if end + 8 > len(memory) and not is_last:
            return found, at, total + 8
        if end > len(memory):
            # Cut off by the end of the file, if it is one of the types that come in odd sizes.
            return found, at, total if kind in _ODD_TYPES else 0
        if end + 8 <= len(memory):
            next_kind, _, next_size = struct.unpack_from(f"{order}IHH", memory.data, end)
            if not 1 <= next_kind < abi.RECORD_TYPE_LIMIT or next_size < 8:
                return found, at, 0
        alone = np.zeros(total + 7 & ~7, np.uint8)
        alone[:total] = memory[at:end]
        found.append((at, Block(alone, order)))
        at = end


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
    """The pieces of the zstd stream that the COMPRESSED records of a file hold, in file order; the records that lie
    among them are set aside when the reading passes them.
    """

    def __init__(self, outer: Iterator[Records]) -> None:
        self._outer = outer
        self._queue: deque[Records | tuple[int, bytes]] = deque()
        self.aside: list[Records] = []
        self.offset = 0

    def next(self) -> bytes:
        """The next piece; empty at the end of the file."""
        self.aside += self.pass_records()
        if not self._queue:
            return b""
        item = self._queue.popleft()
        assert not isinstance(item, Records)
        self.offset, payload = item
        return payload

    def pass_records(self) -> Iterator[Records]:
        """The records in front of the next piece."""
        while True:
            while self._queue and isinstance(item := self._queue[0], Records):
                self._queue.popleft()
                yield item
            records = None if self._queue else next(self._outer, None)
            if records is None:
                return
            self._take(records)

    def _take(self, records: Records) -> None:
        block, starts = records.block, records.starts
        kinds = block.types(starts)
        packed = np.flatnonzero((kinds == _COMPRESSED) | (kinds == _COMPRESSED2))
        begin = 0
        for index in packed.tolist():
            self._set_aside(records, begin, index)
            piece = _payload(records, int(starts[index]), int(kinds[index]))
            if piece[1]:  # an empty one would look like the end
                self._queue.append(piece)
            begin = index + 1
        self._set_aside(records, begin, len(starts))
        # Of the compressed records only the headers are handed on, so that they are counted.
        headers = block.u64[starts[packed]].view(np.uint8)
        self._queue.append(Records(Block(headers, block.order), np.arange(len(packed)), records.offset))

    def _set_aside(self, records: Records, begin: int, end: int) -> None:
        """Copy a run of records that are not compressed: the block's memory will be used again."""
        if begin < end:
            starts = records.starts[begin:end]
            words = int(starts[-1] - starts[0]) + (int(records.block.u16[starts[-1] * 4 + 3]) + 7 >> 3)
            first = int(starts[0])
            alone = Block(records.block.u8[first * 8 : (first + words) * 8].copy(), records.block.order)
            self._queue.append(Records(alone, starts - first, records.offset + first * 8, is_aside=True))


def _payload(records: Records, start: int, kind: int) -> tuple[int, bytes]:
    """File offset and compressed bytes of a COMPRESSED record."""
    block = records.block
    begin, end = start * 8 + 8, start * 8 + int(block.u16[start * 4 + 3])
    if kind == _COMPRESSED2 and start + 1 < len(block.u64):
        # struct perf_record_compressed2 { header; u64 data_size; char data[]; }, padded to 8 bytes
        begin += 8
        end = min(end, begin + int(block.u64[start + 1]))
    return records.offset + start * 8, block.u8[begin:end].tobytes()


class _ZstdFeed:
    """Bytes out of the decompressor, as many at a time as there is room for."""

    def __init__(self, payloads: _Payloads, issues: IssueLog) -> None:
        import zstandard

        self._payloads = payloads
        self._issues = issues
        self._error = zstandard.ZstdError
        # Not `stream_reader`: at the end of the input it forgets what the decompressor still holds, and perf never
        # ends its frame.
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._new_frame()
        self._packed = memoryview(b"")
        self._ready = memoryview(b"")
        self._is_broken = False

    def read_into(self, target: memoryview) -> int:
        filled = 0
        while filled < len(target) and (self._ready or self._unpack_more()):
            count = min(len(target) - filled, len(self._ready))
            target[filled : filled + count] = self._ready[:count]
            self._ready = self._ready[count:]
            filled += count
        return filled

    def skip(self, count: int) -> int:
        skipped = 0
        while skipped < count and (self._ready or self._unpack_more()):
            step = min(count - skipped, len(self._ready))
            self._ready = self._ready[step:]
            skipped += step
        return skipped

    def offset(self) -> int:
        return self._payloads.offset

    def _unpack_more(self) -> bool:
        while not self._ready and not self._is_broken:
            if not self._packed:
                self._packed = memoryview(self._payloads.next())
                if not self._packed:
                    return False
            piece, self._packed = self._packed[:_PIECE_BYTES], self._packed[_PIECE_BYTES:]
            try:
                if self._frame.eof:
                    self._frame = self._new_frame()
                self._ready = memoryview(self._frame.decompress(piece))
                if self._frame.eof and (rest := self._frame.unused_data):
                    self._packed = memoryview(rest + bytes(self._packed))
            except self._error as error:
                self._is_broken = True
                self._issues.add(
                    "bad_compressed_data",
                    "error",
                    f"expected zstd data, found: {error}; the compressed records from here on are lost",
                    offset=self._payloads.offset,
                )
        return bool(self._ready)


def _unpack(outer: Iterator[Records], order: str, issues: IssueLog) -> Iterator[Records]:
    payloads = _Payloads(outer)
    # In a pipe these say what the events are: nothing behind them can be read without.
    yield from payloads.pass_records()
    for records in _read_blocks(_ZstdFeed(payloads, issues), order, issues):
        yield records
        yield from _taken(payloads)
    while payloads.next():  # behind damage, what is not compressed is still sound
        yield from _taken(payloads)
    yield from _taken(payloads)


def _taken(payloads: _Payloads) -> Iterator[Records]:
    aside, payloads.aside = payloads.aside, []
    yield from aside
