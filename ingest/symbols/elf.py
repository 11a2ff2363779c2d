"""Reads the parts of an ELF file that profiling needs, straight from a memory map.

    ┌────────────┐ e_phoff  ┌──────────────────┐          e_shoff ┌──────────────────┐
    │ ELF header │ ───────▶ │ program headers  │  …sections… ───▶ │ section headers  │
    └────────────┘          │ PT_LOAD, PT_NOTE │                  │ name, type, size │
                            └──────────────────┘                  └──────────────────┘

Specification: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html and elf(5). Both classes, both byte orders.
Every offset and count in the file is held against the file's length before it is followed, so that a damaged file
yields fewer sections (`damage` says so) and never an exception after `ElfFile` was made.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfkit.schema.errors import FormatError

EM_386, EM_ARM, EM_X86_64, EM_AARCH64, EM_RISCV = 3, 40, 62, 183, 243
ET_REL = 1
PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS, SHT_REL, SHT_DYNSYM = 2, 3, 4, 7, 8, 9, 11
SHF_ALLOC, SHF_EXECINSTR = 0x2, 0x4
PF_X = 0x1

_NT_GNU_BUILD_ID = 3
_MAX_HEADERS = 1 << 17
_SHN_XINDEX = 0xFFFF
_PN_XNUM = 0xFFFF

U64 = NDArray[np.uint64]


class Section(NamedTuple):
    """A section header; offsets and sizes in bytes, `address` virtual."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int

    @property
    def is_code(self) -> bool:
        """Whether it holds instructions of the running program."""
        return self.flags & (SHF_ALLOC | SHF_EXECINSTR) == SHF_ALLOC | SHF_EXECINSTR


class Segment(NamedTuple):
    """A program header; `offset` and `file_size` say where in the file it lies, `address` and `memory_size` where in
    the (unrelocated) address space.
    """

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    alignment: int


class ElfFile:
    """An ELF image: `data` is the whole file, as bytes or as a memory map.

    Raises:
        FormatError: it is no ELF file, or its header is cut off.
    """

    def __init__(self, data: bytes | mmap.mmap, path: str | Path) -> None:
        self.data = data
        self.path = Path(path)
        self.damage = ""
        """What was found wrong with the headers, in words; empty when nothing was."""
        ident = data[:16]
        if len(ident) < 16 or ident[:4] != b"\x7fELF" or ident[4] not in {1, 2} or ident[5] not in {1, 2}:
            raise FormatError(path, 0, "an ELF file", repr(ident[:6]))
        self.is_64 = ident[4] == 2
        self.byte_order = "<" if ident[5] == 1 else ">"
        layout = self.byte_order + ("HHIQQQIHHHHHH" if self.is_64 else "HHIIIIIHHHHHH")
        try:
            header = struct.unpack_from(layout, data, 16)
        except struct.error as error:
            raise FormatError(path, 16, "a whole ELF header", f"{len(data)} bytes") from error
        self.type, self.machine = header[0], header[1]
        self.entry = header[3]
        self._segment_table = (header[4], header[8], header[9])  # offset, entry size, count
        self._section_table = (header[5], header[10], header[11])
        self._name_section = header[12]

    @classmethod
    def open(cls, path: str | Path) -> ElfFile:
        """Map a file.

        Raises:
            FormatError: it is no ELF file.
            OSError: it cannot be read, or is no regular file.
        """
        with open(path, "rb", opener=_open_without_blocking) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{path} is no regular file")
            if status.st_size < 16:
                raise FormatError(path, 0, "an ELF file", f"{status.st_size} bytes")
            return cls(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), path)

    @cached_property
    def sections(self) -> list[Section]:
        """All section headers that lie inside the file, the empty one at index 0 included."""
        raw = self._raw_sections
        names = self._bytes_at(*self._name_bounds(raw))
        return [
            Section(_string(names, row[0]), row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9])
            for row in raw.tolist()
        ]

    @cached_property
    def segments(self) -> list[Segment]:
        """All program headers that lie inside the file."""
        offset, entry_size, count = self._segment_table
        if count == _PN_XNUM and len(self._raw_sections):
            count = int(self._raw_sections[0]["info"])
        raw = self._table(offset, entry_size, count, _segment_type(self.is_64, self.byte_order), "program headers")
        fields = ("type", "flags", "offset", "address", "file_size", "memory_size", "alignment")
        return [Segment(*row) for row in zip(*(raw[name].tolist() for name in fields), strict=True)]

    @cached_property
    def loads(self) -> list[Segment]:
        """The PT_LOAD segments that take up memory, by address. Where `has_assumed_layout` their file offsets are
        taken to keep the distances between addresses, as linkers lay programs out by default.
        """
        found = sorted((s for s in self._loads if max(s.memory_size, s.file_size)), key=lambda s: s.address)
        if self.has_assumed_layout:
            return [s._replace(offset=s.address - found[0].address, file_size=s.memory_size) for s in found]
        return found

    @cached_property
    def has_assumed_layout(self) -> bool:
        """Whether this is a debug file that was taken off its program (`objcopy --only-keep-debug`), so that it does
        not tell where in the program's file its segments lay.
        """
        return any(s.flags & PF_X and s.memory_size and not s.file_size for s in self._loads)

    @property
    def _loads(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.type == PT_LOAD]

    @cached_property
    def build_id(self) -> str | None:
        """The GNU build-id in lower-case hex."""
        regions = [(s.offset, s.size, s.alignment) for s in self.sections if s.type == SHT_NOTE]
        regions += [(s.offset, s.file_size, s.alignment) for s in self.segments if s.type == PT_NOTE]
        for offset, size, alignment in regions:
            found = find_build_id(self._bytes_at(offset, size), self.byte_order, alignment)
            if found:
                return found
        return None

    @cached_property
    def debuglink(self) -> tuple[str, int] | None:
        """Name and CRC-32 of the separate debug file that `.gnu_debuglink` names."""
        section = self.section(".gnu_debuglink")
        content = b"" if section is None else self.content(section)
        name = content.split(b"\0", 1)[0]
        at = (len(name) + 4) & ~3
        if not name or len(content) < at + 4:
            return None
        (checksum,) = struct.unpack_from(self.byte_order + "I", content, at)
        return os.fsdecode(name), checksum

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section) -> bytes:
        """A section's bytes; empty where the file does not hold them (`SHT_NOBITS`, or outside the file)."""
        if section.type == SHT_NOBITS:
            return b""
        return self._bytes_at(section.offset, section.size)

    def holds(self, section: Section) -> bool:
        """Whether the whole of a section lies inside the file."""
        return section.type != SHT_NOBITS and section.offset + section.size <= len(self.data)

    def symbols(self, section: Section) -> NDArray[Any]:
        """A symbol table's rows as a structured array over the file (`name, info, other, section, value, size`, in
        the file's byte order); the rows inside the file when it reaches beyond.
        """
        return self.rows(section, _symbol_type(self.is_64, self.byte_order))

    def relocations(self, section: Section) -> NDArray[Any]:
        """The rows of a `SHT_REL` or `SHT_RELA` section: `offset, info`, and `addend` for the latter."""
        return self.rows(section, _relocation_type(self.is_64, self.byte_order, has_addend=section.type == SHT_RELA))

    def rows(self, section: Section, row: np.dtype[Any]) -> NDArray[Any]:
        """A section's content as rows of the given type, as many as lie inside the file."""
        if section.type == SHT_NOBITS:
            return np.empty(0, row)
        available = max(0, min(section.size, len(self.data) - section.offset))
        return self._rows_at(section.offset, available // row.itemsize, row)

    def to_file_offset(self, addresses: U64) -> tuple[U64, NDArray[np.bool_]]:
        """Virtual addresses as offsets in the file, by the PT_LOAD segment that holds them, and whether one does.
        Addresses outside stay as they are.
        """
        return _shift(addresses, [(s.address, max(s.memory_size, s.file_size), s.offset) for s in self.loads])

    def to_address(self, offsets: U64) -> tuple[U64, NDArray[np.bool_]]:
        """Offsets in the file as virtual addresses, and whether a PT_LOAD segment holds them. Where segments share
        bytes of the file, the executable one counts.
        """
        loads = sorted(self.loads, key=lambda s: (s.offset, s.flags & PF_X))
        return _shift(offsets, [(s.offset, max(s.memory_size, s.file_size), s.address) for s in loads])

    @cached_property
    def _raw_sections(self) -> NDArray[Any]:
        offset, entry_size, count = self._section_table
        kind = _section_type(self.is_64, self.byte_order)
        if not offset:
            return np.empty(0, kind)
        if count == 0:  # more than 0xff00 sections: the count stands in the first header
            first = self._table(offset, entry_size, 1, kind, "section headers")
            count = int(first[0]["size"]) if len(first) else 0
        return self._table(offset, entry_size, count, kind, "section headers")

    def _name_bounds(self, raw: NDArray[Any]) -> tuple[int, int]:
        index = self._name_section
        if index == _SHN_XINDEX and len(raw):
            index = int(raw[0]["link"])
        if index >= len(raw):
            return 0, 0
        return int(raw[index]["offset"]), int(raw[index]["size"])

    def _table(self, offset: int, entry_size: int, count: int, kind: np.dtype[Any], what: str) -> NDArray[Any]:
        if not count or not offset:
            return np.empty(0, kind)
        if entry_size != kind.itemsize:
            self.damage = f"{what} of {entry_size} bytes, expected {kind.itemsize}"
            return np.empty(0, kind)
        room = max(0, len(self.data) - offset) // entry_size
        if count > min(room, _MAX_HEADERS):
            self.damage = f"{count} {what} at byte {offset}, but the file has room for {room}"
        return self._rows_at(offset, min(count, room, _MAX_HEADERS), kind)

    def _rows_at(self, offset: int, count: int, kind: np.dtype[Any]) -> NDArray[Any]:
        return np.frombuffer(self.data, kind, count, offset) if count else np.empty(0, kind)

    def _bytes_at(self, offset: int, size: int) -> bytes:
        return self.data[min(offset, len(self.data)) : min(offset + size, len(self.data))]


def find_build_id(notes: bytes, byte_order: str, alignment: int = 4) -> str | None:
    """The GNU build-id among ELF notes (`namesz, descsz, type, name, desc`, each padded), such as a `PT_NOTE` segment
    or /sys/kernel/notes.
    """
    for name, kind, description in _notes(notes, byte_order, 8 if alignment == 8 else 4):
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and description:
            return description.hex()
    return None


def _notes(notes: bytes, byte_order: str, alignment: int) -> Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(byte_order + "III", notes, at)
        start = (at + 12 + name_size + alignment - 1) & -alignment
        yield notes[at + 12 : at + 12 + name_size], kind, notes[start : start + size]
        at = (start + size + alignment - 1) & -alignment


def _shift(values: U64, ranges: list[tuple[int, int, int]]) -> tuple[U64, NDArray[np.bool_]]:
    """Move each value from the `(from, size, to)` range that holds it; ranges sorted by `from`."""
    if not ranges:
        return values, np.zeros(len(values), bool)
    source, size, target = (np.array([r[i] for r in ranges], np.uint64) for i in range(3))
    index = np.searchsorted(source, values, side="right").astype(np.int64) - 1
    row = np.maximum(index, 0)
    inside = (index >= 0) & (values - source[row] < size[row])
    return np.where(inside, values - source[row] + target[row], values), inside


def _string(names: bytes, at: int) -> str:
    end = names.find(b"\0", at)
    return names[at : end if end >= 0 else len(names)][:4096].decode("utf-8", "replace")


def _open_without_blocking(path: str, flags: int) -> int:
    # A FIFO in the place of a library must not hang the ingest.
    return os.open(path, flags | os.O_NONBLOCK)


def _section_type(is_64: bool, order: str) -> np.dtype[Any]:
    word = order + ("u8" if is_64 else "u4")
    half = order + "u4"
    names = ("name", "type", "flags", "address", "offset", "size", "link", "info", "alignment", "entry_size")
    kinds = (half, half, word, word, word, word, half, half, word, word)
    return np.dtype(list(zip(names, kinds, strict=True)))


def _segment_type(is_64: bool, order: str) -> np.dtype[Any]:
    if is_64:
        names = ("type", "flags", "offset", "address", "physical", "file_size", "memory_size", "alignment")
        kinds = ("u4", "u4", "u8", "u8", "u8", "u8", "u8", "u8")
    else:
        names = ("type", "offset", "address", "physical", "file_size", "memory_size", "flags", "alignment")
        kinds = ("u4",) * 8
    return np.dtype([(name, order + kind) for name, kind in zip(names, kinds, strict=True)])


def _symbol_type(is_64: bool, order: str) -> np.dtype[Any]:
    if is_64:
        columns = (("name", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2"), ("value", "u8"), ("size", "u8"))
    else:
        columns = (("name", "u4"), ("value", "u4"), ("size", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2"))
    return np.dtype([(name, order + kind) for name, kind in columns])


def _relocation_type(is_64: bool, order: str, *, has_addend: bool) -> np.dtype[Any]:
    word = order + ("u8" if is_64 else "u4")
    return np.dtype([("offset", word), ("info", word)] + ([("addend", word)] if has_addend else []))
