from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.ingest.symbols.elf_builder import CODE_ADDRESS, CODE_OFFSET, ElfBuilder
from tests.support import captures

from perfkit.ingest.symbols.elf import ElfFile, find_build_id
from perfkit.schema.errors import FormatError

needs_readelf = pytest.mark.skipif(shutil.which("readelf") is None, reason="binutils is not installed")


def readelf(option: str, path: Path) -> str:
    return subprocess.run(["readelf", "-W", option, path], capture_output=True, text=True, check=True).stdout


@needs_readelf
@pytest.mark.parametrize("name", ["inl", "truth", "truth_pie", "libwork1.so"])
def test_headers_agree_with_readelf(name: str) -> None:
    path = captures("workloads", name)
    file = ElfFile.open(path)
    sections = re.findall(r"\[ *\d+\] (\S+) +\S+ +([0-9a-f]{16}) ([0-9a-f]{6}) ([0-9a-f]{6})", readelf("-S", path))
    assert len(sections) > 20
    assert [(s.name, s.address, s.offset, s.size) for s in file.sections[1:]] == [
        (name, int(address, 16), int(offset, 16), int(size, 16)) for name, address, offset, size in sections
    ]
    loads = re.findall(r"LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+) 0x(\w+)", readelf("-l", path))
    assert [(s.offset, s.address, s.file_size, s.memory_size) for s in file.loads] == [
        tuple(int(field, 16) for field in row) for row in loads
    ]
    assert f"Build ID: {file.build_id}" in readelf("-n", path)
    assert file.damage == ""


@pytest.mark.parametrize("is_64", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_classes_and_byte_orders(is_64: bool, order: str) -> None:
    builder = ElfBuilder(is_64=is_64, order=order)
    builder.add("f", CODE_ADDRESS + 0x10, 0x20)
    file = ElfFile(builder.build(), "built")
    assert (file.is_64, file.byte_order, file.machine) == (is_64, order, 62)
    assert file.build_id == bytes(range(20)).hex()
    section = file.section(".symtab")
    assert section is not None
    row = file.symbols(section)[1]
    assert (int(row["value"]), int(row["size"]), int(row["section"])) == (CODE_ADDRESS + 0x10, 0x20, 1)


def test_offsets_and_addresses_turn_into_each_other() -> None:
    file = ElfFile(ElfBuilder().build(), "built")
    offsets, known = file.to_file_offset(np.array([CODE_ADDRESS, CODE_ADDRESS + 0xFFF, CODE_ADDRESS + 0x1000, 0], "u8"))
    assert known.tolist() == [True, True, False, False]
    assert offsets[:2].tolist() == [CODE_OFFSET, CODE_OFFSET + 0xFFF]
    addresses, known = file.to_address(offsets[:2])
    assert known.all()
    assert addresses.tolist() == [CODE_ADDRESS, CODE_ADDRESS + 0xFFF]


def test_debuglink_is_read(tmp_path: Path) -> None:
    if shutil.which("objcopy") is None:
        pytest.skip("binutils is not installed")
    program, debug = tmp_path / "program", tmp_path / "program.debug"
    shutil.copy(captures("workloads", "truth"), program)
    program.chmod(0o755)
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", program], check=True)
    import zlib

    assert ElfFile.open(program).debuglink == ("program.debug", zlib.crc32(debug.read_bytes()))
    assert ElfFile.open(debug).has_assumed_layout
    assert not ElfFile.open(program).has_assumed_layout


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\nexit\n....", b"\x7fELF\x02\x01\x01" + bytes(20)])
def test_what_is_no_elf_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        ElfFile.open(path)


def test_a_pipe_in_the_place_of_a_library_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match="no regular file"):
        ElfFile.open(path)


def test_headers_outside_the_file_are_reported() -> None:
    file = ElfFile(ElfBuilder().build()[:-100], "cut")
    assert len(file.sections) == 4
    assert "has room for 4" in file.damage


def test_build_id_behind_other_notes() -> None:
    import struct

    other = struct.pack("<III", 4, 5, 1) + b"GNU\0" + b"12345\0\0\0"
    assert find_build_id(other + struct.pack("<III", 4, 3, 3) + b"GNU\0" + b"\xab\xcd\xef", "<") == "abcdef"
    assert find_build_id(other[:-6], "<") is None
    assert find_build_id(struct.pack("<III", 2**32 - 1, 2**32 - 1, 3), "<") is None
