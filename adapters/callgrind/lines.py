"""The lines of a block of callgrind text, told apart by their first bytes, all at once:

fl=(3) main.c      FILE
fn=(7) main        FUNCTION
+12 +3 41          COST
cob= cfi= cfn=     CALLED_OBJECT, CALLED_FILE, CALLED_FUNCTION
calls=1 0x4010 52  CALLS        the next cost line is the cost of the calls
jcnd=3/9 +8 +1     JUMP         the next cost line only says where it jumps from
events: Ir Dr      OTHER        header lines, and what nobody knows
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.text import Block

type_int64 = NDArray[np.int64]

PAD = 8
"""Bytes of padding before and after the text, so that eight bytes can be read around any of its own."""

SKIP, COST, OBJECT, FILE, INLINED_FILE, FUNCTION = range(6)
CALLED_OBJECT, CALLED_FILE, CALLED_FUNCTION, JUMP_FILE, JUMP_FUNCTION = range(6, 11)
CALLS, JUMP, OTHER = range(11, 14)

_PREFIXES = {
    b"ob=": OBJECT,
    b"fl=": FILE,
    b"fi=": INLINED_FILE,
    b"fe=": INLINED_FILE,
    b"fn=": FUNCTION,
    b"cob=": CALLED_OBJECT,
    b"cfi=": CALLED_FILE,
    b"cfl=": CALLED_FILE,
    b"cfn=": CALLED_FUNCTION,
    b"jfi=": JUMP_FILE,
    b"jfn=": JUMP_FUNCTION,
    b"calls=": CALLS,
    b"rcalls=": CALLS,  # calltree, callgrind's ancestor, marked recursive calls so
    b"jump=": JUMP,
    b"jcnd=": JUMP,
}
_COST_BEGINS = b"0123456789+-*"
_NEWLINE = 10


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a block. `starts` and `ends` (of the line feed) index `data`, the block's text between paddings."""

    block: Block
    data: NDArray[np.uint8]
    starts: type_int64
    ends: type_int64
    kinds: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, index: int) -> bytes:
        """A line without blanks around it."""
        return self.data[self.starts[index] : self.ends[index]].tobytes().strip()

    def texts(self, starts: type_int64, rows: type_int64) -> list[bytes]:
        """What stands between `starts` and the ends of the lines `rows`, without blanks around it."""
        text = self.block.data
        return [
            text[begin:end].strip()
            for begin, end in zip((starts - PAD).tolist(), (self.ends[rows] - PAD).tolist(), strict=True)
        ]

    def offset(self, index: int) -> int:
        """Where a line begins in the input."""
        return self.block.offset_of(int(self.starts[index]) - PAD)

    def between(self, begin: int, end: int) -> Lines:
        """The lines `begin` to `end`, without the latter."""
        piece = slice(begin, end)
        return Lines(self.block, self.data, self.starts[piece], self.ends[piece], self.kinds[piece])

    def words(self) -> NDArray[np.uint64]:
        """The eight bytes that begin at each position of `data`, as a little-endian number."""
        return np.ndarray((len(self.data) - 7,), np.dtype("<u8"), buffer=self.data.data, strides=(1,))


def split_lines(block: Block) -> Lines:
    """The lines of a block, each of its kind. Blanks before a line are passed over."""
    data = np.frombuffer(bytes(PAD) + block.data + bytes(PAD), np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    starts = np.empty_like(ends)
    starts[:1] = PAD
    starts[1:] = ends[:-1] + 1
    starts = skip_blanks(data, starts, ends)
    lines = Lines(block, data, starts, ends, np.zeros(len(starts), np.uint8))
    _classify(lines)
    return lines


def skip_blanks(data: NDArray[np.uint8], at: type_int64, limits: type_int64) -> type_int64:
    """The first positions from `at` on that hold no blank, or the limits."""
    at = at.copy()
    blank = np.flatnonzero(_is_blank(data[at]) & (at < limits))
    while len(blank):
        at[blank] += 1
        blank = blank[_is_blank(data[at[blank]]) & (at[blank] < limits[blank])]
    return at


def _is_blank(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    is_blank: NDArray[np.bool_] = (values == ord(" ")) | (values == ord("\t"))
    return is_blank


def _classify(lines: Lines) -> None:
    by_byte = np.full(256, OTHER, np.uint8)
    by_byte[list(_COST_BEGINS)] = COST
    by_byte[[_NEWLINE, ord("#")]] = SKIP
    kinds = by_byte[lines.data[lines.starts]]
    undecided = np.flatnonzero(kinds == OTHER)
    heads = lines.words()[lines.starts[undecided]]
    for prefix, kind in _PREFIXES.items():
        mask = np.uint64((1 << 8 * len(prefix)) - 1)
        kinds[undecided[heads & mask == np.uint64(int.from_bytes(prefix, "little"))]] = kind
    lines.kinds[:] = kinds
