"""The kernel's own list of its symbols, /proc/kallsyms, as a symbol table.

    ffffffff81000000 T _text
    ffffffffc0a01000 t ext4_sync_fs<TAB>[ext4]         a module's symbols carry its name

Sizes are not given: a symbol reaches to the next one, as `symbols__fixup_end` in tools/perf/util/symbol.c has it. Of
several at one address the last is kept, which is what perf comes to as well. Code that is made at run time (`[bpf]`,
`[__builtin__ftrace]` …) is left out: it comes and goes, and captures record it themselves (PERF_RECORD_KSYMBOL).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from perfkit.ingest.symbols.table import STB_GLOBAL, U64, NameSource, Symbols, SymbolTable
from perfkit.ingest.symbols.text import Positions, first_after, gather, hexadecimal, lines

REFERENCES = ("_text", "_stext")
"""Symbols that tell where the kernel was put at boot (perf's `ref_reloc_sym`)."""

_CODE = np.frombuffer(b"tTwW", np.uint8)
_BOUNDS = np.frombuffer(b"tTwWdDbB", np.uint8)
_TO_NUL = bytes(0 if byte in b"\t\n" else byte for byte in range(256))
_PAGE = np.uint64(4096)
_MAX_MODULE = 64  # MODULE_NAME_LEN in include/linux/module.h


@dataclass(frozen=True)
class Kallsyms:
    """The code symbols of a kernel as columns sorted by `start` (absolute), `name` an offset in the NUL-terminated
    `names`. `is_module` marks those of loadable modules. `references` are the addresses of `REFERENCES`, in order,
    0 where one is missing. `is_hidden`: the kernel showed no addresses. `damaged` counts unreadable lines.
    """

    start: U64
    size: U64
    name: NDArray[np.int64]
    is_module: NDArray[np.bool_]
    names: NDArray[np.uint8]
    references: U64
    is_hidden: bool = False
    damaged: int = 0

    def table(self, delta: int = 0) -> SymbolTable:
        """The symbols by absolute address. `delta` is how much higher the kernel lay when the capture was taken; other
        than 0 it was another boot, whose modules lay anywhere, so that theirs are left out.
        """
        rows = ~self.is_module if delta else np.ones(len(self.start), bool)
        count = np.count_nonzero(rows)
        symbols = Symbols(
            self.start[rows] + np.uint64(delta % 2**64),
            self.size[rows],
            self.name[rows],
            np.zeros(count, np.uint8),
            np.full(count, STB_GLOBAL, np.uint8),
        )
        return SymbolTable(symbols, [NameSource(self._names, 0, len(self._names))])

    @cached_property
    def _names(self) -> bytes:
        return self.names.tobytes()

    def save(self) -> bytes:
        """As a .npz file's content."""
        out = io.BytesIO()
        np.savez(
            out,
            start=self.start,
            size=self.size,
            name=self.name,
            is_module=self.is_module,
            names=self.names,
            references=self.references,
        )
        return out.getvalue()

    @classmethod
    def load(cls, content: bytes) -> Self:
        """What `save` made.

        Raises:
            ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile: it is damaged.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as columns:
            start, name, names = columns["start"], columns["name"], columns["names"]
            loaded = cls(start, columns["size"], name, columns["is_module"], names, columns["references"])
        lengths = {len(loaded.start), len(loaded.size), len(loaded.name), len(loaded.is_module)}
        if len(lengths) > 1 or (len(name) and int(name.max()) >= len(names)):
            raise ValueError("columns of different lengths")
        return loaded


def parse_kallsyms(content: bytes) -> Kallsyms:
    """Read a kallsyms file; lines that are none are counted in `damaged`."""
    text = np.frombuffer(content, np.uint8)
    starts, ends = lines(text)
    first = first_after(np.flatnonzero(text == ord(" ")), starts, ends)
    address, valid = hexadecimal(text, starts, first)
    valid &= first + 3 < ends
    kind = text[np.where(valid, first + 1, 0)] if len(text) else text
    rows = np.flatnonzero(valid & np.isin(kind, _BOUNDS))
    is_hidden = len(rows) > 0 and not address[rows].any()
    rows = rows[np.argsort(address[rows], kind="stable")]
    start, name, kind = address[rows], first[rows] + 3, kind[rows]
    name_end = first_after(np.flatnonzero(text == ord("\t")), name, ends[rows])
    module, is_made = _modules(text, name_end, ends[rows])
    keep = np.isin(kind, _CODE) & ~is_made
    keep[:-1] &= start[1:] != start[:-1]
    return Kallsyms(
        start[keep],
        _sizes(start, module)[keep],
        name[keep],
        module[keep] > 0,
        np.frombuffer(content.translate(_TO_NUL), np.uint8),
        _references(text, start, name, name_end),
        is_hidden,
        int(len(valid) - np.count_nonzero(valid)),
    )


def _modules(text: NDArray[np.uint8], tab: Positions, end: Positions) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A number for the module of each row, 0 for the kernel itself; and whether its code is made at run time."""
    module = np.zeros(len(tab), np.int64)
    is_made = np.zeros(len(tab), bool)
    rows = np.flatnonzero(tab < end)
    if len(rows):
        labels = gather(text, tab[rows] + 1, np.minimum(end[rows], tab[rows] + 1 + _MAX_MODULE))
        known, number = np.unique(labels, return_inverse=True)
        made = np.array([label == b"[bpf]" or label.startswith(b"[__builtin__") for label in known.tolist()])
        module[rows] = number + 1
        is_made[rows] = made[number]
    return module, is_made


def _sizes(start: U64, module: NDArray[np.int64]) -> U64:
    """Each reaches to the next address, but only to the end of its page where the next is another module's."""
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(start)), bool), np.diff(start) > 0]))
    row = np.searchsorted(first, np.arange(len(start)), side="right")  # the next distinct address
    following = np.append(start[first], np.uint64(0))[row]
    next_module = np.append(module[first], -1)[row]
    page_end = (start + _PAGE + _PAGE - np.uint64(1)) & ~(_PAGE - np.uint64(1))
    size: U64 = np.where(next_module == module, following, page_end) - start
    return size


def _references(text: NDArray[np.uint8], start: U64, name: Positions, end: Positions) -> U64:
    found = np.zeros(len(REFERENCES), np.uint64)
    for index, reference in enumerate(REFERENCES):
        rows = np.flatnonzero(end - name == len(reference))
        is_it = gather(text, name[rows], end[rows]) == reference.encode()
        found[index] = start[rows[is_it]][0] if is_it.any() else 0
    return found
