"""Cuts a feed of bytes into blocks of whole records: bounded memory, damage skipped and counted.

A block's memory is used again for the next one: whoever takes `Records` is done with it, or has copied, before asking
for more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.walk import Block, Walk, next_header, walk

BLOCK_BYTES = 4 << 20
"""What is computed for a block of this size stays in the processor's cache."""
_FIRST_BLOCK_BYTES = 64 << 10
_TRACING_DATA = abi.RECORD["TRACING_DATA"]
_ODD_TYPES = (abi.RECORD["COMPRESSED"], _TRACING_DATA, abi.RECORD["FEATURE"])
_MAX_TRACING_BYTES = 64 << 20


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


class Feed(Protocol):
    """Where bytes come from: a stretch of the file, or the decompressor."""

    def read_into(self, target: memoryview) -> int:
        """Fill `target` as far as there are bytes; returns how many."""
        ...

    def skip(self, count: int) -> int:
        """Pass over `count` bytes (back, if negative); returns by how many."""
        ...

    def offset(self) -> int:
        """Where in the file the next byte lies."""
        ...


class _Window:
    """The part of a feed that is in memory. What is consumed is dropped, so that what is left starts aligned."""

    def __init__(self, feed: Feed) -> None:
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


def read_blocks(
    feed: Feed, order: str, issues: IssueLog, walk_block: Callable[[Block], Walk] = walk
) -> Iterator[Records]:
    """All records of a feed. Problems are counted: `damaged_records`, `skipped_bytes`, `truncated_record`."""
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
