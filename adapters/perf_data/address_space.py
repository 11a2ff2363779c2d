"""What is mapped where, in each process over time, and which module and offset an address means.

A process's address space gets a new id when what an address means changes: at exec, and when a file is mapped over
part of another one. Mappings that only add to it do not, so that nearly all processes have one space for life, and a
callchain means the same wherever (space, addresses) are the same.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

type_uint64 = NDArray[np.uint64]
type_int32 = NDArray[np.int32]
Mapped = tuple[int, int, int, str, str | None]
"""start, end, file offset of start, path, build-id"""

KERNEL = "[kernel.kallsyms]"
GUEST_KERNEL = "[guest.kernel.kallsyms]"
_ANONYMOUS = ("//anon", "/dev/zero", "/anon_hugepage", "[anon")
_NO_FILE = ("[stack", "/SYSV", "[heap]")


class Module(NamedTuple):
    """Code that addresses are relative to: a file, the kernel, or a process's run-time code."""

    name: str
    build_id: str | None
    is_jit: bool


class _Region(NamedTuple):
    start: int
    end: int
    delta: int
    """what to add to an address, modulo 2**64, to get its place in the module"""
    module: int


class AddressSpaces:
    """All address spaces of a capture; `modules[i]` is what a region's module number means."""

    def __init__(self) -> None:
        self.modules: list[Module] = []
        self.of_process: dict[int, list[tuple[int, int]]] = {}
        """(from when, space) spans of each process, in time order"""
        self._module_ids: dict[Module, int] = {}
        self._regions: list[list[_Region]] = []
        self._kernel: list[_Region] = []
        self._guest_kernel: list[_Region] = []
        self._arrays: dict[int, tuple[type_uint64, type_uint64, type_uint64, type_int32]] = {}
        self.kernel_module = self.module_id(Module(KERNEL, None, False))
        self.guest_kernel_module = self.module_id(Module(GUEST_KERNEL, None, False))

    def module_id(self, module: Module) -> int:
        """The number of a module."""
        if module not in self._module_ids:
            self._module_ids[module] = len(self.modules)
            self.modules.append(module)
        return self._module_ids[module]

    def begin(self, upid: int, time: int) -> None:
        """A process comes to life with nothing mapped."""
        self.of_process[upid] = [(time, self._new_space([]))]

    def fork(self, parent: int, child: int, time: int) -> None:
        """A child starts with what its parent has mapped."""
        self.of_process[child] = [(time, self._new_space(list(self._regions[self._current(parent)])))]

    def renew(self, upid: int, time: int) -> None:
        """Exec: what is mapped from `time` on is not there for what was sampled before. What was mapped stays, until
        something is mapped over it: samples on the way from exec to the first mapping still return to the old program.
        """
        if regions := self._regions[self._current(upid)]:
            self.of_process[upid].append((time, self._new_space(list(regions))))

    def map(self, upid: int, pid: int, mapped: Mapped, *, time: int, executable: bool) -> None:
        """Map a file (or anonymous memory) into a process."""
        start, end, offset, path, build_id = mapped
        if end <= start:
            return
        region: _Region | None = None
        if not path.startswith((*_ANONYMOUS, *_NO_FILE)):
            region = _Region(start, end, offset - start & 2**64 - 1, self.module_id(Module(path, build_id, False)))
        elif executable:
            # Code made at run time; its names come from a map file, by absolute address (perf: map__new).
            region = _Region(start, end, 0, self.module_id(Module(f"/tmp/perf-{pid}.map", None, True)))  # noqa: S108
        regions = self._regions[self._current(upid)]
        meaning = None if region is None else (region.delta, region.module)
        changed = any((old.delta, old.module) != meaning for old in _overlapping(regions, start, end))
        if changed and time > 0:
            regions = list(regions)
            self.of_process[upid].append((time, self._new_space(regions)))
        if region is not None:
            _insert(regions, region)
        elif changed:
            _cut(regions, start, end)

    def map_kernel(self, start: int, length: int, path: str, build_id: str | None, *, is_guest: bool) -> None:
        """Note the kernel itself or a kernel module. The kernel's own mapping names everything no module claims."""
        if path.startswith(("[kernel", "[guest.kernel")):
            if build_id:
                own = self.guest_kernel_module if is_guest else self.kernel_module
                self.modules[own] = self.modules[own]._replace(build_id=build_id)
            return
        if not length:
            return
        name = path.rsplit("/", 1)[-1]
        if name.endswith((".ko", ".ko.gz", ".ko.xz", ".ko.zst")):
            # perf shows modules by the name the kernel gives them: dashes become underscores.
            name = f"[{name.split('.ko')[0].replace('-', '_')}]"
        module = self.module_id(Module(name, build_id, False))
        _insert(
            self._guest_kernel if is_guest else self._kernel, _Region(start, min(start + length, 2**64 - 1), 0, module)
        )

    def add_kernel_code(self, start: int, length: int, name: str) -> None:
        """Note code that the kernel loaded at run time (a BPF program), so that it is told from the kernel's own."""
        if length:
            end = min(start + length, 2**64 - 1)
            _insert(self._kernel, _Region(start, end, 0, self.module_id(Module(name, None, False))))

    def set_build_ids(self, build_ids: dict[str, str]) -> None:
        """Give modules the build-ids that the capture's header lists for their files; what an MMAP2 record said of a
        mapping itself stands.
        """
        for index, module in enumerate(self.modules):
            if module.build_id is None and not module.is_jit and module.name in build_ids:
                self.modules[index] = module._replace(build_id=build_ids[module.name])

    def resolve(self, space: int, addresses: type_uint64) -> tuple[type_int32, type_uint64]:
        """Module number (-1 where nothing is mapped) and place in the module of user addresses of one space."""
        return self._lookup(space, self._regions[space], addresses)

    def resolve_kernel(self, addresses: type_uint64, *, is_guest: bool) -> tuple[type_int32, type_uint64]:
        """The same for kernel addresses, which stay absolute; what no module claims is the kernel's own."""
        regions = self._guest_kernel if is_guest else self._kernel
        modules, _ = self._lookup(-2 if is_guest else -1, regions, addresses)
        own = self.guest_kernel_module if is_guest else self.kernel_module
        return np.where(modules < 0, np.int32(own), modules), addresses

    def _lookup(self, key: int, regions: list[_Region], addresses: type_uint64) -> tuple[type_int32, type_uint64]:
        if not regions:
            return np.full(len(addresses), -1, np.int32), addresses
        if key not in self._arrays:
            self._arrays[key] = (
                np.array([r.start for r in regions], np.uint64),
                np.array([r.end for r in regions], np.uint64),
                np.array([r.delta for r in regions], np.uint64),
                np.array([r.module for r in regions], np.int32),
            )
        starts, ends, deltas, modules = self._arrays[key]
        at = np.searchsorted(starts, addresses, side="right") - 1
        inside = (at >= 0) & (addresses < ends[at])
        return (
            np.where(inside, modules[at], np.int32(-1)),
            np.where(inside, addresses + deltas[at], addresses),
        )

    def _new_space(self, regions: list[_Region]) -> int:
        self._regions.append(regions)
        return len(self._regions) - 1

    def _current(self, upid: int) -> int:
        return self.of_process[upid][-1][1]


def _overlapping(regions: list[_Region], start: int, end: int) -> list[_Region]:
    first = bisect_left(regions, (start,))
    if first and regions[first - 1].end > start:
        first -= 1
    last = bisect_left(regions, (end,))
    return regions[first:last]


def _insert(regions: list[_Region], region: _Region) -> None:
    """Put a region in, cutting away what it covers (as maps__fixup_overlappings does)."""
    _cut(regions, region.start, region.end)
    regions.insert(bisect_left(regions, region), region)


def _cut(regions: list[_Region], start: int, end: int) -> None:
    """Leave nothing between two addresses."""
    for old in _overlapping(regions, start, end):
        at = bisect_left(regions, old)
        pieces = []
        if old.start < start:
            pieces.append(old._replace(end=start))
        if old.end > end:
            pieces.append(old._replace(start=end))
        regions[at : at + 1] = pieces
