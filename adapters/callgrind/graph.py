"""The call graph of a capture: self cost of functions, calls between them, and which lead back to their caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, batch

type_int32 = NDArray[np.int32]
type_int64 = NDArray[np.int64]
type_uint64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one thread, a row each: numbers of the functions, frame and address of the call, calls counted, and
    their cost.
    """

    utid: int
    caller: type_int32
    callee: type_int32
    frame: type_int32
    address: type_uint64 | None
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
        self, metric_count: int, frame_of_function: type_int32, cycle_of_function: type_int32
    ) -> Iterator[Batch]:
        """Rows of `call_edge`: each call for each metric."""
        for calls in self.calls:
            frame = pa.array(calls.frame)
            callee = pa.array(frame_of_function[calls.callee])
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
                    address=calls.address,
                )


def widen(values: type_int64, metric_count: int) -> type_int64:
    """The values with zeros for metrics that only later parts of the file have."""
    missing = metric_count - len(values)
    return np.pad(values, ((0, missing), (0, 0))) if missing else values


def strong_components(bounds: list[int], targets: list[int]) -> list[int]:
    """Numbers of the strongly connected components of a graph, by node. The edges of node `i` lead to
    `targets[bounds[i] : bounds[i + 1]]`.

    Gabow's path-based algorithm (2000), with a stack of its own instead of recursion: `path` holds the first nodes of
    what may still become components, and an edge back to an open node joins all of them from there on.
    """
    count = len(bounds) - 1
    component = [-1] * count
    rank = [-1] * count  # order of discovery
    edge = bounds[:count]  # next edge of each node
    seen = components = 0
    for root in range(count):
        walk = [root] if rank[root] < 0 else []
        open_nodes: list[int] = []
        path: list[int] = []
        while walk:
            node = walk[-1]
            if rank[node] < 0:
                rank[node] = seen
                seen += 1
                open_nodes.append(node)
                path.append(node)
            if edge[node] < bounds[node + 1]:
                target = targets[edge[node]]
                edge[node] += 1
                if rank[target] < 0:
                    walk.append(target)
                elif component[target] < 0:
                    while rank[path[-1]] > rank[target]:
                        path.pop()
                continue
            walk.pop()
            if path[-1] == node:
                path.pop()
                _close(open_nodes, node, components, component)
                components += 1
    return component


def _close(open_nodes: list[int], first: int, number: int, component: list[int]) -> None:
    """Give `number` to the open nodes from `first` on."""
    while True:
        member = open_nodes.pop()
        component[member] = number
        if member == first:
            return
