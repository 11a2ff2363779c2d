"""Loads the symbol table of one module, wherever its kind of symbols comes from."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from perfkit.ingest.symbols import running
from perfkit.ingest.symbols.elf import ElfFile
from perfkit.ingest.symbols.elf_symbols import elf_symbol_table
from perfkit.ingest.symbols.locate import find_files
from perfkit.ingest.symbols.options import SymbolOptions, same_build_id
from perfkit.ingest.symbols.perf_map import parse_perf_map
from perfkit.ingest.symbols.table import EMPTY, SymbolTable

_PERF_MAP = re.compile(r"/perf-\d+\.map$")
_VDSO = ("[vdso]", "[vdso32]", "[vdsox32]")
_ASSUMED = "where the program's file had its code was taken from the distances between addresses"
_MAX_PERF_MAP = 512 << 20


@dataclass(slots=True)
class Module:
    """A module's symbols, by file offset for ELF files and by absolute address for perf maps. `reason` says why the
    table is empty, if it is; `problems` are (issue code, detail); `unverified`: its build was not compared.
    """

    table: SymbolTable = field(default_factory=lambda: EMPTY)
    reason: str = ""
    problems: list[tuple[str, str]] = field(default_factory=list)
    unverified: bool = False


def is_perf_map(module: str) -> bool:
    """Whether code of this module is described by a run-time compiler's perf-PID.map."""
    return _PERF_MAP.search(module) is not None


def load_module(module: str, build_id: str | None, options: SymbolOptions) -> Module:
    """The symbols of the module recorded under this name and build-id. Never raises: what goes wrong is in it."""
    if is_perf_map(module):
        return _load_perf_map(module, options)
    if module in _VDSO:
        image = running.vdso()
        if image is not None and (same_build_id(build_id, image.build_id) if build_id else options.is_local):
            return _from_elf(image, [], Module())
    found = find_files(module, build_id, options)
    loaded = Module(reason=found.reason, problems=found.problems)
    if found.program is None:
        return loaded
    loaded.unverified = build_id is None
    if found.program.has_assumed_layout:
        loaded.problems.append(("assumed_layout", f"{module}: only its separate debug file was found; {_ASSUMED}"))
    return _from_elf(found.program, found.debug_files, loaded)


def _from_elf(program: ElfFile, debug_files: list[ElfFile], loaded: Module) -> Module:
    try:
        loaded.table, damage = elf_symbol_table(program, debug_files)
    except (ValueError, IndexError, OverflowError, MemoryError) as error:
        # Every field is held against the file before use; should one slip through, it costs this module's names only.
        damage = f"{program.path}: {error}"
    if damage:
        loaded.problems.append(("bad_symbol_file", damage))
    if not len(loaded.table):
        loaded.reason = damage or "its file has no symbols"
    return loaded


def _load_perf_map(module: str, options: SymbolOptions) -> Module:
    loaded = Module(reason="its run-time compiler's perf map was not found")
    for path in _perf_map_paths(module, options):
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                continue
            with open(path, "rb") as stream:
                content = stream.read(_MAX_PERF_MAP)
                is_whole = not stream.read(1)
        except (OSError, ValueError):
            continue
        if not is_whole:
            content = content[: content.rfind(b"\n") + 1]
            loaded.problems.append(("bad_symbol_file", f"{path}: only its first {_MAX_PERF_MAP >> 20} MiB were read"))
        loaded.table, damaged = parse_perf_map(content)
        if damaged:
            loaded.problems.append(("bad_symbol_file", f"{path}: {damaged} lines are not `start size name`"))
        loaded.reason = "" if len(loaded.table) else f"{path} holds no symbols"
        break
    return loaded


def _perf_map_paths(module: str, options: SymbolOptions) -> list[Path]:
    kept = options.perf_map_dir / Path(module).name
    if options.symfs is not None:
        # A map of this machine belongs to a process of this machine, unless the user put it there for this capture.
        is_default = options.perf_map_dir == SymbolOptions().perf_map_dir
        return [options.symfs / module.lstrip("/")] + ([] if is_default else [kept])
    return [kept, Path(module)]
