"""Finds the symbols of the kernel that a capture was taken on.

In this order: under symfs (proc/kallsyms, vmlinux); the running kernel, if it is that very build; perf's build-id cache
(its copy of kallsyms, or a vmlinux); a vmlinux in the debug folders. A kernel is put elsewhere in memory at each boot
(KASLR): `KernelIdentity.reference` says where it was, and addresses are moved by the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perfkit.ingest.symbols import running
from perfkit.ingest.symbols.elf import ElfFile
from perfkit.ingest.symbols.elf_symbols import elf_symbol_table, symbol_address
from perfkit.ingest.symbols.kallsyms import REFERENCES, Kallsyms, parse_kallsyms
from perfkit.ingest.symbols.locate import Found, open_module
from perfkit.ingest.symbols.options import KernelIdentity, SymbolOptions, same_build_id
from perfkit.ingest.symbols.table import SymbolTable

_MAX_KALLSYMS = 256 << 20
_UNPLACED = "the capture does not say where its kernel lay in memory; it was taken to lie where this table has it"


@dataclass(slots=True)
class KernelSymbols:
    """`table` by the addresses of the capture; None where nothing fits, and `reason` says why. `problems` are (issue
    code, detail).
    """

    table: SymbolTable | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)
    reason: str = ""


def find_kernel(kernel: KernelIdentity, options: SymbolOptions) -> KernelSymbols:
    """The symbols of the kernel, its modules included where the table is of the same boot."""
    found = KernelSymbols()
    for symbols, origin in _lists(kernel, options, found):
        if symbols.is_hidden:
            found.problems.append(
                (
                    "kernel_symbols_hidden",
                    f"{origin} shows no addresses to this user: `sysctl kernel.kptr_restrict=0`, or read it as root",
                )
            )
            continue
        if symbols.damaged:
            found.problems.append(("bad_symbol_file", f"{origin}: {symbols.damaged} lines are not symbols"))
        known = dict(zip(REFERENCES, symbols.references.tolist(), strict=True))
        found.table = symbols.table(_delta(kernel, known, options, found))
        return found
    for file in _images(kernel, options, found):
        known = {name: symbol_address(file, name) or 0 for name in REFERENCES}
        table, damage = elf_symbol_table(file, by_address=True)
        if damage:
            found.problems.append(("bad_symbol_file", f"{file.path}: {damage}"))
        if len(table):
            found.table = table.moved(_delta(kernel, known, options, found, is_image=True))
            return found
    found.reason = found.problems[-1][1] if found.problems else _why_not(kernel)
    return found


def _delta(
    kernel: KernelIdentity,
    known: dict[str, int],
    options: SymbolOptions,
    found: KernelSymbols,
    *,
    is_image: bool = False,
) -> int:
    """How much higher the recorded kernel lay than the table has it."""
    if kernel.reference is not None and known.get(kernel.reference[0]):
        return kernel.reference[1] - known[kernel.reference[0]]
    if is_image or not options.is_local:
        found.problems.append(("kernel_relocation_unknown", _UNPLACED))
    return 0


def _lists(
    kernel: KernelIdentity, options: SymbolOptions, found: KernelSymbols
) -> Iterator[tuple[Kallsyms, str | Path]]:
    copied = options.symfs / "proc/kallsyms" if options.symfs is not None else None
    if copied is not None and not _is_running(copied):
        for symbols, path in _read(copied):
            found.problems.append(
                ("build_id_unrecorded", f"{path} does not say which kernel it is of; it was taken for the recorded one")
            )
            yield symbols, path
    current = running.kernel_build_id()
    if same_build_id(kernel.build_id, current) if kernel.build_id else options.is_local:
        try:
            yield running.kallsyms(options.cache_folder()), running.KALLSYMS
        except OSError as error:
            found.problems.append(("bad_symbol_file", f"{running.KALLSYMS}: {error.strerror}"))
    if kernel.build_id:
        yield from _read(options.build_id_folder(kernel.build_id) / "kallsyms")


def _is_running(path: Path) -> bool:
    """Whether a path below symfs is this machine's own /proc/kallsyms (symfs is /), which is used only if its kernel
    is the recorded one.
    """
    try:
        return path.samefile(running.KALLSYMS)
    except OSError:
        return False


def _read(path: Path) -> Iterator[tuple[Kallsyms, Path]]:
    try:
        if path.is_file():
            with open(path, "rb") as stream:
                yield parse_kallsyms(stream.read(_MAX_KALLSYMS)), path
    except OSError:
        pass


def _images(kernel: KernelIdentity, options: SymbolOptions, found: KernelSymbols) -> Iterator[ElfFile]:
    paths = [] if options.symfs is None else [options.symfs / "vmlinux", *(options.symfs / "boot").glob("vmlinux-*")]
    if kernel.build_id:
        folder = options.build_id_folder(kernel.build_id)
        paths += [folder / "vmlinux", folder / "elf", folder / "debug"]
        paths += options.debug_paths(f".build-id/{kernel.build_id[:2]}/{kernel.build_id[2:]}.debug")
    for path in paths:
        opened = Found()
        file = open_module(path, kernel.build_id, opened)
        found.problems += opened.problems
        if file is not None:
            yield file


def _why_not(kernel: KernelIdentity) -> str:
    if kernel.build_id is None:
        return "the capture does not say which kernel it was taken on"
    return f"no symbols of the kernel with build-id {kernel.build_id} were found; another kernel runs here"
