"""Unpacks COMPRESSED records, which hold pieces of one zstd stream a file; records may straddle them.

Format: tools/perf/util/session.c, perf_session__process_compressed_event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.blocks import Records, read_blocks
from perfkit.adapters.perf_data.walk import Block

_COMPRESSED = abi.RECORD["COMPRESSED"]
_COMPRESSED2 = abi.RECORD["COMPRESSED2"]
_PIECE_BYTES = 2 << 10
"""Compressed bytes unpacked at a time: 4 of them may stand for a block of 128 kB (zstd's RLE blocks)."""


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


def unpack(outer: Iterator[Records], order: str, issues: IssueLog) -> Iterator[Records]:
    """The records inside the compressed ones, and those among them, in file order as far as it matters."""
    payloads = _Payloads(outer)
    # In a pipe these say what the events are: nothing behind them can be read without.
    yield from payloads.pass_records()
    for records in read_blocks(_ZstdFeed(payloads, issues), order, issues):
        yield records
        yield from _taken(payloads)
    while payloads.next():  # behind damage, what is not compressed is still sound
        yield from _taken(payloads)
    yield from _taken(payloads)


def _taken(payloads: _Payloads) -> Iterator[Records]:
    aside, payloads.aside = payloads.aside, []
    yield from aside
