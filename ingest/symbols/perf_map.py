"""Perf maps: what a run-time compiler says of the code it made, `/tmp/perf-PID.map`.

    7f3c1c0a5e00 1c0 Lcom/example/Main;::hot(I)J        start and size in hex, then the name to the end of the line

Described in tools/perf/Documentation/jit-interface.txt. Code is thrown away and its place used again; a later line
therefore hides what it overlaps of earlier ones. perf itself leaves the choice to the shape of its search tree.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from perfkit.ingest.symbols.table import STB_GLOBAL, U64, NameSource, Symbols, SymbolTable
from perfkit.ingest.symbols.text import Positions, first_after, hexadecimal, lines


def parse_perf_map(content: bytes) -> tuple[SymbolTable, int]:
    """The symbols by absolute address, and how many lines could not be read."""
    text = np.frombuffer(content, np.uint8)
    starts, ends = lines(text)
    spaces = np.flatnonzero(text == ord(" "))
    first = first_after(spaces, starts, ends)
    second = first_after(spaces, np.minimum(first + 1, ends), ends)
    start, has_start = hexadecimal(text, _without_prefix(text, starts, first), first)
    size, has_size = hexadecimal(text, _without_prefix(text, np.minimum(first + 1, second), second), second)
    valid = has_start & has_size & (second + 1 < ends)
    damaged = int(np.count_nonzero(~valid & (ends > starts)))
    rows = np.flatnonzero(valid & (size > 0))
    start, size, name = start[rows], size[rows], second[rows] + 1
    end = np.where(start + size < start, np.uint64(2**64 - 1), start + size)
    piece_start, piece_end, owner = _paint(start, end)
    symbols = Symbols(
        piece_start,
        piece_end - piece_start,
        name[owner],
        np.zeros(len(owner), np.uint8),
        np.full(len(owner), STB_GLOBAL, np.uint8),
    )
    names = content.replace(b"\r\n", b"\n\n").replace(b"\n", b"\0")
    return SymbolTable(symbols, [NameSource(names, 0, len(names))]), damaged


def _without_prefix(text: NDArray[np.uint8], starts: Positions, ends: Positions) -> Positions:
    """Skip `0x`, which some compilers write."""
    long = ends - starts > 2
    at = np.where(long, starts, 0)
    has = long & (text[at] == ord("0")) & (text[at + long] == ord("x")) if len(text) else long
    return starts + 2 * has


def _paint(start: U64, end: U64) -> tuple[U64, U64, NDArray[np.int64]]:
    """Cut intervals into pieces that do not overlap; the last interval to cover a piece owns it."""
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    overlaps = np.zeros(len(start), bool)
    if len(start):
        overlaps[1:] = start[1:] < np.maximum.accumulate(end)[:-1]
    # A run of intervals that touch each other begins where one does not overlap those before it.
    alone = ~overlaps
    alone[:-1] &= ~overlaps[1:]
    pieces = _sweep(start[~alone].tolist(), end[~alone].tolist(), order[~alone].tolist())
    rows = np.array(pieces, np.uint64).reshape(-1, 3)
    return (
        np.concatenate([start[alone], rows[:, 0]]),
        np.concatenate([end[alone], rows[:, 1]]),
        np.concatenate([order[alone], rows[:, 2].astype(np.int64)]),
    )


def _sweep(starts: list[int], ends: list[int], owners: list[int]) -> list[tuple[int, int, int]]:
    """Walk over the intervals by start, the newest open one on top of a heap."""
    pieces: list[tuple[int, int, int]] = []
    heap: list[tuple[int, int]] = []  # (-owner, end)
    at = 0

    def emit(until: int) -> int:
        position = at
        while heap and position < until:
            owner, end = heap[0]
            if end <= position:
                heapq.heappop(heap)
                continue
            stop = min(end, until)
            if pieces and pieces[-1][2] == -owner and pieces[-1][1] == position:
                pieces[-1] = (pieces[-1][0], stop, -owner)
            else:
                pieces.append((position, stop, -owner))
            position = stop
        return until

    for start, end, owner in zip(starts, ends, owners, strict=True):
        at = emit(start)
        heapq.heappush(heap, (-owner, end))
    emit(1 << 64)
    return pieces
