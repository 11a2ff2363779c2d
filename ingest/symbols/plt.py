"""Names for the entries of the procedure linkage table, which no symbol table holds: `malloc@plt`.

    .plt        header, entry 0, entry 1 …       one entry a row of .rela.plt, in the order of the slots they jump by
    .plt.sec    entry 0, entry 1 …               where it exists (Intel CET), it is what is called, not .plt
    .plt.got    entry 0, entry 1 …               jumps by slots of .rela.dyn, found from the jump's displacement

As `dso__synthesize_plt_symbols` in tools/perf/util/symbol-elf.c does since Linux 6.3; older perf did not know .plt.sec
and .plt.got, and called the entries of IFUNCs `@plt`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfkit.ingest.symbols import elf
from perfkit.ingest.symbols.elf import ElfFile, Section
from perfkit.ingest.symbols.table import NO_SYMBOLS, STB_GLOBAL, U64, NameSource, Symbols, SymbolTable

_EM_LOONGARCH = 258
_FIXED_SIZES = {elf.EM_ARM: (20, 12), elf.EM_AARCH64: (32, 16), _EM_LOONGARCH: (32, 16)}  # header, entry
_SUFFIX = "@plt"


class _Slots(NamedTuple):
    """Rows of a relocation section: the `slot` address they fill in, the `name` of their symbol as an offset in its
    string table (0 where they have none), and the `addend`.
    """

    slot: U64
    name: NDArray[np.int64]
    addend: U64

    def take(self, rows: NDArray[np.int64]) -> _Slots:
        return _Slots(self.slot[rows], self.name[rows], self.addend[rows])


class _Entries(NamedTuple):
    start: U64  # file offset
    size: int
    slots: _Slots
    strings: NameSource | None


def plt_symbols(program: ElfFile, table: SymbolTable, first_source: int) -> tuple[Symbols, list[NameSource]]:
    """The entries as symbols over file offsets, and where their names lie, numbered from `first_source` on. `table`
    holds the program's other symbols, among which IFUNCs have their names.
    """
    plt = program.section(".plt")
    if plt is None or plt.type == elf.SHT_NOBITS:
        return NO_SYMBOLS, []
    made = bytearray(b".plt\0")
    sources: list[NameSource] = []
    parts = [_header(program, plt, first_source)]
    for entries in (_called_entries(program, plt), _got_entries(program)):
        if entries is None or not len(entries.start):
            continue
        name = entries.slots.name.copy()
        source = np.full(len(name), first_source + len(sources) + 1, np.uint8)
        if entries.strings is not None:
            sources.append(entries.strings._replace(suffix=_SUFFIX))
        for row in np.flatnonzero(name == 0).tolist():
            name[row], source[row] = len(made), first_source
            made += _nameless(program, table, entries, row).encode("utf-8", "replace") + b"\0"
        size = np.full(len(name), entries.size, np.uint64)
        parts.append(Symbols(entries.start, size, name, source, np.full(len(name), STB_GLOBAL, np.uint8)))
    return Symbols.concatenate(parts), [NameSource(bytes(made), 0, len(made)), *sources]


def _header(program: ElfFile, plt: Section, source: int) -> Symbols:
    """`.plt` itself: the whole of it where calls go to .plt.sec, else its header; shadowed by the entries."""
    size = plt.size if program.section(".plt.sec") else _sizes(program, plt)[0]
    return Symbols(
        np.array([plt.offset], np.uint64),
        np.array([size], np.uint64),
        np.zeros(1, np.int64),
        np.full(1, source, np.uint8),
        np.zeros(1, np.uint8),
    )


def _sizes(program: ElfFile, section: Section) -> tuple[int, int]:
    if program.machine in _FIXED_SIZES:
        return _FIXED_SIZES[program.machine]
    size = section.entry_size
    if program.machine in {elf.EM_386, elf.EM_X86_64} and size not in {8, 16}:
        size = 8 if section.alignment == 8 else 16
    return size, size


def _called_entries(program: ElfFile, plt: Section) -> _Entries | None:
    relocations = program.section(".rela.plt") or program.section(".rel.plt")
    if relocations is None:
        return None
    slots, strings = _slots(program, relocations)
    if program.machine in {elf.EM_386, elf.EM_X86_64}:  # the linker puts the rows of IFUNCs out of order
        slots = slots.take(np.argsort(slots.slot, kind="stable"))
    second = program.section(".plt.sec")
    section = second or plt
    header, size = _sizes(program, section)
    count = len(slots.slot)
    if not size:
        return None
    # As many entries as relocations: bound at start-up, so there is no header to bind them lazily.
    offset = section.offset if second or count * size == plt.size else section.offset + header
    count = min(count, max(0, section.offset + section.size - offset) // size)
    start = np.uint64(offset) + np.arange(count, dtype=np.uint64) * np.uint64(size)
    return _Entries(start, size, slots.take(np.arange(count)), strings)


def _got_entries(program: ElfFile) -> _Entries | None:
    section, relocations = program.section(".plt.got"), program.section(".rela.dyn")
    if program.machine != elf.EM_X86_64 or section is None or relocations is None or section.entry_size not in {8, 16}:
        return None
    size = section.entry_size
    code = program.rows(section, np.dtype((np.uint8, size)))
    start = np.uint64(section.offset) + np.arange(len(code), dtype=np.uint64) * np.uint64(size)
    address = np.uint64(section.address) + np.arange(len(code), dtype=np.uint64) * np.uint64(size)
    target = address + _displacement(code)
    slots, strings = _slots(program, relocations)
    slots = slots.take(np.argsort(slots.slot, kind="stable"))
    if not len(slots.slot):
        return None
    row = np.minimum(np.searchsorted(slots.slot, target), len(slots.slot) - 1)
    hit = slots.slot[row] == target
    found = slots.take(row)
    return _Entries(start, size, _Slots(target, np.where(hit, found.name, 0), np.where(hit, found.addend, 0)), strings)


def _displacement(code: NDArray[np.uint8]) -> U64:
    """How far from its start each entry's slot lies: `[endbr64] [bnd] jmp *displacement(%rip)`; 0 where it is other
    code.
    """
    endbr = (code[:, :4] == np.frombuffer(b"\xf3\x0f\x1e\xfa", np.uint8)).all(axis=1)
    at = np.where(endbr, 4, 0)
    row = np.arange(len(code))
    width = code.shape[1]
    at += code[row, np.minimum(at, width - 1)] == 0xF2
    fits = at + 6 <= width
    at = np.where(fits, at, 0)
    jump = fits & (code[row, at] == 0xFF) & (code[row, at + 1] == 0x25)
    operand = np.ascontiguousarray(code[row[:, None], at[:, None] + np.arange(2, 6)]).view("<i4")[:, 0]
    return np.where(jump, at + 6 + operand.astype(np.int64), 0).astype(np.uint64)


def _slots(program: ElfFile, relocations: Section) -> tuple[_Slots, NameSource | None]:
    rows = program.relocations(relocations)
    info = rows["info"].astype(np.uint64)
    index = (info >> np.uint64(32 if program.is_64 else 8)).astype(np.int64)
    addend = rows["addend"].astype(np.uint64) if relocations.type == elf.SHT_RELA else np.zeros(len(rows), np.uint64)
    slot = rows["offset"].astype(np.uint64)
    sections = program.sections
    if relocations.link < len(sections) and sections[relocations.link].type in {elf.SHT_DYNSYM, elf.SHT_SYMTAB}:
        table = sections[relocations.link]
        strings = string_table(program, table)
        symbols = program.symbols(table)
        if strings is not None and len(symbols):
            known = index < len(symbols)
            name = np.where(known, symbols["name"][np.where(known, index, 0)].astype(np.int64), 0)
            name[name >= strings.limit - strings.base] = 0
            return _Slots(slot, name, addend), strings
    return _Slots(slot, np.zeros(len(rows), np.int64), addend), None


def string_table(file: ElfFile, symbols: Section) -> NameSource | None:
    """The names of a symbol section; None where the file does not hold them."""
    if symbols.link >= len(file.sections):
        return None
    section = file.sections[symbols.link]
    limit = min(section.offset + section.size, len(file.data))
    if section.type != elf.SHT_STRTAB or section.offset >= limit:
        return None
    return NameSource(file.data, section.offset, limit)


def _nameless(program: ElfFile, table: SymbolTable, entries: _Entries, row: int) -> str:
    """An entry of an IFUNC of the program itself has the address of its resolver for a name."""
    resolver = entries.slots.addend[row : row + 1]
    offset, known = program.to_file_offset(resolver)
    group = table.find(offset)
    if known[0] and group[0] >= 0 and table.start[group[0]] == offset[0]:
        return table.names(group)[0] + _SUFFIX
    return f"offset_{int(entries.start[row]):#x}{_SUFFIX}"
