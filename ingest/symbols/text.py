"""Whole columns out of texts that hold an address a line (/proc/kallsyms, perf maps), without a loop over lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Positions = NDArray[np.int64]

_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[np.frombuffer(b"0123456789", np.uint8)] = np.arange(10)
_DIGITS[np.frombuffer(b"abcdef", np.uint8)] = np.arange(10, 16)
_DIGITS[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)

_BLOCK = 1 << 16


def lines(text: NDArray[np.uint8]) -> tuple[Positions, Positions]:
    """Where each line begins, and where it ends (its newline, or the end of the text)."""
    ends = np.flatnonzero(text == ord("\n"))
    if len(text) and (not len(ends) or ends[-1] != len(text) - 1):
        ends = np.append(ends, len(text))
    starts = np.zeros(len(ends), np.int64)
    starts[1:] = ends[:-1] + 1
    return starts, ends


def first_after(positions: Positions, starts: Positions, ends: Positions) -> Positions:
    """For each range, the first of the sorted `positions` in it; the range's end where none is."""
    padded = np.append(positions, np.iinfo(np.int64).max)
    found: Positions = np.minimum(padded[np.searchsorted(positions, starts)], ends)
    return found


def hexadecimal(text: NDArray[np.uint8], starts: Positions, ends: Positions) -> tuple[U64, NDArray[np.bool_]]:
    """The numbers in the ranges `starts:ends` of the text, and whether each is one (1 to 16 hex digits)."""
    values = np.zeros(len(starts), np.uint64)
    valid = (ends > starts) & (ends - starts <= 16)
    for block in range(0, len(starts), _BLOCK):
        rows = slice(block, block + _BLOCK)
        values[rows], valid[rows] = _hex_block(text, starts[rows], ends[rows], valid[rows])
    return values, valid


def _hex_block(
    text: NDArray[np.uint8], starts: Positions, ends: Positions, valid: NDArray[np.bool_]
) -> tuple[U64, NDArray[np.bool_]]:
    width = int((ends - starts)[valid].max(initial=0))
    value = np.zeros(len(starts), np.uint64)
    for column in range(width, 0, -1):
        at = ends - column
        inside = valid & (at >= starts)
        digit = _DIGITS[text[np.where(inside, at, 0)]]
        valid = valid & ~(inside & (digit == 255))
        value = (value << np.uint64(4)) | np.where(inside, digit, 0).astype(np.uint64)
    return value, valid


def gather(text: NDArray[np.uint8], starts: Positions, ends: Positions) -> NDArray[Any]:
    """The ranges as one array of fixed-width byte strings, padded with NUL."""
    width = int((ends - starts).max(initial=1))
    column = np.arange(width)
    at = starts[:, None] + column
    inside = at < ends[:, None]
    content = np.where(inside, text[np.where(inside, at, 0)], 0).astype(np.uint8)
    return np.ascontiguousarray(content).view(f"S{width}")[:, 0]
