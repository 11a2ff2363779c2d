from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support import captures

from perfkit.ingest.symbols.elf import ElfFile
from perfkit.ingest.symbols.locate import find_files
from perfkit.ingest.symbols.options import SymbolOptions, same_build_id

pytestmark = pytest.mark.skipif(shutil.which("objcopy") is None, reason="binutils is not installed")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "truth"
    path.parent.mkdir()
    shutil.copy(captures("workloads", "truth"), path)
    path.chmod(0o755)
    return path


@pytest.fixture
def options(tmp_path: Path) -> SymbolOptions:
    return SymbolOptions(debug_dirs=(tmp_path / "debug",), build_id_cache=tmp_path / "cache")


def build_id_of(path: Path) -> str:
    build_id = ElfFile.open(path).build_id
    assert build_id is not None
    return build_id


def split(program: Path, *, link: bool = False) -> Path:
    """Take the symbols off a program, into a file of their own."""
    debug = program.with_suffix(".debug")
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    debug.chmod(0o644)
    add = [f"--add-gnu-debuglink={debug}"] if link else []
    subprocess.run(["objcopy", "--strip-all", *add, program], check=True)
    return debug


def test_the_recorded_path_is_taken_if_the_build_is_the_same(program: Path, options: SymbolOptions) -> None:
    found = find_files(str(program), build_id_of(program), options)
    assert found.program is not None
    assert found.program.path == program
    assert found.problems == []


def test_another_build_is_refused(program: Path, options: SymbolOptions) -> None:
    found = find_files(str(program), "ab" * 20, options)
    assert found.program is None
    assert [code for code, _ in found.problems] == ["build_id_mismatch"]
    assert build_id_of(program) in found.reason


def test_symfs_comes_first_and_excludes_unverified_files(program: Path, options: SymbolOptions, tmp_path: Path) -> None:
    root = tmp_path / "root"
    inside = SymbolOptions(symfs=root, debug_dirs=options.debug_dirs, build_id_cache=options.build_id_cache)
    assert find_files(str(program), None, inside).program is None
    copy = root / str(program).lstrip("/")
    copy.parent.mkdir(parents=True)
    shutil.copy(program, copy)
    found = find_files(str(program), None, inside)
    assert found.program is not None
    assert found.program.path == copy


@pytest.mark.parametrize("layout", ["elf", ""])
def test_the_build_id_cache_of_perf(program: Path, options: SymbolOptions, layout: str) -> None:
    build_id = build_id_of(program)
    place = options.build_id_folder(build_id) / layout
    place.parent.mkdir(parents=True)
    program.rename(place)
    found = find_files("/gone/truth", build_id, options)
    assert found.program is not None
    assert found.program.build_id == build_id


def test_a_stripped_program_finds_its_symbols_by_build_id(program: Path, options: SymbolOptions) -> None:
    build_id = build_id_of(program)
    debug = split(program)
    assert find_files(str(program), build_id, options).debug_files == []
    place = options.debug_dirs[0] / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    place.parent.mkdir(parents=True)
    debug.rename(place)
    assert [file.path for file in find_files(str(program), build_id, options).debug_files] == [place]
    off = SymbolOptions(use_debug_dirs=False, build_id_cache=options.build_id_cache)
    assert find_files(str(program), build_id, off).debug_files == []


@pytest.mark.parametrize("folder", [".", ".debug"])
def test_debuglink_beside_the_program(program: Path, options: SymbolOptions, folder: str) -> None:
    debug = split(program, link=True)
    place = program.parent / folder / debug.name
    place.parent.mkdir(exist_ok=True)
    debug.rename(place)
    assert [file.path for file in find_files(str(program), None, options).debug_files] == [place]


def test_debuglink_with_another_checksum_and_build_is_refused(program: Path, options: SymbolOptions) -> None:
    debug = split(program, link=True)
    shutil.copy(captures("workloads", "truth_pie"), debug)
    assert find_files(str(program), None, options).debug_files == []


def test_mini_debug_information(program: Path, options: SymbolOptions, tmp_path: Path) -> None:
    debug = split(program)
    packed = tmp_path / "packed"
    packed.write_bytes(lzma.compress(debug.read_bytes()))
    subprocess.run(["objcopy", f"--add-section=.gnu_debugdata={packed}", program], check=True)
    (file,) = find_files(str(program), None, options).debug_files
    assert file.section(".symtab") is not None
    packed.write_bytes(b"\xfd7zXZ\0 no such stream")
    subprocess.run(["objcopy", f"--update-section=.gnu_debugdata={packed}", program], check=True)
    found = find_files(str(program), None, options)
    assert found.debug_files == []
    assert [code for code, _ in found.problems] == ["bad_symbol_file"]


def test_a_debug_file_stands_in_for_a_program_that_is_gone(program: Path, options: SymbolOptions) -> None:
    build_id = build_id_of(program)
    debug = split(program)
    program.unlink()
    place = options.debug_dirs[0] / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    place.parent.mkdir(parents=True)
    debug.rename(place)
    found = find_files(str(program), build_id, options)
    assert found.program is not None
    assert found.program.has_assumed_layout


@pytest.mark.parametrize(
    "module", ["//anon", "[heap]", "[stack]", "/dev/zero", "/memfd:x (deleted)", "anon_inode:[io]"]
)
def test_what_is_no_file_is_not_looked_for(module: str) -> None:
    assert find_files(module, None, SymbolOptions()).reason == "no file holds its code"


@pytest.mark.parametrize("module", ["/proc/self/no", "relative", "/etc", "/nul\0l", "/etc/passwd"])
def test_nothing_usable_is_no_error(module: str) -> None:
    found = find_files(module, None, SymbolOptions())
    assert found.program is None
    assert found.reason


def test_padded_build_ids_are_the_same() -> None:
    assert same_build_id("ABCD" + "0" * 36, "abcd")
    assert not same_build_id("abcd01", "abcd")
    assert not same_build_id("abcd", None)
