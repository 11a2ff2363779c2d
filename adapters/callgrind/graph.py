"""The call graph of a capture: self cost of functions, calls between them, and which calls lead back to their caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, batch

type_int32 = NDArray[np.int32]
type_int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one thread, a row each: numbers of the functions, frame of the call, calls counted, and their cost."""

    utid: int
    caller: type_int32
    callee: type_int32
    frame: type_int32
    count: type_int64
    values: type_int64
    """int64 [metrics, calls]"""


@dataclass(frozen=True, slots=True)
class SelfCost:
    """Self cost of functions in one thread; `values` is int64 [metrics, functions]."""

    utid: int
    function: type_int32
    values: type_int64


@dataclass(slots=True)
class CallGraph:
    """Gathers calls and self cost while a file is read."""

    calls: list[Calls] = field(default_factory=list)
    self_costs: list[SelfCost] = field(default_factory=list)

    def cycles(self, function_count: int) -> type_int32:
        """For each function the number of its cycle: functions share one when each can reach the other by calls."""
        pairs = [np.unique(calls.caller.astype(np.int64) << 32 | calls.callee) for calls in self.calls]
        keys = np.unique(np.concatenate(pairs)) if pairs else np.empty(0, np.int64)
        callers, callees = keys >> 32, keys & 0xFFFFFFFF
        bounds = np.searchsorted(callers, np.arange(function_count + 1))
        return np.array(strong_components(bounds.tolist(), callees.tolist()), np.int32)

    def edge_batches(
        self, metric_count: int, frame_of_function: NDArray[np.integer], cycle_of_function: type_int32
    ) -> Iterator[Batch]:
        """Rows of `call_edge`: each call for each metric."""
        for calls in self.calls:
            frame = pa.array(calls.frame)
            callee = pa.array(frame_of_function[calls.callee].astype(np.int32))
            count = pa.array(calls.count)
            is_recursive = pa.array(cycle_of_function[calls.caller] == cycle_of_function[calls.callee])
            for metric_id, values in enumerate(widen(calls.values, metric_count)):
                yield batch(
                    "call_edge",
                    caller_frame_id=frame,
                    callee_frame_id=callee,
                    metric_id=np.full(len(values), metric_id, np.int32),
                    call_count=count,
                    value=values,
                    is_recursive=is_recursive,
                )


def widen(values: type_int64, metric_count: int) -> type_int64:
    """The values with zeros for metrics that only later parts of the file have."""
    missing = metric_count - len(values)
    return np.pad(values, ((0, missing), (0, 0))) if missing else values


def strong_components(bounds: list[int], targets: list[int]) -> list[int]:
    """Numbers of the strongly connected components of a graph, by node (Tarjan 1972, with a stack of its own instead
    of recursion). The edges of node `i` lead to `targets[bounds[i] : bounds[i + 1]]`.
    """
    count = len(bounds) - 1
    component = [-1] * count
    rank = [0] * count  # order of discovery, from 1; 0 where not yet seen
    low = [0] * count
    open_nodes: list[int] = []
    seen = components = 0
    for root in range(count):
        if rank[root]:
            continue
        walk = [(root, bounds[root])]
        seen += 1
        rank[root] = low[root] = seen
        open_nodes.append(root)
        while walk:
            node, edge = walk.pop()
            if edge < bounds[node + 1]:
                walk.append((node, edge + 1))
                target = targets[edge]
                if not rank[target]:
                    seen += 1
                    rank[target] = low[target] = seen
                    open_nodes.append(target)
                    walk.append((target, bounds[target]))
                elif component[target] < 0:
                    low[node] = min(low[node], rank[target])
                continue
            if walk:
                low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
            if low[node] == rank[node]:
                while True:
                    member = open_nodes.pop()
                    component[member] = components
                    if member == node:
                        break
                components += 1
    return component
