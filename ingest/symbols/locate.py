"""Finds the files that hold a module's symbols, and refuses those that belong to another build.

The program itself is sought under symfs, at its recorded path, and in perf's build-id cache. If it was stripped, the
file with its full symbol table is sought in the cache, by build-id in the debug folders, and by its `.gnu_debuglink`;
last comes the compressed table that Fedora leaves in `.gnu_debugdata`.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perfkit.ingest.symbols.elf import ElfFile
from perfkit.ingest.symbols.options import SymbolOptions, same_build_id
from perfkit.schema.errors import FormatError

_DELETED = " (deleted)"
_NO_FILE = ("[", "//", "anon_inode:", "/memfd:", "/dev/", "/SYSV", "/anon_hugepage")
_MAX_UNPACKED = 256 << 20


@dataclass(slots=True)
class Found:
    """The files of one module: `program` (or, where it is gone, a file with debug information that stands in for it)
    and `debug_files` with more symbols; `problems` as (issue code, detail); `reason` why there is no program.
    """

    program: ElfFile | None = None
    debug_files: list[ElfFile] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    reason: str = ""


def find_files(module: str, build_id: str | None, options: SymbolOptions) -> Found:
    """The files of the module recorded under this path and build-id (hex, None where it was not recorded)."""
    found = Found()
    path = module.removesuffix(_DELETED)
    if build_id is None and path.startswith(_NO_FILE):
        found.reason = "no file holds its code"
        return found
    found.program = _first(_program_paths(path, build_id, options, is_gone=path != module), build_id, found)
    wanted = build_id or (found.program.build_id if found.program else None)
    if found.program is None or found.program.section(".symtab") is None:
        debug = _debug_file(found, wanted, options)
        if found.program is None:
            found.program = debug
        elif debug is not None:
            found.debug_files.append(debug)
    if found.program is None:
        found.reason = found.problems[-1][1] if found.problems else "its file was not found"
    return found


def open_module(path: Path, build_id: str | None, found: Found) -> ElfFile | None:
    """The ELF file at `path` if it is one, and of this build; else None, and why in `found.problems`."""
    try:
        file = ElfFile.open(path)
    except FormatError as error:
        found.problems.append(("bad_symbol_file", error.message))
        return None
    except (OSError, ValueError):  # a path with a NUL in it is a ValueError
        return None
    if build_id is not None and not same_build_id(build_id, file.build_id):
        has = f"build-id {file.build_id}" if file.build_id else "no build-id"
        found.problems.append(("build_id_mismatch", f"{path} has {has}, but {build_id} was recorded; it was not used"))
        return None
    return file


def _first(paths: Iterator[Path], build_id: str | None, found: Found) -> ElfFile | None:
    before = len(found.problems)
    for path in paths:
        file = open_module(path, build_id, found)
        if file is not None:
            del found.problems[before:]  # another copy was the right one
            return file
    return None


def _program_paths(path: str, build_id: str | None, options: SymbolOptions, *, is_gone: bool) -> Iterator[Path]:
    if path.startswith("/"):
        if options.symfs is not None:
            yield options.symfs / path.lstrip("/")
        # A file that was deleted since, or one outside symfs, is another file unless its build-id says otherwise.
        if build_id is not None or not (is_gone or options.symfs):
            yield Path(path)
    if build_id is not None:
        folder = options.build_id_folder(build_id)
        yield from (folder / "elf", folder / "vdso", folder)  # perf before 4.6 linked the file itself


def _debug_file(found: Found, build_id: str | None, options: SymbolOptions) -> ElfFile | None:
    before = len(found.problems)
    for path in _debug_paths(build_id, options):
        file = open_module(path, build_id, found)
        if file is not None and file.section(".symtab") is not None:
            del found.problems[before:]
            return file
    if found.program is None:
        return None
    return _by_debuglink(found.program, options) or _unpack(found.program, found)


def _debug_paths(build_id: str | None, options: SymbolOptions) -> Iterator[Path]:
    if build_id is not None:
        yield options.build_id_folder(build_id) / "debug"
        yield from options.debug_paths(f".build-id/{build_id[:2]}/{build_id[2:]}.debug")


def _by_debuglink(program: ElfFile, options: SymbolOptions) -> ElfFile | None:
    if program.debuglink is None:
        return None
    name, checksum = program.debuglink
    name = os.path.basename(name)  # noqa: PTH119  a bare name by the specification, so nothing else is followed
    folder = program.path.parent
    paths = [folder / name, folder / ".debug" / name]
    paths += options.debug_paths(f"{str(folder).lstrip('/')}/{name}")
    for path in paths:
        file = open_module(path, None, Found())
        if file is None or file.section(".symtab") is None or file.path == program.path:
            continue
        is_same_build = program.build_id is not None and program.build_id == file.build_id
        if is_same_build or zlib.crc32(file.data) == checksum:
            return file
    return None


def _unpack(program: ElfFile, found: Found) -> ElfFile | None:
    section = program.section(".gnu_debugdata")
    if section is None:
        return None
    try:
        content = lzma.LZMADecompressor(memlimit=_MAX_UNPACKED).decompress(program.content(section), _MAX_UNPACKED)
        return ElfFile(content, program.path)
    except (lzma.LZMAError, EOFError, FormatError) as error:
        found.problems.append(("bad_symbol_file", f"{program.path}: .gnu_debugdata: {error}"))
        return None
