"""Puts names to the frames that an adapter emits, and sees recursion by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, IssueLog
from perfkit.adapters.stack_tree import find_recursive
from perfkit.ingest.symbols.symboliser import KernelIdentity, Symboliser

type_int64 = NDArray[np.int64]


def name_frames(batches: Iterable[Batch], symboliser: Symboliser, issues: IssueLog) -> Iterator[Batch]:
    """The same batches, `frame` rows named. Where names were put in, a `stack` batch behind them has `is_recursive`
    judged by function instead of by address; an adapter that leaves frames unnamed emits its stacks in one batch.
    """
    functions: type_int64 | None = None
    kernel = KernelIdentity()
    for item in batches:
        if item.table == "mapping":
            kernel = _kernel_identity(item.data) or kernel
        if item.table == "frame" and item.data.column("function").null_count:
            named = symboliser.name_frames(item.data, issues, kernel=kernel)
            functions = function_numbers(named)
            yield Batch("frame", named)
        elif item.table == "stack" and functions is not None:
            yield Batch("stack", _judge_recursion(item.data, functions))
        else:
            yield item


def _kernel_identity(mappings: pa.RecordBatch) -> KernelIdentity | None:
    """What the kernel's own mapping says: perf names it after a reference symbol, whose address at that boot is the
    mapping's file offset (tools/perf/util/synthetic-events.c, perf_event__synthesize_kernel_mmap).
    """
    paths = mappings.column("path")
    for row in np.flatnonzero(pc.starts_with(paths, "[kernel.kallsyms]").to_numpy(zero_copy_only=False)).tolist():
        symbol = paths[row].as_py().removeprefix("[kernel.kallsyms]")
        address = mappings.column("file_offset")[row].as_py()
        reference = (symbol, address) if symbol and address else None
        return KernelIdentity(mappings.column("build_id")[row].as_py(), reference)
    return None


def function_numbers(frames: pa.RecordBatch) -> type_int64:
    """A number for each frame's function, the same where `(function, module)` agree; int64 [frames], by frame_id."""
    function, module = (
        frames.column(name).dictionary_encode().indices.fill_null(-1).to_numpy() for name in ("function", "module")
    )
    out = np.empty(len(function), np.int64)
    out[frames.column("frame_id").to_numpy()] = function.astype(np.int64) << 32 | module.astype(np.int64) + 1
    return out


def _judge_recursion(stacks: pa.RecordBatch, functions: type_int64) -> pa.RecordBatch:
    # Rows stand in depth-first order, so a node's row is its `tree_enter`; parents are looked up by that.
    ids = stacks.column("stack_id").to_numpy()
    rows = np.empty(len(ids), np.int32)
    rows[ids] = np.arange(len(ids), dtype=np.int32)
    parents = stacks.column("parent_id").fill_null(-1).to_numpy()
    parent_rows = np.where(parents < 0, np.int32(-1), rows[np.maximum(parents, 0)])
    recursive = find_recursive(parent_rows, functions[stacks.column("frame_id").to_numpy()])
    index = stacks.schema.get_field_index("is_recursive")
    return stacks.set_column(index, stacks.schema.field(index), pa.array(recursive))
