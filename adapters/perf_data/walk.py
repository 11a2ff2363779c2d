"""Finds where the records of a block begin, without a loop over records.

Each record starts with `perf_event_header { u32 type; u16 misc; u16 size; }`, so record n+1 can only be found through
record n. To walk in numpy all the same, the block is entered at many places at once: at each place the next plausible
header is guessed, all "lanes" then step from record to record together, and at the end a lane counts only if the lane
before it arrives exactly at its start. Where it does not (the guess hit data that looks like a header), the walk goes
on from the true position until it meets the lane's path. The result is therefore always that of the plain walk.

    words   |A....|B..|C.......|D...|E...|F..|G.....|H...
    lane 0   A ──▶ B ─▶ C ─────▶ D                             stops at lane 1's start
    lane 1                       D ─▶ E ─▶ F ▶ …
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.perf_data import abi

type_int64 = NDArray[np.int64]

_LANE_WORDS = 1024
_MAX_LANES = 1024
_WINDOW_WORDS = 512
_SCALAR_WORDS = 16 * _LANE_WORDS
_RESYNC_CHAIN = 4
_STEPS_PER_PAGE = 64
_REMEMBERED_RECORDS = 16 << 20
"""64 MB of record positions."""
_PAYLOAD_TYPES = (abi.RECORD["TRACING_DATA"], abi.RECORD["AUXTRACE"])


@dataclass(frozen=True, slots=True)
class Walk:
    """Outcome of a walk over a block of 8-byte words."""

    starts: type_int64
    """Word index of each whole record."""
    end: int
    """Word index behind the last whole record; may lie behind the block when a trace payload does."""
    is_damaged: bool
    """Whether the header at `end` is impossible (its record is not merely cut off by the end of the block)."""


class Block:
    """A run of records in memory as typed views: `u8`, `u16`, `u32` and `u64` over the same bytes, in the capture's
    byte order. `data` must be a multiple of 8 bytes long.
    """

    def __init__(self, data: NDArray[np.uint8], order: str) -> None:
        self.order = order
        self.u8 = data
        self.u16 = data.view(f"{order}u2")
        self.u32 = data.view(f"{order}u4")
        self.u64 = data.view(f"{order}u8")

    def take(self, words: type_int64) -> NDArray[np.uint64]:
        """The 64-bit words at these indices, in native order."""
        return self.u64.take(words).astype(np.uint64, copy=False)

    def headers(self, starts: type_int64) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Types and sizes (in bytes) of the records at `starts`, by one look at each header."""
        words = self.take(starts)
        if self.order == "<":
            return words & np.uint64(0xFFFFFFFF), words >> np.uint64(48)
        return words >> np.uint64(32), words & np.uint64(0xFFFF)

    def take32(self, halves: type_int64) -> NDArray[np.uint32]:
        """The 32-bit words at these indices (counted in 32-bit words), in native order."""
        return self.u32.take(halves).astype(np.uint32, copy=False)

    def types(self, starts: type_int64) -> NDArray[np.uint32]:
        """Record types."""
        return self.take32(starts * 2)

    def misc(self, starts: type_int64) -> NDArray[np.uint16]:
        """The `misc` bits of record headers."""
        return self.u16[starts * 4 + 2].astype(np.uint16, copy=False)

    def sizes(self, starts: type_int64) -> type_int64:
        """Record sizes in words, without a payload that follows the record."""
        return (self.u16[starts * 4 + 3] >> 3).astype(np.int64)


def walk(block: Block, first: int = 0) -> Walk:
    """Find all whole records of the block from word `first` on."""
    words = len(block.u64)
    if words - first < _SCALAR_WORDS:
        return _walk_scalar(block, first, words)
    lane_starts = _guess_starts(block, first)
    found = _stitch(block, lane_starts, *_walk_lanes(block, lane_starts))
    # The lanes look at sizes only. Headers that need a closer look are rare, and so is the block that has them.
    kinds, sizes = block.headers(found.starts)
    with_payload = (kinds == _PAYLOAD_TYPES[0]) | (kinds == _PAYLOAD_TYPES[1])
    if (sizes & np.uint64(7)).any() or not _is_record_type(kinds).all() or with_payload.any():
        return _walk_scalar(block, first, words)
    return found


def next_header(block: Block, first: int) -> int:
    """The first word at or after `first` where a chain of plausible headers begins; the block's end if none does."""
    words = len(block.u64)
    candidates = np.arange(first, words, dtype=np.int64)
    at = candidates
    is_proven = np.zeros(len(at), bool)
    inside = np.ones(len(at), bool)
    for hops in range(_RESYNC_CHAIN):
        was_inside, inside = inside, at < words
        ok = np.ones(len(at), bool)
        ok[inside] = _is_plausible(block, at[inside])
        # A chain that runs out of the block at once proves little, unless it meets the end exactly.
        is_proven |= (at == words) | (was_inside & ~inside & (hops > 1))
        candidates, at, is_proven, inside = candidates[ok], at[ok], is_proven[ok], inside[ok]
        at[inside] += block.sizes(at[inside])
    is_proven |= inside
    proven = candidates[is_proven]
    if len(proven):
        return int(proven[0])
    return int(candidates[0]) if len(candidates) else words


def _is_plausible(block: Block, at: type_int64) -> NDArray[np.bool_]:
    kinds, sizes = block.headers(at)
    plausible: NDArray[np.bool_] = _is_record_type(kinds) & (sizes >= 8) & (sizes & np.uint64(7) == 0)
    return plausible


def _is_record_type(kinds: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.bool_]:
    # Types that newer kernels and tools may add are let pass: what is behind them can be read all the same.
    return ((kinds >= 1) & (kinds < abi.RECORD_TYPE_LIMIT)) | (
        (kinds >= abi.SIMPLEPERF_RECORDS.start) & (kinds < abi.SIMPLEPERF_RECORDS.stop)
    )


def _payload_words(block: Block, at: int, kind: int) -> int:
    """Words of trace data behind a record that are not counted in its size: TRACING_DATA's are padded to 8 bytes,
    AUXTRACE's are 8-byte aligned as they are (tools/perf/util/auxtrace.c).
    """
    if at + 1 >= len(block.u64):
        return 0
    size = int(block.u32[at * 2 + 2]) if kind == abi.RECORD["TRACING_DATA"] else int(block.u64[at + 1])
    return min((size + 7) // 8, 1 << 48)


def _guess_starts(block: Block, first: int) -> type_int64:
    words = len(block.u64)
    lanes = min(_MAX_LANES, (words - first) // _LANE_WORDS)
    targets = first + (np.arange(1, lanes, dtype=np.int64) * (words - first)) // lanes
    starts = [np.array([first], np.int64)]
    # Most records are short: a look at a few words finds a header for most lanes, the others look further.
    for width in (_WINDOW_WORDS // 8, _WINDOW_WORDS):
        found, at = _first_headers(block, targets, width)
        starts.append(at)
        targets = targets[~found]
    return np.unique(np.concatenate(starts))


def _first_headers(block: Block, targets: type_int64, width: int) -> tuple[NDArray[np.bool_], type_int64]:
    """Whether a sample's header seems to stand within `width` words of each target, and where it does."""
    words = len(block.u64)
    window = targets[:, None] + np.arange(width, dtype=np.int64)[None, :]
    flat = np.minimum(window, words - 1).ravel()
    sample = (block.types(flat) == abi.RECORD["SAMPLE"]) & _is_plausible(block, flat)
    follow = np.minimum(flat + block.sizes(flat), words - 1)
    good = (sample & _is_plausible(block, follow)).reshape(window.shape)
    found = good.any(axis=1)
    return found, targets[found] + good[found].argmax(axis=1)


def _walk_lanes(block: Block, starts: type_int64) -> tuple[NDArray[np.int64], type_int64]:
    """Walk from all `starts` together, each until it reaches the next one's start, the block's end, or a record that
    is impossible or not whole.

    Returns:
        positions of shape (lanes, steps), ascending, -1 where a lane had stopped; where each lane stopped.
    """
    words = len(block.u64)
    limits = np.append(starts[1:], words)
    at = starts.copy()
    headers = np.empty(len(starts), block.u64.dtype)
    steps = np.empty(len(starts), np.uint64)
    # Big-endian headers read as one number have the size in the low 16 bits, little-endian ones in the high.
    shift, mask = (np.uint64(51), np.uint64(0x1FFF)) if block.order == "<" else (np.uint64(3), np.uint64(0x1FFF))
    rows: list[NDArray[np.int64]] = []
    while True:
        page = np.empty((_STEPS_PER_PAGE, len(starts)), np.int64)
        for row in page:
            row[:] = at
            np.take(block.u64, at, out=headers, mode="clip")
            np.right_shift(headers, shift, out=steps)
            np.bitwise_and(steps, mask, out=steps)
            steps *= at < limits
            at += steps.view(np.int64)
        rows.append(page)
        if not steps.any():
            break
    positions = np.concatenate(rows).T
    # A lane that has stopped repeats its last position; a record that is not whole ends beyond the block.
    moved = np.empty(positions.shape, bool)
    moved[:, :-1] = positions[:, 1:] > positions[:, :-1]
    moved[:, -1] = False
    whole = moved.copy()
    whole[:, :-1] &= positions[:, 1:] <= words
    cut = moved & ~whole
    ends = np.where(cut.any(axis=1), positions[np.arange(len(starts)), cut.argmax(axis=1)], at)
    return np.where(whole, positions, -1), ends


def _stitch(block: Block, starts: type_int64, positions: NDArray[np.int64], ends: type_int64) -> Walk:
    limits = np.append(starts[1:], len(block.u64))
    if (ends[:-1] == starts[1:]).all():
        return Walk(positions[positions >= 0], int(ends[-1]), _is_damaged(block, int(ends[-1])))
    parts: list[type_int64] = []
    at = int(starts[0])
    for lane, limit in enumerate(limits.tolist()):
        if at >= limit:
            continue
        path = positions[lane][positions[lane] >= 0]
        met = int(np.searchsorted(path, at))
        if met == len(path) or path[met] != at:
            # Off the lane's path: step on until it is met, or the lane's stretch is over.
            walked = _walk_scalar(block, at, limit, known=frozenset(path.tolist()))
            parts.append(walked.starts)
            at = walked.end
            if walked.is_damaged:
                return Walk(np.concatenate(parts), at, True)
            met = int(np.searchsorted(path, at))
        if met < len(path) and path[met] == at:
            parts.append(path[met:])
            at = int(ends[lane])
        if at < limit:
            break
    starts = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return Walk(starts, at, _is_damaged(block, at))


def _is_damaged(block: Block, at: int) -> bool:
    """Whether the record at which a walk stopped is impossible, and not merely cut off by the block's end."""
    return at < len(block.u64) and _walk_scalar(block, at, at + 1).is_damaged


def _walk_scalar(block: Block, first: int, limit: int, *, known: frozenset[int] = frozenset()) -> Walk:
    """The plain walk from `first`; stops at `limit`, at a position in `known`, or where a record is not whole."""
    words = len(block.u64)
    sizes, kinds = block.u16, block.u32
    starts: list[int] = []
    at = first
    while at < limit and at not in known:
        size, kind = int(sizes[at * 4 + 3]), int(kinds[at * 2])
        if size < 8 or size & 7 or not (1 <= kind < abi.RECORD_TYPE_LIMIT or kind in abi.SIMPLEPERF_RECORDS):
            return Walk(np.array(starts, np.int64), at, True)
        if at + (size >> 3) > words:
            break
        starts.append(at)
        at += (size >> 3) + (_payload_words(block, at, kind) if kind in _PAYLOAD_TYPES else 0)
    return Walk(np.array(starts, np.int64), at, False)


class WalkMemory:
    """Remembers the walks of a first pass over a file, so that a second one need not walk again. What does not fit
    is walked again.
    """

    def __init__(self) -> None:
        self._walks: list[tuple[NDArray[np.int32], int, bool]] = []
        self._room = _REMEMBERED_RECORDS
        self._next: int | None = None

    def walk(self, block: Block) -> Walk:
        """Walk the next block of the pass."""
        if self._next is not None and self._next < len(self._walks):
            starts, end, is_damaged = self._walks[self._next]
            self._next += 1
            return Walk(starts.astype(np.int64), end, is_damaged)
        found = walk(block)
        if self._next is None and self._room > len(found.starts):
            self._room -= len(found.starts)
            self._walks.append((found.starts.astype(np.int32), found.end, found.is_damaged))
        elif self._next is None:
            self._room = 0
        return found

    def rewind(self) -> None:
        """The same pass begins again."""
        self._next = 0
