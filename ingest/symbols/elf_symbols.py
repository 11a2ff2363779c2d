"""The functions of an ELF file as a symbol table over file offsets, chosen as perf chooses them.

Follows `dso__load_sym_internal`, `symbols__fixup_end` and `dso__synthesize_plt_symbols` in tools/perf/util (Linux
6.12): which symbols count, how far those without a size reach, how entries of the procedure linkage table are called.
Left out: function descriptors of 64-bit PowerPC's first ABI (`.opd`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.ingest.symbols import elf
from perfkit.ingest.symbols.elf import ElfFile, Section
from perfkit.ingest.symbols.plt import plt_symbols, string_table
from perfkit.ingest.symbols.table import EMPTY, NO_SYMBOLS, U64, NameSource, Symbols, SymbolTable

_STT_NOTYPE, _STT_OBJECT, _STT_FUNC, _STT_GNU_IFUNC = 0, 1, 2, 10
_STV_INTERNAL, _STV_HIDDEN = 1, 2
_PAGE = 4096


def elf_symbol_table(
    program: ElfFile, debug_files: Sequence[ElfFile] = (), *, by_address: bool = False
) -> tuple[SymbolTable, str]:
    """The symbols of `program` and of the files with debug information that belong to it, by offset in the program's
    file or by virtual address; and what was found wrong with them, in words.
    """
    parts: list[Symbols] = []
    sources: list[NameSource] = []
    limits: list[U64] = []
    damage = ""
    for file in (*debug_files, program):
        for name, kind in ((".symtab", elf.SHT_SYMTAB), (".dynsym", elf.SHT_DYNSYM)):
            section = file.section(name)
            if section is None or section.type != kind:
                continue
            strings = string_table(file, section)
            damage = damage or file.damage
            if strings is None or not file.holds(section):
                damage = damage or f"{name} of {file.path} reaches outside the file"
            if strings is None:
                continue
            symbols, limit = _functions(file, section, strings, None if by_address else program, len(sources))
            parts.append(symbols)
            limits.append(limit)
            sources.append(strings)
        damage = damage or file.damage
    if not parts:
        return EMPTY, damage
    symbols = _extend(Symbols.concatenate(parts), np.concatenate(limits))
    table = SymbolTable(symbols, sources)
    entries, names = (NO_SYMBOLS, []) if by_address else plt_symbols(program, table, len(sources))
    if len(entries.start):
        table = SymbolTable(Symbols.concatenate([symbols, entries]), [*sources, *names])
    return table, damage


def symbol_address(file: ElfFile, name: str) -> int | None:
    """The virtual address of the first symbol of that name in `.symtab`, of whatever type."""
    section = file.section(".symtab")
    strings = None if section is None else string_table(file, section)
    if section is None or strings is None:
        return None
    content = file.data[strings.base : strings.limit]
    # The linker may let a name be the end of a longer one: every place where it ends counts.
    places = [found.start() for found in re.finditer(re.escape(name.encode()) + b"\0", content)]
    rows = file.symbols(section)
    value = rows["value"][np.isin(rows["name"], places)]
    return int(value[0]) if len(value) else None


def _functions(
    file: ElfFile, section: Section, strings: NameSource, program: ElfFile | None, source: int
) -> tuple[Symbols, U64]:
    """The functions of one symbol section, and the file offset where the code section of each ends."""
    rows = file.symbols(section)
    rows = rows[_is_function(rows, file, strings)]
    sections = file.sections
    index = rows["section"].astype(np.int64)
    address = rows["value"].astype(np.uint64)
    kind = rows["info"] & 0xF
    if file.machine == elf.EM_ARM:  # the lowest bit says that the function is in Thumb code
        address = np.where(kind == _STT_FUNC, address & ~np.uint64(1), address)
    end_address = np.array([s.address + s.size & 2**64 - 1 for s in sections], np.uint64)[index]
    bias = np.array([s.offset - s.address & 2**64 - 1 for s in sections], np.uint64)[index]
    start = address if program is None else _file_offsets(address, bias, program)
    size = rows["size"].astype(np.uint64)
    limit = start + np.where(end_address > address, end_address - address, 0)
    # A label without a size only counts where nothing covers it: `_extend` needs to know it from a function.
    label = (kind == _STT_NOTYPE) & (size == 0)
    symbols = Symbols(
        start,
        size,
        rows["name"].astype(np.int64),
        np.full(len(rows), source, np.uint8),
        (rows["info"] >> 4).astype(np.uint8),
    )
    covered = _is_covered(symbols, label)
    return symbols.take(~covered), limit[~covered]


def _is_function(rows: NDArray[Any], file: ElfFile, strings: NameSource) -> NDArray[np.bool_]:
    sections = file.sections
    index = np.minimum(rows["section"], len(sections))
    code = np.array([s.is_code for s in sections] + [False])
    text = np.array([s.is_code and ("text" in s.name or "data" in s.name) for s in sections] + [False])
    kind = rows["info"] & 0xF
    visibility = rows["other"] & 0x3
    function = ((kind == _STT_FUNC) | (kind == _STT_GNU_IFUNC) | (kind == _STT_OBJECT)) & code[index]
    label = (kind == _STT_NOTYPE) & text[index] & (visibility != _STV_HIDDEN) & (visibility != _STV_INTERNAL)
    named = (rows["name"] != 0) & (rows["name"] < strings.limit - strings.base)
    chosen: NDArray[np.bool_] = (function | label) & named
    if file.machine in {elf.EM_ARM, elf.EM_AARCH64, elf.EM_RISCV}:
        chosen &= ~_is_mapping_symbol(rows, strings, chosen)
    return chosen


def _is_mapping_symbol(rows: NDArray[Any], strings: NameSource, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`$a`, `$d`, `$t`, `$x` only mark where code and data begin (ELF for the Arm Architecture)."""
    found = np.zeros(len(rows), bool)
    content = np.frombuffer(strings.data, np.uint8, strings.limit - strings.base, strings.base)
    at = np.flatnonzero(chosen)
    found[at] = content[rows["name"][at].astype(np.int64)] == ord("$")
    return found


def _file_offsets(address: U64, bias: U64, program: ElfFile) -> U64:
    offset, known = program.to_file_offset(address)
    return np.where(known, offset, address + bias)


def _is_covered(symbols: Symbols, label: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which labels lie inside a symbol that has a size: naming what follows them would cut the function in two."""
    covered = np.zeros(len(label), bool)
    if label.any() and not label.all():
        covered[label] = SymbolTable(symbols.take(~label), ()).find(symbols.start[label]) >= 0
    return covered


def _extend(symbols: Symbols, limit: U64) -> Symbols:
    """Let symbols without a size reach to the next symbol, but not beyond their section."""
    bare = symbols.size == 0
    if not bare.any():
        return symbols
    starts = np.unique(symbols.start)
    start = symbols.start[bare]
    after = np.searchsorted(starts, start, side="right")
    page_end = (start | np.uint64(_PAGE - 1)) + np.uint64(1)
    following = np.where(after < len(starts), starts[np.minimum(after, len(starts) - 1)], page_end)
    bound = np.where(limit[bare] > start, limit[bare], page_end)
    size = symbols.size.copy()
    size[bare] = np.minimum(following, bound) - start
    return symbols._replace(size=size)
