"""A call tree as columns: what `flamegraph`, `diff` and every other view of merged stacks work on.

    stacks, weights ──grow───▶ CallTree     siblings of one symbol are one node, totals are summed, groups stand below
    forest          ──merge──▶ CallTree     the same from rows of (parent, symbol, self value)
    CallTree ── prune, below, arrange ──▶   what is drawn

Everything is whole numpy columns; loops run once a level, never once a node. Values are not negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NO_PARENT = -1


@dataclass(frozen=True)
class CallTree:
    """Nodes level by level, parents before children, the children of one parent side by side and in the order of
    their parents; siblings differ in their symbol.

    All columns have one entry a node: `parent` (index, -1 for a root), `symbol` (the caller's own numbering),
    `self_value` and `total` in the metric's unit, `hidden` (the part of `total` that belonged to callees which
    `prune` took out). `level_start` has one entry a level and one more: the nodes of level `i` are
    `level_start[i]:level_start[i + 1]`. `value` is the width of the whole picture, pruned roots included.
    """

    parent: Ints
    symbol: Ints
    self_value: Ints
    total: Ints
    hidden: Ints
    level_start: Ints
    value: int

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def hidden_value(self) -> int:
        """What `prune` took out, pruned roots included."""
        return self.value - int(self.self_value.sum())

    @property
    def level_count(self) -> int:
        """Levels of the tree; 0 when it is empty."""
        return len(self.level_start) - 1

    @property
    def levels(self) -> list[tuple[int, int]]:
        """First node and first node past each level."""
        return list(pairwise(self.level_start.tolist()))

    @cached_property
    def depth(self) -> Ints:
        """Level of each node; roots have 0."""
        return np.repeat(np.arange(self.level_count, dtype=np.int64), np.diff(self.level_start))

    @cached_property
    def offset(self) -> Ints:
        """Where each node begins on the value axis: children stand side by side from their parent's beginning."""
        before = np.cumsum(self.total) - self.total
        offset = np.zeros(len(self), dtype=np.int64)
        for start, end in self.levels:
            parents = self.parent[start:end]
            is_first = np.ones(end - start, dtype=bool)
            is_first[1:] = parents[1:] != parents[:-1]
            first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
            within = before[start:end] - before[start:end][first]
            offset[start:end] = within + (offset[parents] if start else 0)
        return offset


def grow(parent: Ints, symbol: Ints, group: Ints | None, node: Ints, value: Ints) -> CallTree:
    """The merged tree of weighted stacks, each group's stacks under a root of the group's own.

    Args:
        parent: for each node of the stacks its caller, -1 at the outermost frame.
        symbol: for each node what is called there, a small non-negative integer.
        group: for each weight the symbol of its group (a thread, a process); None to merge all stacks.
        node: for each weight the innermost node of its stack, -1 where it has none (only within a group).
        value: for each weight its value.

    Raises:
        ValueError: the parents form a ring.
    """
    merged, above, merged_symbol, level_start = _merge_nodes(parent, symbol)
    groups, rank = (np.zeros(1, dtype=np.int64), np.zeros(len(node), dtype=np.int64)) if group is None else _rank(group)
    # A key is (group, node); within a level keys ascend as their parents' do, so a level's callers come out sorted.
    span = max(len(above), 1)
    has_stack = node >= 0
    key, index = np.unique(rank[has_stack] * span + merged[node[has_stack]], return_inverse=True)
    own = np.zeros(len(key), dtype=np.int64)
    np.add.at(own, index, value[has_stack])
    level = np.searchsorted(level_start, key % span, side="right") - 1
    order = np.argsort(level, kind="stable")
    bounds = np.searchsorted(level[order], np.arange(len(level_start)))
    levels: list[tuple[Ints, Ints, Ints]] = []
    carried = np.zeros(0, dtype=np.int64)
    for start, end in reversed(list(pairwise(bounds.tolist()))):
        here = order[start:end]
        keys = _sorted_unique(np.concatenate([key[here], carried]))
        selves = np.zeros(len(keys), dtype=np.int64)
        selves[np.searchsorted(keys, key[here])] = own[here]
        if len(keys):
            levels.append((keys, merged_symbol[keys % span], selves))
        carried = _callers(keys, above, span)
    levels.reverse()
    parents = [np.searchsorted(upper[0], _callers(lower[0], above, span)) for upper, lower in pairwise(levels)]
    columns = [(lower[1], lower[2]) for lower in levels]
    if group is not None:
        without_stack = np.zeros(len(groups), dtype=np.int64)
        np.add.at(without_stack, rank[~has_stack], value[~has_stack])
        parents[:0] = [levels[0][0] // span] if levels else []
        columns.insert(0, (groups, without_stack))
    return _tree(parents, columns)


def merge(parent: Ints, symbol: Ints, self_value: Ints) -> CallTree:
    """Merge the siblings of a forest that have the same symbol.

    Raises:
        ValueError: the parents form a ring.
    """
    merged, above, merged_symbol, level_start = _merge_nodes(parent, symbol)
    own = np.zeros(len(above), dtype=np.int64)
    np.add.at(own, merged, self_value)
    levels = list(pairwise(level_start.tolist()))
    parents = [above[start:end] - upper for (upper, _), (start, end) in pairwise(levels)]
    return _tree(parents, [(merged_symbol[start:end], own[start:end]) for start, end in levels])


def prune(tree: CallTree, minimum: float) -> CallTree:
    """Leave out the nodes whose total is below `minimum`, with all below them; their weight becomes their caller's
    `hidden`, so that every total stays what it was.
    """
    keep = tree.total >= minimum
    if keep.all():
        return tree
    hidden = tree.hidden.copy()
    is_edge = ~keep & keep[tree.parent] & (tree.parent != NO_PARENT)
    np.add.at(hidden, tree.parent[is_edge], tree.total[is_edge])
    index = np.cumsum(keep) - 1
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    return CallTree(
        parent=np.where(tree.parent[keep] == NO_PARENT, NO_PARENT, index[tree.parent[keep]]),
        symbol=tree.symbol[keep],
        self_value=tree.self_value[keep],
        total=tree.total[keep],
        hidden=hidden[keep],
        level_start=np.unique(kept_before[tree.level_start]),
        value=tree.value,
    )


def below(tree: CallTree, is_root: Mask) -> tuple[Ints, Ints, Ints]:
    """The forest (parent, symbol, self value) under the outermost nodes that `is_root` marks, those included. Calls
    of a marked node below another stay where they are, so nothing is counted twice.
    """
    inside = is_root.copy()
    is_top = is_root.copy()
    for start, end in tree.levels[1:]:
        is_below = inside[tree.parent[start:end]]
        inside[start:end] |= is_below
        is_top[start:end] &= ~is_below
    index = np.cumsum(inside) - 1
    parent = np.where(is_top, NO_PARENT, index[tree.parent])[inside]
    return parent, tree.symbol[inside], tree.self_value[inside]


def arrange(tree: CallTree) -> CallTree:
    """Put siblings in drawing order: heaviest first, then by symbol."""
    order: list[Ints] = []
    position = np.zeros(len(tree), dtype=np.int64)
    for start, end in tree.levels:
        nodes = np.arange(start, end)
        above = position[tree.parent[nodes]] if start else np.zeros(len(nodes), dtype=np.int64)
        nodes = nodes[np.lexsort((tree.symbol[nodes], -tree.total[nodes], above))]
        position[nodes] = np.arange(start, end)
        order.append(nodes)
    by_place = _joined(order)
    parent = tree.parent[by_place]
    return CallTree(
        parent=np.where(parent == NO_PARENT, NO_PARENT, position[parent]),
        symbol=tree.symbol[by_place],
        self_value=tree.self_value[by_place],
        total=tree.total[by_place],
        hidden=tree.hidden[by_place],
        level_start=tree.level_start,
        value=tree.value,
    )


def _tree(parents: list[Ints], columns: list[tuple[Ints, Ints]]) -> CallTree:
    """A tree from its levels' (symbols, self values), and for each level but the first the parents' places in the
    level above.
    """
    level_start = np.cumsum([0, *(len(symbols) for symbols, _ in columns)], dtype=np.int64)
    roots = np.full(len(columns[0][0]) if columns else 0, NO_PARENT)
    parent = _joined([roots, *(level_start[level] + place for level, place in enumerate(parents))])
    self_value = _joined([values for _, values in columns])
    total = self_value.copy()
    for start, end in reversed(list(pairwise(level_start.tolist()))[1:]):
        # A copy, since numpy would copy the whole of `total` on every level if both were the same memory.
        np.add.at(total, parent[start:end], total[start:end].copy())
    return CallTree(
        parent=parent,
        symbol=_joined([symbols for symbols, _ in columns]),
        self_value=self_value,
        total=total,
        hidden=np.zeros(len(parent), dtype=np.int64),
        level_start=level_start,
        value=int(self_value.sum()),
    )


def _merge_nodes(parent: Ints, symbol: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Merge siblings of one symbol, level by level: for each node the one it becomes; for each of those its parent
    and its symbol; where each level begins in them.
    """
    depth = _depths(parent)
    order = np.argsort(depth, kind="stable")
    bounds = np.searchsorted(depth[order], np.arange(int(depth.max(initial=-1)) + 2))
    merged = np.full(len(parent), NO_PARENT, dtype=np.int64)
    width = int(symbol.max(initial=0)) + 1
    keys: list[Ints] = []
    starts = [0]
    for start, end in pairwise(bounds.tolist()):
        nodes = order[start:end]
        above = merged[parent[nodes]] if start else np.zeros(len(nodes), dtype=np.int64)
        unique, inverse = np.unique(above * width + symbol[nodes], return_inverse=True)
        merged[nodes] = starts[-1] + inverse
        keys.append(unique)
        starts.append(starts[-1] + len(unique))
    key = _joined(keys)
    above = key // width
    above[: starts[1] if len(starts) > 1 else 0] = NO_PARENT
    return merged, above, key % width, np.array(starts, dtype=np.int64)


def _depths(parent: Ints) -> Ints:
    """Callers above each node. Each pass doubles the distance looked up, so that a stack of a million calls takes
    twenty passes.
    """
    depth: Ints = (parent != NO_PARENT).astype(np.int64)
    ancestor = parent.astype(np.int64, copy=True)
    while (active := np.flatnonzero(ancestor != NO_PARENT)).size:
        if int(depth.max()) >= len(parent):
            raise ValueError("the parents of the call tree form a ring")
        depth[active] += depth[ancestor[active]]
        ancestor[active] = ancestor[ancestor[active]]
    return depth


def _rank(group: Ints) -> tuple[Ints, Ints]:
    groups, rank = np.unique(group, return_inverse=True)
    return groups, rank.reshape(-1).astype(np.int64)


def _sorted_unique(values: Ints) -> Ints:
    # A stable sort merges what is already in order (here two ascending runs); np.unique would hash them.
    values = np.sort(values, kind="stable")
    is_new = np.ones(len(values), dtype=bool)
    is_new[1:] = values[1:] != values[:-1]
    return values[is_new]


def _callers(key: Ints, above: Ints, span: int) -> Ints:
    return key // span * span + above[key % span]


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)
