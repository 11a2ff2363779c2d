from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.ingest.symbols.elf_builder import CODE_ADDRESS, NOTYPE, ElfBuilder

from perfkit.ingest.symbols import running
from perfkit.ingest.symbols.kernel import find_kernel
from perfkit.ingest.symbols.options import KernelIdentity, SymbolOptions

RECORDED = "11" * 20
LIST = b"ffffffff81000000 T _text\nffffffff81000040 t helper\nffffffff81000080 t next\n"


@pytest.fixture
def options(tmp_path: Path) -> SymbolOptions:
    return SymbolOptions(
        debug_dirs=(tmp_path / "debug",), build_id_cache=tmp_path / "cache", cache_dir=tmp_path / "own"
    )


def name(table: object, address: int) -> str:
    from perfkit.ingest.symbols.table import SymbolTable

    assert isinstance(table, SymbolTable)
    hit = table.find(np.array([address], np.uint64))
    return table.names(hit)[0] if hit[0] >= 0 else "-"


def keep(options: SymbolOptions, file: str, content: bytes) -> None:
    path = options.build_id_folder(RECORDED) / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_another_kernel_is_not_taken_for_the_recorded_one(options: SymbolOptions) -> None:
    found = find_kernel(KernelIdentity(RECORDED), options)
    assert found.table is None
    assert RECORDED in found.reason


def test_a_capture_that_names_no_kernel_gets_none_unless_local(options: SymbolOptions) -> None:
    assert find_kernel(KernelIdentity(), options).reason == "the capture does not say which kernel it was taken on"


def test_the_list_that_perf_kept(options: SymbolOptions) -> None:
    keep(options, "kallsyms", LIST)
    found = find_kernel(KernelIdentity(RECORDED, ("_text", 0xFFFFFFFF81000000)), options)
    assert name(found.table, 0xFFFFFFFF81000041) == "helper"
    assert found.problems == []


def test_addresses_are_moved_to_where_the_kernel_lay(options: SymbolOptions) -> None:
    keep(options, "kallsyms", LIST)
    found = find_kernel(KernelIdentity(RECORDED, ("_text", 0xFFFFFFFF9A000000)), options)
    assert name(found.table, 0xFFFFFFFF9A000041) == "helper"
    assert name(found.table, 0xFFFFFFFF81000041) == "-"


def test_an_unknown_place_is_counted(options: SymbolOptions) -> None:
    keep(options, "kallsyms", LIST)
    found = find_kernel(KernelIdentity(RECORDED), options)
    assert name(found.table, 0xFFFFFFFF81000041) == "helper"
    assert [code for code, _ in found.problems] == ["kernel_relocation_unknown"]


def test_hidden_addresses_name_the_sysctl(options: SymbolOptions) -> None:
    keep(options, "kallsyms", b"0000000000000000 T _text\n")
    found = find_kernel(KernelIdentity(RECORDED), options)
    assert found.table is None
    assert "kernel.kptr_restrict" in found.reason


def test_a_vmlinux_of_the_same_build(options: SymbolOptions) -> None:
    builder = ElfBuilder(build_id=bytes.fromhex(RECORDED))
    builder.add("_text", CODE_ADDRESS, 0, NOTYPE)
    builder.add("function", CODE_ADDRESS + 0x100, 0x40)
    keep(options, "vmlinux", builder.build())
    found = find_kernel(KernelIdentity(RECORDED, ("_text", CODE_ADDRESS + 0x2000000)), options)
    assert name(found.table, CODE_ADDRESS + 0x2000110) == "function"
    assert found.problems == []


def test_symfs_brings_its_own_list(options: SymbolOptions, tmp_path: Path) -> None:
    (tmp_path / "root/proc").mkdir(parents=True)
    (tmp_path / "root/proc/kallsyms").write_bytes(LIST)
    inside = SymbolOptions(symfs=tmp_path / "root", build_id_cache=options.build_id_cache)
    assert name(find_kernel(KernelIdentity(), inside).table, 0xFFFFFFFF81000041) == "helper"


def test_the_running_kernel_is_read_once_a_boot(options: SymbolOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    build_id = running.kernel_build_id()
    try:
        first = find_kernel(KernelIdentity(build_id), options)
    except OSError:
        pytest.skip("/proc/kallsyms cannot be read")
    if build_id is None or first.table is None:
        pytest.skip("this kernel hides its symbols or its build-id")
    (kept,) = options.cache_folder().glob("kallsyms-*.npz")
    monkeypatch.setattr(running, "KALLSYMS", Path("/nonexistent"))
    again = find_kernel(KernelIdentity(build_id), options)
    address = int(first.table.start[1000])
    assert name(again.table, address) == name(first.table, address) != "-"
    kept.write_bytes(kept.read_bytes()[:1000])  # a damaged cache is no failure
    assert find_kernel(KernelIdentity(build_id), options).table is None


def test_an_unwritable_cache_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    symbols = running.kallsyms(tmp_path / "file" / "cache") if running.KALLSYMS.exists() else None
    if symbols is None:
        pytest.skip("there is no /proc/kallsyms")
    assert len(symbols.start) > 0


def test_the_vdso_of_this_process() -> None:
    image = running.vdso()
    if image is None:
        pytest.skip("this kernel maps no vdso")
    assert image.build_id
    assert image.section(".dynsym") is not None


def test_symfs_at_the_root_brings_no_other_kernel_in(tmp_path: Path) -> None:
    # /proc/kallsyms is there, but it is this machine's, and the capture is of another kernel.
    options = SymbolOptions(symfs=Path("/"), build_id_cache=tmp_path, cache_dir=tmp_path, debug_dirs=())
    found = find_kernel(KernelIdentity(RECORDED), options)
    assert found.table is None
    assert RECORDED in found.reason
