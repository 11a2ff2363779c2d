from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.ingest.symbols.elf_builder import CODE_ADDRESS, CODE_OFFSET, FUNC, GLOBAL, LOCAL, NOTYPE, WEAK, ElfBuilder
from tests.support import captures

from perfkit.ingest.symbols.elf import EM_ARM, ElfFile
from perfkit.ingest.symbols.elf_symbols import elf_symbol_table, symbol_address

needs_binutils = pytest.mark.skipif(shutil.which("nm") is None, reason="binutils is not installed")


def names_at(file: ElfFile, *offsets: int) -> list[str]:
    table, damage = elf_symbol_table(file)
    assert damage == ""
    hits = table.find(np.array(offsets, np.uint64))
    names = iter(table.names(hits[hits >= 0]))
    return [next(names) if hit >= 0 else "-" for hit in hits.tolist()]


def built(builder: ElfBuilder, *places: int) -> list[str]:
    return names_at(ElfFile(builder.build(), "built"), *(CODE_OFFSET + place for place in places))


@needs_binutils
@pytest.mark.parametrize("name", ["inl", "truth", "truth_pie", "truth_cyg", "truth_pg", "multi_nopie", "libwork2.so"])
def test_every_function_of_nm_is_found_by_its_first_and_last_byte(name: str) -> None:
    path = captures("workloads", name)
    lines = subprocess.run(["nm", "-S", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    listed: dict[int, set[str]] = {}
    sizes: dict[int, int] = {}
    for address, size, symbol in re.findall(r"^(\w{16}) (\w{16}) [tTwWi] (\S+)$", lines, re.MULTILINE):
        listed.setdefault(int(address, 16), set()).add(symbol)
        sizes[int(address, 16)] = int(size, 16)
    assert listed
    file = ElfFile.open(path)
    start = np.array(list(listed), np.uint64)
    for place in (start, start + np.array(list(sizes.values()), np.uint64) - np.uint64(1)):
        offsets, known = file.to_file_offset(place)
        assert known.all()
        for found, expected in zip(names_at(file, *offsets.tolist()), listed.values(), strict=True):
            assert found in expected


@needs_binutils
@pytest.mark.parametrize("name", ["inl", "truth", "truth_pie"])
def test_plt_entries_are_called_as_objdump_calls_them(name: str) -> None:
    path = captures("workloads", name)
    file = ElfFile.open(path)
    checked = 0
    for section in (".plt", ".plt.sec", ".plt.got"):
        text = subprocess.run(
            ["objdump", "-d", "-j", section, path], capture_output=True, text=True, check=False
        ).stdout
        labels = {int(a, 16): n for a, n in re.findall(r"^(\w{16}) <([^>+]+@plt)>:$", text, re.MULTILINE)}
        offsets, _ = file.to_file_offset(np.array(list(labels), np.uint64))
        assert names_at(file, *offsets.tolist()) == list(labels.values())
        checked += len(labels)
    assert checked > 5


@pytest.mark.parametrize("is_64", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_classes_and_byte_orders_name_alike(is_64: bool, order: str) -> None:
    builder = ElfBuilder(is_64=is_64, order=order)
    builder.add("first", CODE_ADDRESS, 0x10)
    builder.add("second", CODE_ADDRESS + 0x20, 0x10)
    assert built(builder, 0, 0xF, 0x10, 0x20, 0x2F, 0x30) == ["first", "first", "-", "second", "second", "-"]


def test_symbols_without_a_size_reach_to_the_next_and_not_past_their_section() -> None:
    builder = ElfBuilder()
    builder.add("bare", CODE_ADDRESS + 0x100, 0)
    builder.add("sized", CODE_ADDRESS + 0x200, 0x10)
    builder.add("last", CODE_ADDRESS + 0xF00, 0)
    assert built(builder, 0x1FF, 0x20F, 0x210, 0xFFF, 0x1000) == ["bare", "sized", "-", "last", "-"]


def test_labels_inside_functions_do_not_cut_them() -> None:
    builder = ElfBuilder()
    builder.add("function", CODE_ADDRESS, 0x100)
    builder.add("label", CODE_ADDRESS + 0x40, 0, NOTYPE, LOCAL)
    builder.add("assembly", CODE_ADDRESS + 0x100, 0, NOTYPE, GLOBAL)
    builder.add("hidden", CODE_ADDRESS + 0x180, 0, NOTYPE, GLOBAL, other=2)
    assert built(builder, 0x40, 0x50, 0x100, 0x190) == ["function", "function", "assembly", "assembly"]


def test_past_a_nested_symbol_the_outer_one_goes_on() -> None:
    builder = ElfBuilder()
    builder.add("outer", CODE_ADDRESS, 0x100)
    builder.add("inner", CODE_ADDRESS + 0x40, 0x10)
    assert built(builder, 0x3F, 0x40, 0x50, 0xFF, 0x100) == ["outer", "inner", "outer", "outer", "-"]


@pytest.mark.parametrize(
    ("aliases", "best"),
    [
        ([("weak_but_long", WEAK), ("strong", GLOBAL)], "strong"),
        ([("local_but_long", LOCAL), ("public", GLOBAL)], "public"),
        ([("__libc_malloc", GLOBAL), ("malloc", GLOBAL)], "malloc"),
        ([("short", GLOBAL), ("longer_name", GLOBAL)], "longer_name"),
        ([("same", GLOBAL), ("name", GLOBAL)], "same"),
        ([("SyS_read", GLOBAL), ("sys_read", GLOBAL)], "sys_read"),
    ],
)
def test_aliases_are_chosen_as_perf_does(aliases: list[tuple[str, int]], best: str) -> None:
    builder = ElfBuilder()
    for name, binding in aliases:
        builder.add(name, CODE_ADDRESS, 0x10, FUNC, binding)
    assert built(builder, 4) == [best]


def test_thumb_bit_and_mapping_symbols_of_arm() -> None:
    builder = ElfBuilder(is_64=False, machine=EM_ARM)
    builder.add("thumb", CODE_ADDRESS + 0x11, 0x10)
    builder.add("$d", CODE_ADDRESS + 0x20, 0, NOTYPE, LOCAL)
    assert built(builder, 0x10, 0x1F, 0x20) == ["thumb", "thumb", "-"]


def test_address_of_a_symbol_whose_name_ends_another() -> None:
    builder = ElfBuilder()
    builder.add("my_text", CODE_ADDRESS + 8, 4)
    builder.add("_text", CODE_ADDRESS, 0, NOTYPE)
    file = ElfFile(builder.build(), "built")
    assert symbol_address(file, "_text") == CODE_ADDRESS
    assert symbol_address(file, "absent") is None


def test_names_outside_their_table_are_left_out() -> None:
    builder = ElfBuilder()
    builder.add("lost", CODE_ADDRESS, 4)
    builder.add("kept", CODE_ADDRESS + 8, 4)
    content = bytearray(builder.build())
    section = ElfFile(bytes(content), "built").section(".symtab")
    assert section is not None
    content[section.offset + 24 : section.offset + 28] = b"\xff\xff\xff\x7f"
    assert names_at(ElfFile(bytes(content), "built"), CODE_OFFSET, CODE_OFFSET + 8) == ["-", "kept"]


def test_a_file_without_symbols_has_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    path.write_bytes(ElfBuilder().build())
    table, damage = elf_symbol_table(ElfFile.open(path))
    assert len(table) == 0
    assert damage == ""
