"""Whole columns instead of one object a record: the kit that binary decoders share.

A capture's bytes are viewed as words, and a field is gathered for all records at once. "Ragged" data (callchains,
strings) are pairs of `starts` and `lengths` into one flat array.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

type_int64 = NDArray[np.int64]
type_uint64 = NDArray[np.uint64]

_PIECE = 1 << 15
"""Keys looked up at a time: what is computed for them stays in the cache."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads consecutive keys over the whole range

_FACTORS = tuple(
    np.uint64(factor)
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
)


def ragged_indices(starts: type_int64, lengths: type_int64) -> type_int64:
    """Indices of all elements of the ragged rows, row after row: `starts[0], starts[0] + 1, …, starts[1], …`."""
    total = int(lengths.sum())
    if not total:
        return np.empty(0, np.int64)
    ends = np.cumsum(lengths)
    out: type_int64 = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return out


def gather_strings(data: NDArray[np.uint8], starts: type_int64, limits: type_int64) -> pa.StringArray:
    """NUL-terminated strings at `starts`, none reaching past its `limits`. Bytes that are no UTF-8 are replaced."""
    pieces = [data[start:limit].tobytes() for start, limit in zip(starts.tolist(), limits.tolist(), strict=True)]
    return pa.array([piece.split(b"\0", 1)[0].decode("utf-8", "replace") for piece in pieces], pa.string())


class KeyIndex:
    """Gives each distinct 64-bit key a dense id in the order of first appearance: a hash set in numpy.

    Open addressing with linear probing over whole arrays of keys; the table doubles before it is two thirds full.
    """

    def __init__(self) -> None:
        self._count = 0
        self._bits = 12
        self._allocate()

    def __len__(self) -> int:
        return self._count

    def intern(self, keys: type_uint64) -> tuple[NDArray[np.int32], type_int64]:
        """Ids of `keys` (int32, same length), and the positions in `keys` at which new ids first appear, in the order
        of these ids.
        """
        ids = np.empty(len(keys), np.int32)
        firsts = [np.empty(0, np.int64)]
        for begin in range(0, len(keys), _PIECE):
            piece = keys[begin : begin + _PIECE]
            ids[begin : begin + _PIECE], first = self._intern_piece(piece)
            if len(first):
                firsts.append(first + begin)
        return ids, np.concatenate(firsts)

    def _intern_piece(self, keys: type_uint64) -> tuple[NDArray[np.int32], type_int64]:
        while (self._count + len(keys)) * 3 > len(self._keys) * 2:
            self._grow()
        slots = self._find_slots(keys)
        ids = self._ids.take(slots)
        unseen = np.flatnonzero(ids < 0)
        if not len(unseen):
            return ids, unseen
        # Each new slot takes the last of the positions written to it; written backwards, that is the first of them.
        at = slots[unseen]
        self._ids[at[::-1]] = unseen[::-1]
        firsts = unseen[self._ids[at] == unseen]
        self._ids[slots[firsts]] = np.arange(self._count, self._count + len(firsts), dtype=np.int32)
        self._count += len(firsts)
        ids[unseen] = self._ids[at]
        return ids, firsts

    def _allocate(self) -> None:
        self._keys: type_uint64 = np.zeros(1 << self._bits, np.uint64)
        self._ids: NDArray[np.int32] = np.full(1 << self._bits, -1, np.int32)

    def _grow(self) -> None:
        old_keys, old_ids = self._keys, self._ids
        self._bits += 1
        self._allocate()
        for begin in range(0, len(old_keys), _PIECE):
            ids = old_ids[begin : begin + _PIECE]
            used = np.flatnonzero(ids >= 0)
            # The stored keys are already off by one from the caller's (see `_find_slots`).
            keys = old_keys[begin : begin + _PIECE][used] - np.uint64(1)
            self._ids[self._find_slots(keys)] = ids[used]

    def _find_slots(self, keys: type_uint64) -> type_int64:
        """The slot of each key; free slots are taken. 0 marks a free slot, so keys are stored plus one; the key
        2**64 - 1 thereby shares the mark and is folded onto its neighbour, which no caller produces.
        """
        stored = keys + np.uint64(1)
        stored[stored == 0] = np.uint64(0xFFFFFFFFFFFFFFFF)
        slots = ((stored * _MULTIPLIER) >> np.uint64(64 - self._bits)).view(np.int64)
        pending = np.flatnonzero(self._keys.take(slots) != stored)
        mask = np.int64((1 << self._bits) - 1)
        while len(pending):
            at, wanted = slots[pending], stored[pending]
            free = self._keys[at] == 0
            # Several keys may want one free slot: the last write wins, and the others see that they lost.
            self._keys[at[free]] = wanted[free]
            pending = pending[self._keys[at] != wanted]
            slots[pending] = (slots[pending] + 1) & mask
        return slots


def combine(*parts: NDArray[np.generic]) -> type_uint64:
    """One 64-bit key for each row of several columns: a sum of the columns, each times an odd constant of its own, so
    that rows that differ get equal keys as rarely as random numbers would.
    """
    key = parts[0].astype(np.uint64) * _FACTORS[0]
    for part, factor in zip(parts[1:], _FACTORS[1:], strict=False):
        key += part.astype(np.uint64) * factor
    return key
