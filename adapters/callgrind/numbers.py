"""Numbers of cost lines, parsed whole columns at a time: `+12 * 41 0 3` for two positions and three events.

A token of up to eight digits is one 64-bit word of text, and eight digits become a number in three steps, each of
which joins neighbours: 8 digits, 4 pairs, 2 fours. Longer tokens are put together from such pieces.

Costs are counters of 64 bits that may be left out at the end of a line, where they are zero. Differences of profiles
(cg_diff) have negative ones; cachegrind may write `.` for none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.callgrind.lines import COST, Lines

type_int64 = NDArray[np.int64]
type_uint64 = NDArray[np.uint64]
type_bool = NDArray[np.bool_]

_UNUSED_BITS = np.array([56, 56, 48, 40, 32, 24, 16, 8, 0], np.uint64)  # by number of digits
_STEPS = (
    (np.uint64(10), np.uint64(8), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(100), np.uint64(16), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(10000), np.uint64(32), np.uint64(0x00000000FFFFFFFF)),
)
_MAX_COST = np.uint64((1 << 63) - 1)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Tokens as magnitudes; `mark` is the byte of a leading `+`, `-` or `*`, else 0."""

    value: type_uint64
    mark: NDArray[np.uint8]
    is_bad: type_bool


@dataclass(frozen=True, slots=True)
class CostLines:
    """Cost lines in order. `positions` has a row a subposition, still as written; `costs` a row an event."""

    positions: list[Numbers]
    costs: type_int64
    """int64 [events, lines]"""
    bad_lines: type_int64
    """lines with a token that is no number, too few positions or too many costs; what could be read of them is kept"""


def parse_cost_lines(lines: Lines, position_count: int, event_count: int) -> CostLines:
    """All lines of kind COST, in order."""
    rows = np.flatnonzero(lines.kinds == COST)
    tokens = _find_tokens(lines, rows)
    is_bad = (tokens.counts < position_count) | (tokens.counts > position_count + event_count)
    positions = []
    for column in range(position_count):
        numbers, at = tokens.column(lines, column)
        is_bad[at] |= numbers.is_bad
        positions.append(_spread(numbers, at, len(rows)))
    costs = np.zeros((event_count, len(rows)), np.int64)
    for event in range(event_count):
        numbers, at = tokens.column(lines, position_count + event)
        is_bad[at] |= numbers.is_bad
        value = np.minimum(numbers.value, _MAX_COST).view(np.int64)
        costs[event, at] = np.where(numbers.mark == ord("-"), -value, value) if numbers.mark.any() else value
    return CostLines(positions, costs, rows[is_bad])


def resolve(position: Numbers, before: int) -> type_uint64:
    """Absolute subpositions: `+n` and `-n` are relative to the line before, `*` repeats it; `before` is the last one
    of what came earlier.
    """
    is_absolute = position.mark == 0
    delta = np.where(position.mark == ord("-"), np.negative(position.value), position.value)
    delta[is_absolute | (position.mark == ord("*"))] = 0
    moved = np.cumsum(delta, dtype=np.uint64)
    last = np.maximum.accumulate(np.where(is_absolute, np.arange(1, len(delta) + 1), 0))
    base = np.empty(len(delta) + 1, np.uint64)
    base[0] = before
    base[1:] = position.value - moved
    result: type_uint64 = moved + base[last]
    return result


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What stands between blanks in some lines: positions in `data`; each line's first token, and how many it has."""

    starts: type_int64
    ends: type_int64
    firsts: type_int64
    counts: type_int64

    def column(self, lines: Lines, rank: int) -> tuple[Numbers, type_int64 | slice]:
        """The numbers of this rank, and which lines have one."""
        has_one = self.counts > rank
        if has_one.all():
            at = self.firsts + rank
            return parse_numbers(lines, self.starts[at], self.ends[at]), slice(None)
        chosen = np.flatnonzero(has_one)
        at = self.firsts[chosen] + rank
        return parse_numbers(lines, self.starts[at], self.ends[at]), chosen


def _find_tokens(lines: Lines, rows: type_int64) -> _Tokens:
    first, past = int(lines.starts[rows[0]]), int(lines.ends[rows[-1]]) + 1
    is_text = lines.data[first - 1 : past] > ord(" ")
    is_text[0] = False
    edges = np.flatnonzero(is_text[1:] != is_text[:-1]) + first  # a text's start, its end, the next one's start …
    starts, ends = edges[::2], edges[1::2]
    firsts = np.searchsorted(starts, lines.starts[rows])
    return _Tokens(starts, ends, firsts, np.searchsorted(starts, lines.ends[rows]) - firsts)


def _spread(numbers: Numbers, at: type_int64 | slice, count: int) -> Numbers:
    """Numbers for all lines; a subposition that is missing stays what it was, as `*` would say."""
    if isinstance(at, slice):
        return numbers
    value, mark = np.zeros(count, np.uint64), np.full(count, ord("*"), np.uint8)
    value[at], mark[at] = numbers.value, numbers.mark
    return Numbers(value, mark, np.zeros(count, bool))


def parse_numbers(lines: Lines, starts: type_int64, ends: type_int64) -> Numbers:
    """Tokens of digits, `0x` and hex digits, either after a sign, or `*`; `.` counts as zero."""
    head = lines.data[starts]
    is_marked = head < ord("0")  # `+`, `-`, `*` and `.` do, among what numbers may begin with
    if is_marked.any():
        is_sign = (head == ord("+")) | (head == ord("-"))
        is_star = head == ord("*")
        mark = np.where(is_sign | is_star, head, np.uint8(0))
        begin = starts + is_sign
    else:
        is_star, mark, begin = is_marked, np.zeros(len(starts), np.uint8), starts
    value, is_bad = _parse_digits(lines.words(), begin, ends)
    odd = np.flatnonzero(is_bad)  # so few that each may be looked at, but for files whose addresses are all absolute
    if len(odd):
        is_hex = (lines.data[begin[odd]] == ord("0")) & (lines.data[begin[odd] + 1] | 32 == ord("x"))
        at = odd[is_hex]
        value[at], is_bad[at] = _parse_hex(lines.data, begin[at] + 2, ends[at])
        is_none = (ends[odd] - starts[odd] == 1) & (is_star[odd] | (head[odd] == ord(".")))
        is_bad[odd[is_none]] = False
        value[odd[is_none | is_bad[odd]]] = 0
    return Numbers(value, mark, is_bad)


def _parse_digits(words: type_uint64, begin: type_int64, ends: type_int64) -> tuple[type_uint64, type_bool]:
    lengths = ends - begin
    value, is_bad = _eight_digits(words[ends - 8], lengths)
    is_odd = (lengths > 8) | (lengths < 1)
    if not is_odd.any():
        return value, is_bad
    is_bad |= (lengths > 20) | (lengths < 1)
    for done, scale in ((8, 10**8), (16, 10**16)):
        long = np.flatnonzero((lengths > done) & (lengths <= 20))
        more, is_wrong = _eight_digits(words[ends[long] - done - 8], lengths[long] - done)
        value[long] += more * np.uint64(scale)
        is_bad[long] |= is_wrong
    return value, is_bad


def _eight_digits(text: type_uint64, lengths: type_int64) -> tuple[type_uint64, type_bool]:
    """Numbers whose last digit is the highest byte of `text`, and whether they are none; `lengths` says how many
    bytes are theirs, 1 to 8 (others count as the nearest).
    """
    unused = _UNUSED_BITS[np.clip(lengths, 0, 8)]
    # The digits' bytes are 0x30 to 0x39; those that belong to what stands before become zeros.
    digits = text ^ np.uint64(0x3030303030303030)
    digits >>= unused
    digits <<= unused
    bad = digits + np.uint64(0x7676767676767676)  # carries into the top bit of a byte that is more than 9
    bad |= digits
    bad &= np.uint64(0x8080808080808080)
    # Two digits, then four, then eight in a lane of the word.
    for factor, shift, lanes in _STEPS:
        low = digits >> shift
        digits *= factor
        digits += low
        digits &= lanes
    return digits, bad != 0


def _parse_hex(data: NDArray[np.uint8], begin: type_int64, ends: type_int64) -> tuple[type_uint64, type_bool]:
    lengths = ends - begin
    value = np.zeros(len(begin), np.uint64)
    is_bad = (lengths < 1) | (lengths > 16)
    nibble = np.full(256, 255, np.uint8)
    nibble[list(b"0123456789")] = range(10)
    nibble[list(b"abcdef")] = nibble[list(b"ABCDEF")] = range(10, 16)
    for place in range(int(np.minimum(lengths, 16).max(initial=0))):
        at = np.flatnonzero(lengths > place)
        digit = nibble[data[begin[at] + place]]
        is_bad[at] |= digit > 15
        value[at] = value[at] << np.uint64(4) | digit
    return value, is_bad
