"""Builds small ELF files of either class and byte order, for what no compiler here would make."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

CODE_ADDRESS, CODE_OFFSET, CODE_SIZE = 0x401000, 0x1000, 0x1000
FUNC, NOTYPE, OBJECT = 2, 0, 1
LOCAL, GLOBAL, WEAK = 0, 1, 2


@dataclass
class ElfBuilder:
    is_64: bool = True
    order: str = "<"
    machine: int = 62
    build_id: bytes = bytes(range(20))
    text_name: str = ".text"
    symbols: list[tuple[str, int, int, int, int, int]] = field(default_factory=list)

    def add(
        self, name: str, address: int, size: int, kind: int = FUNC, binding: int = GLOBAL, *, other: int = 0
    ) -> None:
        self.symbols.append((name, address, size, kind, binding, other))

    def build(self) -> bytes:
        strings = bytearray(b"\0")
        symbols = bytearray(24 if self.is_64 else 16)
        for name, address, size, kind, binding, other in self.symbols:
            at = len(strings)
            strings += name.encode() + b"\0"
            info = binding << 4 | kind
            row = (at, info, other, 1, address, size) if self.is_64 else (at, address, size, info, other, 1)
            symbols += struct.pack(self.order + ("IBBHQQ" if self.is_64 else "IIIBBH"), *row)
        note = struct.pack(self.order + "III", 4, len(self.build_id), 3) + b"GNU\0" + self.build_id
        names = b"\0" + b"\0".join(
            name.encode() for name in (self.text_name, ".symtab", ".strtab", ".note.gnu.build-id", ".shstrtab")
        )
        names += b"\0"
        body = bytearray(CODE_OFFSET + CODE_SIZE)
        headers = [(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]
        headers.append((self._name(names, self.text_name), 1, 6, CODE_ADDRESS, CODE_OFFSET, CODE_SIZE, 0, 0, 16, 0))
        for name, kind, content, link, size in (
            (".symtab", 2, symbols, 3, 24 if self.is_64 else 16),
            (".strtab", 3, strings, 0, 0),
            (".note.gnu.build-id", 7, note, 0, 0),
            (".shstrtab", 3, names, 0, 0),
        ):
            headers.append((self._name(names, name), kind, 0, 0, len(body), len(content), link, 0, 4, size))
            body += content
        section_offset = len(body)
        layout = self.order + ("IIQQQQIIQQ" if self.is_64 else "IIIIIIIIII")
        for header in headers:
            body += struct.pack(layout, *header)
        self._write_front(body, section_offset, len(headers))
        return bytes(body)

    def _write_front(self, body: bytearray, section_offset: int, count: int) -> None:
        ident = b"\x7fELF" + bytes([2 if self.is_64 else 1, 1 if self.order == "<" else 2, 1]) + bytes(9)
        sizes = (64, 56, 64) if self.is_64 else (52, 32, 40)
        word = "Q" if self.is_64 else "I"
        header = ident + struct.pack(
            f"{self.order}HHI{word}{word}{word}IHHHHHH",
            *(2, self.machine, 1, CODE_ADDRESS, sizes[0], section_offset, 0, sizes[0], sizes[1], 1, sizes[2]),
            *(count, count - 1),
        )
        load = (CODE_OFFSET, CODE_ADDRESS, CODE_ADDRESS, CODE_SIZE, CODE_SIZE)
        if self.is_64:
            header += struct.pack(self.order + "IIQQQQQQ", 1, 5, *load, 0x1000)
        else:
            header += struct.pack(self.order + "IIIIIIII", 1, *load, 5, 0x1000)
        body[: len(header)] = header

    @staticmethod
    def _name(names: bytes, name: str) -> int:
        return names.index(b"\0" + name.encode() + b"\0") + 1
