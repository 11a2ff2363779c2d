"""A symbol table that looks up whole columns of addresses, and reads the names of hit symbols only.

    groups         ├────0─────┤    ├─1─┤
    addresses        │      │     │   │
    find             0      0    -1   1

A group is all symbols with the same start. An address past the end of the group that begins before it belongs to a
wider group, if one reaches so far.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2

MAX_NAME = 16 * 1024
"""Longest symbol name that is kept, in bytes; mangled C++ names of real programs stay below it."""


class NameSource(NamedTuple):
    """Where names lie: NUL-terminated in `data[base:limit]`, each followed by `suffix` when it is read."""

    data: bytes | mmap.mmap
    base: int
    limit: int
    suffix: str = ""

    def read(self, at: int) -> str:
        """The name that begins `at` bytes after the base."""
        return self.read_all([at])[0]

    def read_all(self, offsets: list[int]) -> list[str]:
        """The names that begin there."""
        data, find, base, limit, suffix = self.data, self.data.find, self.base, self.limit, self.suffix
        ends = [find(b"\0", base + at, min(base + at + MAX_NAME, limit)) for at in offsets]
        names = [data[base + at : end].decode("utf-8", "replace") for at, end in zip(offsets, ends, strict=True)]
        if -1 in ends:  # a name that its table cuts off, or a longer one than any real one
            for row, (at, end) in enumerate(zip(offsets, ends, strict=True)):
                if end < 0:
                    names[row] = data[base + at : min(base + at + MAX_NAME, limit)].decode("utf-8", "replace")
        return [name + suffix for name in names] if suffix else names


class Symbols(NamedTuple):
    """Symbols in any order, as columns of one length: `start` address, `size` in bytes (0 where unknown), `name` as an
    offset in `sources[source]`, ELF `binding`.
    """

    start: U64
    size: U64
    name: NDArray[np.int64]
    source: NDArray[np.uint8]
    binding: NDArray[np.uint8]

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Symbols:
        """The chosen rows."""
        start, size, name, source, binding = self
        return Symbols(start[chosen], size[chosen], name[chosen], source[chosen], binding[chosen])

    @staticmethod
    def concatenate(parts: Sequence[Symbols]) -> Symbols:
        """All rows of several, in order."""
        return Symbols(
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.size for part in parts]),
            np.concatenate([part.name for part in parts]),
            np.concatenate([part.source for part in parts]),
            np.concatenate([part.binding for part in parts]),
        )


class SymbolTable:
    """Symbols sorted by address. Aliases (symbols of one start) form a group, which `names` calls by the name perf
    would choose (`choose_best_symbol` in tools/perf/util/symbol.c).
    """

    def __init__(self, symbols: Symbols, sources: Sequence[NameSource]) -> None:
        symbols = symbols.take(np.argsort(symbols.start, kind="stable"))
        self._symbols = symbols
        self._sources = tuple(sources)
        is_first = np.ones(len(symbols.start), bool)
        is_first[1:] = symbols.start[1:] != symbols.start[:-1]
        first = np.flatnonzero(is_first)
        self._first = np.append(first, len(symbols.start))
        self.start: U64 = symbols.start[first]
        self.end: U64 = np.maximum.reduceat(_ends(symbols), first) if len(first) else symbols.start[:0]
        reach = np.maximum.accumulate(self.end)
        # The group that reaches farthest among those up to each: where a nested symbol ended, it goes on.
        farthest = np.where(self.end == reach, np.arange(len(first)), 0)
        self._widest = np.maximum.accumulate(farthest)

    def __len__(self) -> int:
        """How many distinct starts it knows."""
        return len(self.start)

    def find(self, addresses: U64) -> NDArray[np.int64]:
        """The group that holds each address; -1 where none does."""
        if not len(self.start):
            return np.full(len(addresses), -1)
        index = np.searchsorted(self.start, addresses, side="right").astype(np.int64) - 1
        row = np.maximum(index, 0)
        row = np.where(addresses < self.end[row], row, self._widest[row])
        return np.where((index >= 0) & (addresses < self.end[row]), row, -1)

    def names(self, groups: NDArray[np.int64]) -> list[str]:
        """The name of each group."""
        first, last = self._first[groups], self._first[groups + 1]
        names = [""] * len(groups)
        offsets, source = self._symbols.name[first], self._symbols.source[first]
        for index, names_at in enumerate(self._sources):
            rows = np.flatnonzero((source == index) & (last - first == 1))
            found = names_at.read_all(offsets[rows].tolist())
            for row, name in zip(rows.tolist(), found, strict=True):
                names[row] = name
        for row in np.flatnonzero(last - first > 1).tolist():
            names[row] = self._best_name(int(first[row]), int(last[row]))
        return names

    def moved(self, delta: int) -> SymbolTable:
        """The same symbols, `delta` higher."""
        if not delta:
            return self
        start = self._symbols.start + np.uint64(delta % 2**64)
        return SymbolTable(self._symbols._replace(start=start), self._sources)

    def _best_name(self, first: int, last: int) -> str:
        rows = {self._name(row): row for row in range(last - 1, first - 1, -1)}
        names = reversed(rows)  # as they stand in the file
        best: str = max(names, key=lambda name: self._rank(name, rows[name]))
        return best

    def _name(self, row: int) -> str:
        return self._sources[int(self._symbols.source[row])].read(int(self._symbols.name[row]))

    def _rank(self, name: str, row: int) -> tuple[bool, bool, bool, int, int, bool]:
        """How much perf would like to call the group by this alias; of equals it keeps the first."""
        binding = self._symbols.binding[row]
        underscores = len(name) - len(name.lstrip("_"))
        return (
            bool(self._symbols.size[row]),
            binding != STB_WEAK,
            binding == STB_GLOBAL,
            -underscores,
            len(name),
            not name.startswith(("SyS", "compat_SyS")),
        )


def _ends(symbols: Symbols) -> U64:
    ends: U64 = symbols.start + symbols.size
    return np.where(ends < symbols.start, np.uint64(2**64 - 1), ends)


NO_SYMBOLS = Symbols(
    np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint8)
)
EMPTY = SymbolTable(NO_SYMBOLS, ())
