"""Names frames: a whole batch of the `frame` table at a time, module by module.

    frames ── group by (module, build-id) ──▶ addresses ── look up ──▶ symbols hit ── read, demangle ──▶ names

Each name is read and demangled once, however many frames bear it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perfkit.adapters.contract import IssueLog
from perfkit.ingest.symbols.demangle import demangle
from perfkit.ingest.symbols.kernel import find_kernel
from perfkit.ingest.symbols.modules import Module, load_module
from perfkit.ingest.symbols.options import KernelIdentity, SymbolOptions

__all__ = ["KernelIdentity", "SymbolOptions", "Symboliser"]

UNKNOWN = "[unknown]"
_OUTSIDE = "its symbols do not cover these addresses"
_NO_MODULE = "no mapping covers these addresses"
_KERNEL_IMAGE = "[kernel"
_GUEST = ("guest_user", "guest_kernel", "hypervisor")


class _Group(NamedTuple):
    """Rows of one module."""

    module: str | None
    build_id: str | None
    kind: str
    rows: NDArray[np.int64]


class Symboliser:
    """Names frames, and keeps the symbol tables it has read for the next batch. `reasons` says for each module with
    unnamed frames why, for whoever weighs them by samples.
    """

    def __init__(self, options: SymbolOptions | None = None) -> None:
        self.options = options or SymbolOptions()
        self.reasons: dict[str, str] = {}
        self._modules: dict[tuple[str, str | None], Module] = {}
        self._kernels: dict[KernelIdentity, Module] = {}

    def name_frames(
        self, frames: pa.RecordBatch, issues: IssueLog, *, kernel: KernelIdentity | None = None
    ) -> pa.RecordBatch:
        """The same rows of `frame` in the same order, with `function` and `system_name` filled in where `function` is
        null. What cannot be named reads `[module]` or `[unknown]` and is counted in `issues` as `unnamed_frames`.

        `kernel` says more of the recorded kernel than the frames do. Never raises for what a symbol file holds.
        """
        todo = np.flatnonzero(frames.column("function").is_null().to_numpy(zero_copy_only=False))
        if not len(todo):
            return frames
        names = _Names(frames.num_rows)
        address = _lookup_addresses(frames)
        groups = list(_groups(frames, todo))
        identity = _kernel_identity(groups, kernel or KernelIdentity())
        used: dict[str, Module] = {}
        for group in groups:
            module = self._module(group, identity)
            hits = module.table.find(address[group.rows])
            hits = names.add(group, hits, module)
            self._count_unnamed(group, hits, module, issues)
            used["[kernel]" if group.kind == "kernel" else group.module or UNKNOWN] = module
        _report(used, issues)
        return names.fill(frames, todo)

    def _module(self, group: _Group, kernel: KernelIdentity) -> Module:
        if group.kind == "kernel":
            return self._kernel(kernel)
        if group.kind in _GUEST:
            return Module(reason="symbols of guests and hypervisors are not read")
        if group.module is None:
            return Module(reason=_NO_MODULE)
        key = (group.module, group.build_id)
        if key not in self._modules:
            self._modules[key] = load_module(group.module, group.build_id, self.options)
        return self._modules[key]

    def _kernel(self, kernel: KernelIdentity) -> Module:
        if kernel not in self._kernels:
            found = find_kernel(kernel, self.options)
            self._kernels[kernel] = Module(reason=found.reason, problems=found.problems)
            if found.table is not None:
                self._kernels[kernel].table = found.table
        return self._kernels[kernel]

    def _count_unnamed(self, group: _Group, hits: NDArray[np.int64], module: Module, issues: IssueLog) -> None:
        missed = int(np.count_nonzero(hits < 0))
        if not missed:
            return
        subject = group.module or UNKNOWN
        reason = module.reason or _OUTSIDE
        self.reasons[subject] = reason
        severity = "info" if reason in {_OUTSIDE, _NO_MODULE} else "warning"
        issues.add("unnamed_frames", severity, f"{subject}: {reason}", count=missed, subject=subject)


class _Names:
    """Collects the name of each row as an index, so that each name is demangled and written once."""

    def __init__(self, row_count: int) -> None:
        self._index = np.full(row_count, -1)
        self._names: list[str] = []
        self._mangled: set[str] = set()

    def add(self, group: _Group, hits: NDArray[np.int64], module: Module) -> NDArray[np.int64]:
        """Name the rows of a group by the symbols that were hit, and by the module where none was. Returns the hits
        that gave a name, -1 elsewhere.
        """
        symbols, index = np.unique(hits, return_inverse=True)
        named = symbols >= 0
        # A damaged string table can leave a symbol without a name.
        read = module.table.names(symbols[named])
        found = [name or _placeholder(group.module) for name in read]
        if group.kind != "kernel":  # whose names are never mangled, even where one looks so
            self._mangled.update(found)
        self._index[group.rows] = index + len(self._names)
        self._names += [] if named.all() else [_placeholder(group.module)]
        self._names += found
        nameless = symbols[named][[not name for name in read]]
        return np.where(np.isin(hits, nameless), -1, hits) if len(nameless) else hits

    def fill(self, frames: pa.RecordBatch, todo: NDArray[np.int64]) -> pa.RecordBatch:
        """The frames with the names in."""
        readable = demangle(self._mangled)
        functions = [readable.get(name, name) for name in self._names]
        linked = [name if name in readable else None for name in self._names]
        is_todo = np.zeros(frames.num_rows, bool)
        is_todo[todo] = True
        for name, values in (("function", functions), ("system_name", linked)):
            at = frames.schema.get_field_index(name)
            filled = _encode(self._index, values)
            if not is_todo.all():
                filled = pc.if_else(pa.array(is_todo), filled.dictionary_decode(), frames.column(at))
            frames = frames.set_column(at, frames.schema.field(at).with_type(filled.type), filled)
        return frames


def _encode(index: NDArray[np.int64], values: Sequence[str | None]) -> pa.DictionaryArray:
    """`values[i]` of each row's index `i`, null where it is negative, each name kept once."""
    distinct: dict[str, int] = {}
    numbers = np.array(
        [-1 if value is None else distinct.setdefault(value, len(distinct)) for value in values] + [-1], np.int32
    )
    rows = numbers[index]
    return pa.DictionaryArray.from_arrays(pa.array(rows, mask=rows < 0), pa.array(list(distinct), pa.string()))


def _placeholder(module: str | None) -> str:
    if module is None:
        return UNKNOWN
    name = module.removesuffix(" (deleted)")
    return name if name.startswith("[") else f"[{name.rstrip('/').rsplit('/', 1)[-1]}]"


def _report(used: dict[str, Module], issues: IssueLog) -> None:
    for subject, module in used.items():
        for code, detail in module.problems:
            severity = "info" if code == "build_id_unrecorded" else "warning"
            issues.add(code, severity, detail, subject=subject)
    unverified = [name for name, module in used.items() if module.unverified]
    if unverified:
        detail = f"no build-id was recorded of {unverified[0]}{' and others' * (len(unverified) > 1)}; "
        issues.add(
            "build_id_unrecorded", "info", detail + "what lies there now was taken for it", count=len(unverified)
        )


def _lookup_addresses(frames: pa.RecordBatch) -> NDArray[np.uint64]:
    """Where to look each frame up: before a return address lies the call, which may end its function."""
    address = frames.column("address").fill_null(2**64 - 1).to_numpy(zero_copy_only=False)
    is_caller = frames.column("is_caller").fill_null(False).to_numpy(zero_copy_only=False)
    result: NDArray[np.uint64] = address - (is_caller & (address > 0)).astype(np.uint64)
    return result


def _groups(frames: pa.RecordBatch, todo: NDArray[np.int64]) -> Iterator[_Group]:
    key = np.zeros(len(todo), np.int64)
    values: list[list[str | None]] = []
    for name in ("module", "build_id", "kind"):
        column = frames.column(name)
        column = (column if len(todo) == len(column) else column.take(pa.array(todo))).dictionary_encode()
        values.append([*column.dictionary.to_pylist(), None])
        index = column.indices.fill_null(len(values[-1]) - 1).to_numpy(zero_copy_only=False)
        key = key * len(values[-1]) + index
    modules, build_ids, kinds = values
    order = np.argsort(key, kind="stable")
    cuts = np.flatnonzero(np.diff(key[order])) + 1
    for part in np.split(order, cuts):
        rest, kind = divmod(int(key[part[0]]), len(kinds))
        module, build_id = divmod(rest, len(build_ids))
        yield _Group(modules[module], build_ids[build_id] or None, kinds[kind] or "", todo[part])


def _kernel_identity(groups: list[_Group], kernel: KernelIdentity) -> KernelIdentity:
    if kernel.build_id is not None:
        return kernel
    known = (g.build_id for g in groups if g.kind == "kernel" and (g.module or "").startswith(_KERNEL_IMAGE))
    return replace(kernel, build_id=next((build_id for build_id in known if build_id), None))
