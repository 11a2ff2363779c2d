"""Adds samples up by function while a capture passes by, so that the hottest functions are known without counting.

    samples ──▶ self weight of each stack node ──┐
    stacks  ──▶ depth-first ranks ───────────────┴─▶ running sum ──▶ total of each node ──▶ by function

In depth-first order a node's subtree is a run of nodes, so its total is the difference of two running sums. A
function's total adds up its outermost nodes only: recursion counts once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, batch

type_int64 = NDArray[np.int64]
Function = tuple[str | None, str | None, str]
"""function, module, kind"""


@dataclass(slots=True)
class _Tally:
    """Weights of one metric: by stack node, and of samples without a stack."""

    self_value: type_int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    self_samples: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    bare_value: int = 0
    bare_samples: int = 0

    def add(self, nodes: type_int64, values: type_int64) -> None:
        needed = int(nodes.max()) + 1
        if needed > len(self.self_value):
            more = max(needed, len(self.self_value) * 5 // 4) - len(self.self_value)
            self.self_value = np.concatenate([self.self_value, np.zeros(more, np.int64)])
            self.self_samples = np.concatenate([self.self_samples, np.zeros(more, np.int32)])
        np.add.at(self.self_value, nodes, values)
        np.add.at(self.self_samples, nodes, np.int32(1))


class FunctionWeights:
    """Watches the batches of one capture; `to_batch` gives `function_weight` once all have passed."""

    def __init__(self) -> None:
        self._tallies: dict[int, _Tally] = {}
        self._functions: dict[Function, int] = {}
        self._frames: list[tuple[type_int64, type_int64]] = []
        self._stacks: list[pa.RecordBatch] = []

    def watch(self, item: Batch) -> None:
        """Take note of a batch, whichever table it is of."""
        if not item.data.num_rows:
            return
        if item.table == "sample":
            self._add_samples(item.data)
        elif item.table == "frame":
            self._add_frames(item.data)
        elif item.table == "stack":
            self._stacks.append(item.data.select(["stack_id", "frame_id", "tree_enter", "tree_leave", "is_recursive"]))

    def to_batch(self) -> Batch | None:
        """Rows of `function_weight`; None for a capture without samples."""
        if not self._tallies:
            return None
        columns: dict[str, list[NDArray[np.generic]]] = {}
        nodes = self._nodes()
        for metric, tally in sorted(self._tallies.items()):
            for name, values in self._by_function(metric, tally, nodes).items():
                columns.setdefault(name, []).append(values)
        merged = {name: np.concatenate(parts) for name, parts in columns.items()}
        numbers = merged.pop("function")
        functions: list[Function] = [*self._functions, (None, None, "unknown")]
        return batch(
            "function_weight",
            function=[functions[number][0] for number in numbers.tolist()],
            module=[functions[number][1] for number in numbers.tolist()],
            kind=[functions[number][2] for number in numbers.tolist()],
            **merged,
        )

    def _add_samples(self, data: pa.RecordBatch) -> None:
        values = data.column("value").to_numpy()
        metrics = data.column("metric_id").to_numpy()
        nodes = data.column("stack_id").fill_null(-1).to_numpy()
        for metric in np.flatnonzero(np.bincount(metrics)).tolist():
            rows = slice(None) if len(metrics) and (metrics == metric).all() else np.flatnonzero(metrics == metric)
            tally = self._tallies.setdefault(metric, _Tally())
            of_metric, weights = nodes[rows], values[rows]
            bare = of_metric < 0
            if bare.any():
                tally.bare_value += int(weights[bare].sum())
                tally.bare_samples += int(bare.sum())
                of_metric, weights = of_metric[~bare], weights[~bare]
            if len(of_metric):
                tally.add(of_metric, weights)

    def _add_frames(self, data: pa.RecordBatch) -> None:
        columns = [data.column(name).dictionary_encode() for name in ("function", "module", "kind")]
        codes = [column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) for column in columns]
        names = [[*column.dictionary.to_pylist(), None] for column in columns]
        combined = (codes[0] + 1 << 40) | (codes[1] + 1 << 8) | codes[2]
        distinct, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
        numbers = np.empty(len(distinct), np.int64)
        for index, row in enumerate(first.tolist()):
            name, module, kind = (part[code[row]] for part, code in zip(names, codes, strict=True))
            numbers[index] = self._functions.setdefault((name, module, kind), len(self._functions))
        self._frames.append((data.column("frame_id").to_numpy(), numbers[inverse]))

    def _nodes(self) -> dict[str, type_int64]:
        """All nodes in depth-first order: id, function, last rank below, whether recursive."""
        if not self._stacks:
            return {name: np.zeros(0, np.int64) for name in ("stack_id", "function", "leave", "recursive")}
        table = pa.Table.from_batches(self._stacks)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        order: type_int64 | slice = slice(None)
        if not _is_range(columns["tree_enter"]):
            order = np.argsort(columns["tree_enter"], kind="stable")
        function_of_frame = np.zeros(1 + max(int(ids.max()) for ids, _ in self._frames), np.int32)
        for ids, numbers in self._frames:
            function_of_frame[ids] = numbers
        return {
            "stack_id": columns["stack_id"][order],
            "function": function_of_frame[columns["frame_id"][order]],
            "leave": columns["tree_leave"][order],
            "recursive": columns["is_recursive"][order],
        }

    def _by_function(self, metric: int, tally: _Tally, nodes: dict[str, type_int64]) -> dict[str, type_int64]:
        count = len(self._functions)
        function, recursive = nodes["function"], nodes["recursive"].astype(bool)
        out: dict[str, type_int64] = {}
        for unit, by_node in (("", tally.self_value), ("_samples", tally.self_samples)):
            padded = np.zeros(max(len(by_node), int(nodes["stack_id"].max(initial=-1)) + 1), np.int64)
            padded[: len(by_node)] = by_node
            own = padded[nodes["stack_id"]]
            out[f"self{unit}"] = _sum_by(function, own, count)
            running = np.cumsum(own)
            own -= running
            del running  # trees are large: no more of these columns at a time than needed
            own += np.cumsum(padded[nodes["stack_id"]])[nodes["leave"]]
            if unit:
                out["frame_samples"] = _sum_by(function, own, count)
            own[recursive] = 0
            out[f"total{unit}"] = _sum_by(function, own, count)
        used = np.flatnonzero(out["frame_samples"])
        result = {name: values[used] for name, values in out.items()}
        result |= {"function": used, "metric_id": np.full(len(used), metric)}
        if tally.bare_samples:
            value, number = tally.bare_value, tally.bare_samples
            bare = {"self": value, "total": value, "self_samples": number, "total_samples": number}
            bare |= {"frame_samples": 0, "function": count, "metric_id": metric}
            result = {name: np.append(values, bare[name]) for name, values in result.items()}
        return result


def _is_range(values: NDArray[np.int32]) -> bool:
    """Whether the values are 0, 1, 2 …: the rows of a tree that came in depth-first order."""
    return bool(len(values) == 0 or (values[0] == 0 and (np.diff(values) == 1).all()))


def _sum_by(groups: type_int64, values: type_int64, count: int) -> type_int64:
    """Sums of `values` by group, int64 [count]; `np.bincount` would add in floating point."""
    out = np.zeros(count, np.int64)
    np.add.at(out, groups, values)
    return out
