"""Call stacks guessed from a call graph.

A call graph says what each call cost, not on which stacks: when `a` and `b` both call `f`, it is not known which of the
calls made `f` call `g`. So the cost of a function is shared out among its callers in proportion to the cost of their
calls, from the outermost functions inwards:

    main ─60─▶ f ─30─▶ g        main;f       50      of f's 100, 60 came from main and 40 from b
    b ───40─▶ f   self 70       main;f;g …           so each gets that share of f's self cost and of g
                                b;f …

What holds however the guesses fall: all stacks that end in a function add up to its self cost, to the last event.
Guessed is only how a function's cost divides among its callers, and thereby what the callers show in total.

- A call to a function that is on the stack already is left out; what remains of its caller takes its share. So
  recursion shows once on each path.
- Paths that carry less than `MIN_SHARE` of every metric or less than one event, or lie deeper than `MAX_DEPTH`, are not
  followed; their cost goes to the other stacks of the same functions. A level holds at most `MAX_LEVEL` nodes, the
  costliest.
- Functions that are reached on no path stand alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.callgrind.graph import CallGraph, widen
from perfkit.adapters.columns import ragged_indices

type_int32 = NDArray[np.int32]
type_int64 = NDArray[np.int64]
type_float = NDArray[np.float64]

MAX_DEPTH = 128
MAX_LEVEL = 1 << 13
MIN_SHARE = 1e-5


@dataclass(frozen=True, slots=True)
class Graph:
    """A call graph in columns. A vertex is a function in a thread; edges are in the order of their callers, those of
    vertex `i` from `bounds[i]` to `bounds[i + 1]`.
    """

    utid: type_int32
    function: type_int32
    own: type_float
    """float64 [vertices, metrics]: self cost"""
    bounds: type_int64
    callee: type_int64
    cost: type_float
    """float64 [edges, metrics]"""
    caller: type_int64

    def sum_by(self, vertex: type_int64) -> type_float:
        """The edges' costs added up by `vertex`, one of an edge's two ends."""
        return _sum_by(vertex, self.cost, len(self.function))


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of the call tree, callers before callees: number of the caller's node (-1 for none), depth, function."""

    parent: type_int32
    depth: type_int32
    function: type_int32


@dataclass(frozen=True, slots=True)
class Weights:
    """What ends in a node in one thread; `values` is int64 [metrics, rows]."""

    node: type_int32
    utid: type_int32
    values: type_int64


def build_graph(gathered: CallGraph, metric_count: int) -> Graph:
    """The graph of all that was gathered, equal calls added up. Negative costs count as none."""
    keys, costs = _gather(
        [(c.utid, c.function, widen(c.values, metric_count)) for c in gathered.self_costs], metric_count
    )
    ends = [
        (_key(calls.utid, calls.caller), _key(calls.utid, calls.callee), widen(calls.values, metric_count))
        for calls in gathered.calls
    ]
    callers = np.concatenate([end[0] for end in ends]) if ends else np.empty(0, np.int64)
    callees = np.concatenate([end[1] for end in ends]) if ends else np.empty(0, np.int64)
    vertices = np.unique(np.concatenate([keys, callers, callees]))
    own = _sum_by(np.searchsorted(vertices, keys), costs, len(vertices))
    caller, callee = np.searchsorted(vertices, callers), np.searchsorted(vertices, callees)
    pairs, inverse = np.unique(caller * len(vertices) + callee, return_inverse=True)
    values = np.concatenate([end[2] for end in ends], axis=1).T if ends else np.empty((0, metric_count))
    cost = _sum_by(inverse, values, len(pairs))
    caller, callee = np.divmod(pairs, max(len(vertices), 1))
    bounds = np.searchsorted(caller, np.arange(len(vertices) + 1))
    return Graph(
        (vertices >> 32).astype(np.int32), (vertices & 0xFFFFFFFF).astype(np.int32),
        np.maximum(own, 0), bounds, callee, np.maximum(cost, 0), caller,
    )  # fmt: skip


def estimate_stacks(graph: Graph, cycle_of_function: type_int32) -> tuple[Nodes, Weights]:
    """Stacks for all self cost of the graph."""
    tree = _Tree(graph)
    spread = graph.own + graph.sum_by(graph.caller)
    entering = np.maximum(spread - graph.sum_by(graph.callee), 0)
    smallest = np.maximum(MIN_SHARE * graph.own.sum(axis=0), 1)
    vertex = np.flatnonzero((entering > smallest).any(axis=1))
    weight = entering[vertex]
    node = tree.add(np.full(len(vertex), -1, np.int32), vertex, 0)
    cycle = cycle_of_function[graph.function]
    for depth in range(1, MAX_DEPTH):
        degree = graph.bounds[vertex + 1] - graph.bounds[vertex]
        edge = ragged_indices(graph.bounds[vertex], degree)
        source = np.repeat(np.arange(len(vertex)), degree)
        callee, cost = graph.callee[edge], graph.cost[edge]
        # What is too small to follow need not be looked for above, but keeps its share of what its caller passes on.
        is_large = (weight[source] * cost > smallest * spread[vertex[source]]).any(axis=1)
        inner = np.flatnonzero(is_large & (cycle[callee] == cycle[vertex[source]]))
        is_open = np.ones(len(edge), bool)
        is_open[inner] = ~tree.is_on_path(node[source[inner]], callee[inner])
        source, callee, cost, is_large = source[is_open], callee[is_open], cost[is_open], is_large[is_open]
        whole = graph.own[vertex] + _sum_by(source, cost, len(vertex))
        unit = np.divide(weight, whole, out=np.zeros_like(weight), where=whole > 0)
        tree.end(node, vertex, unit * graph.own[vertex])
        source, callee, cost = source[is_large], callee[is_large], cost[is_large]
        passed = unit[source] * cost
        share = (passed / smallest).max(axis=1, initial=0)
        kept = np.flatnonzero(share > 1)
        if len(kept) > MAX_LEVEL:
            kept = np.sort(kept[np.argpartition(-share[kept], MAX_LEVEL)[:MAX_LEVEL]])
        if not len(kept):
            break
        vertex, weight = callee[kept], passed[kept]
        node = tree.add(node[source[kept]], vertex, depth)
    return tree.finish()


class _Tree:
    """The call tree as it grows by levels, and what ends in its nodes."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parent = np.empty(0, np.int32)
        self._function = np.empty(0, np.int32)
        self._depth: list[type_int32] = []
        self._ends: list[tuple[type_int32, type_int64, type_float]] = []

    def add(self, parent: type_int32, vertex: type_int64, depth: int) -> type_int32:
        """Nodes for functions called from `parent`; threads share them. The nodes' numbers."""
        function = self._graph.function[vertex]
        keys = (parent.astype(np.int64) + 1) << 32 | function
        unique, inverse = np.unique(keys, return_inverse=True)
        before = len(self._parent)
        self._parent = np.append(self._parent, (unique >> 32).astype(np.int32) - np.int32(1))
        self._function = np.append(self._function, (unique & 0xFFFFFFFF).astype(np.int32))
        self._depth.append(np.full(len(unique), depth, np.int32))
        numbers: type_int32 = (inverse + before).astype(np.int32)
        return numbers

    def is_on_path(self, node: type_int32, vertex: type_int64) -> NDArray[np.bool_]:
        """Whether the function of `vertex` is that of `node` or of a node above it."""
        found = np.zeros(len(node), bool)
        climbing, wanted = np.arange(len(node)), self._graph.function[vertex]
        while len(climbing):
            same = self._function[node] == wanted
            found[climbing[same]] = True
            node = self._parent[node]
            going = ~same & (node >= 0)
            climbing, node, wanted = climbing[going], node[going], wanted[going]
        return found

    def end(self, node: type_int32, vertex: type_int64, weight: type_float) -> None:
        """Let `weight` of the functions' self cost end in the nodes."""
        has_weight = (weight > 0).any(axis=1)
        self._ends.append((node[has_weight], vertex[has_weight], weight[has_weight]))

    def finish(self) -> tuple[Nodes, Weights]:
        """The nodes, and weights that are whole numbers and add up to the self cost of each function."""
        own = self._graph.own.astype(np.float64)  # whole numbers where there is nothing to add up
        reached = np.zeros_like(own)
        for _, vertex, weight in self._ends:
            np.add.at(reached, vertex, weight)
        alone = np.flatnonzero(((reached <= 0) & (own > 0)).any(axis=1))
        roots = self.add(np.full(len(alone), -1, np.int32), alone, 0)
        lone = np.where(reached[alone] <= 0, own[alone], 0)
        self._ends.append((roots, alone, lone))
        reached[alone] += lone
        node, vertex, weight = (np.concatenate(parts) for parts in zip(*self._ends, strict=True))
        order = np.argsort(vertex, kind="stable")
        node, vertex, weight = node[order], vertex[order], weight[order]
        scale = np.divide(own, reached, out=np.zeros_like(own), where=reached > 0)
        values = _whole_numbers(weight * scale[vertex], vertex, own)
        return (
            Nodes(self._parent, np.concatenate(self._depth), self._function),
            Weights(node, self._graph.utid[vertex], values),
        )


def _whole_numbers(weight: type_float, vertex: type_int64, own: type_float) -> type_int64:
    """int64 [metrics, rows]: weights rounded so that those of each vertex add up to its self cost: what one is rounded
    up the next gives back. Rows are in the order of their vertices.
    """
    if not len(vertex):
        return np.empty((own.shape[1], 0), np.int64)
    is_first = np.append(True, vertex[1:] != vertex[:-1])
    is_last = np.append(is_first[1:], True)
    out = np.empty((own.shape[1], len(vertex)), np.int64)
    for metric in range(own.shape[1]):
        running = np.cumsum(weight[:, metric])
        before = (running - weight[:, metric])[is_first][np.cumsum(is_first) - 1]
        upto = np.rint(running - before).astype(np.int64)
        upto[is_last] = own[vertex[is_last], metric].astype(np.int64)
        upto = np.minimum(upto, own[vertex, metric].astype(np.int64))
        out[metric] = np.diff(upto, prepend=0)
        out[metric, is_first] = upto[is_first]
    return out


def _key(utid: int, function: type_int32) -> type_int64:
    return function.astype(np.int64) | np.int64(utid) << 32


def _gather(
    parts: list[tuple[int, type_int32, type_int64]], metric_count: int
) -> tuple[type_int64, NDArray[np.float64]]:
    if not parts:
        return np.empty(0, np.int64), np.empty((0, metric_count))
    keys = np.concatenate([_key(utid, function) for utid, function, _ in parts])
    return keys, np.concatenate([values for *_, values in parts], axis=1).T.astype(np.float64)


def _sum_by(index: NDArray[np.integer], values: NDArray[np.generic], count: int) -> type_float:
    """float64 [count, metrics]: rows of `values` added up by `index`."""
    columns = [np.bincount(index, values[:, m].astype(np.float64), count) for m in range(values.shape[1])]
    return np.stack(columns, axis=1) if columns else np.zeros((count, 0))
