"""The call tree's operations, each held against the same thing done slowly and plainly."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from perfkit.query.flamegraph.call_tree import CallTree, arrange, below, grow, merge, prune

Paths = Counter[tuple[int, ...]]


def _paths(tree: CallTree) -> dict[tuple[int, ...], tuple[int, int, int]]:
    """(self, total, hidden) of each node by its path of symbols."""
    paths: list[tuple[int, ...]] = []
    found = {}
    for parent, symbol, own, total, hidden in zip(
        tree.parent.tolist(),
        tree.symbol.tolist(),
        tree.self_value.tolist(),
        tree.total.tolist(),
        tree.hidden.tolist(),
        strict=True,
    ):
        path = (*(paths[parent] if parent >= 0 else ()), symbol)
        assert path not in found, "siblings of one symbol were not merged"
        paths.append(path)
        found[path] = (own, total, hidden)
    return found


def _expected(selves: Paths) -> dict[tuple[int, ...], tuple[int, int, int]]:
    totals: Paths = Counter()
    for path, value in selves.items():
        for depth in range(1, len(path) + 1):
            totals[path[:depth]] += value
    return {path: (selves[path], total, 0) for path, total in totals.items()}


def _random_stacks(seed: int, count: int = 300) -> tuple[list[int], list[int], list[tuple[int, ...]]]:
    """Stack nodes (parent, symbol), where siblings often share a symbol, and each node's path of symbols."""
    chance = random.Random(seed)
    parent, symbol, paths = [], [], []
    for node in range(count):
        above = chance.randrange(-1, node) if node and chance.random() < 0.95 else -1
        parent.append(above)
        symbol.append(chance.randrange(6))
        paths.append((*(paths[above] if above >= 0 else ()), symbol[-1]))
    return parent, symbol, paths


def _ints(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize("seed", range(8))
def test_grow_sums_weights_by_path_and_group(seed: int) -> None:
    parent, symbol, paths = _random_stacks(seed)
    chance = random.Random(seed + 100)
    rows = [(chance.randrange(100, 104), chance.randrange(-1, len(parent)), chance.randrange(1, 9)) for _ in range(200)]
    group, node, value = zip(*rows, strict=True)
    tree = grow(_ints(parent), _ints(symbol), _ints(list(group)), _ints(list(node)), _ints(list(value)))
    selves: Paths = Counter()
    for row_group, row_node, row_value in rows:
        selves[row_group, *(paths[row_node] if row_node >= 0 else ())] += row_value
    assert _paths(tree) == _expected(selves)
    assert tree.value == sum(value)


@pytest.mark.parametrize("seed", range(4))
def test_grow_without_groups_and_merge_agree(seed: int) -> None:
    parent, symbol, paths = _random_stacks(seed)
    own = [random.Random(seed).randrange(3) for _ in parent]
    nodes = [node for node, value in enumerate(own) if value]
    grown = grow(_ints(parent), _ints(symbol), None, _ints(nodes), _ints([own[node] for node in nodes]))
    selves: Paths = Counter()
    for node in nodes:
        selves[paths[node]] += own[node]
    assert _paths(grown) == _expected(selves)
    merged = {
        path: facts for path, facts in _paths(merge(_ints(parent), _ints(symbol), _ints(own))).items() if facts[1]
    }
    assert merged == _paths(grown)


def test_empty_forests_make_empty_trees() -> None:
    nothing = _ints([])
    assert len(merge(nothing, nothing, nothing)) == 0
    tree = grow(nothing, nothing, _ints([7]), _ints([-1]), _ints([5]))
    assert _paths(tree) == {(7,): (5, 5, 0)}
    assert len(arrange(prune(tree, 6))) == 0


def test_a_ring_of_parents_is_refused() -> None:
    with pytest.raises(ValueError, match="ring"):
        merge(_ints([1, 2, 0]), _ints([0, 0, 0]), _ints([1, 1, 1]))


def test_deep_recursion_is_no_trouble() -> None:
    depth = 5_000
    parent = np.arange(-1, depth - 1, dtype=np.int64)
    tree = merge(parent, np.zeros(depth, dtype=np.int64), np.ones(depth, dtype=np.int64))
    assert tree.level_count == depth
    assert tree.total[0] == depth


@pytest.mark.parametrize("seed", range(4))
def test_arranged_nodes_lie_side_by_side_within_their_parents(seed: int) -> None:
    parent, symbol, _ = _random_stacks(seed)
    tree = merge(_ints(parent), _ints(symbol), np.ones(len(parent), dtype=np.int64))
    drawn = arrange(tree)
    assert _paths(drawn) == _paths(tree)
    end = {-1: 0}
    last: dict[int, int] = {}
    for node, above in enumerate(drawn.parent.tolist()):
        begins = end.get((above, "children"), int(drawn.offset[above]) if above >= 0 else end[-1])
        if above < 0:
            begins = end[-1]
            end[-1] += int(drawn.total[node])
        assert drawn.offset[node] == begins
        end[above, "children"] = begins + int(drawn.total[node])
        assert last.get(above, int(drawn.total[node])) >= drawn.total[node], "heaviest sibling first"
        last[above] = int(drawn.total[node])
    assert (np.diff(drawn.parent) >= 0).all(), "the page holds only steps between parents"


def test_pruned_weight_stays_visible_in_the_caller() -> None:
    #   0 ── 1 (50) ── 2 (3)
    #     ├─ 3 (4)
    #     └─ 4 (1) ── 5 (1)
    tree = merge(_ints([-1, 0, 1, 0, 0, 4]), _ints([0, 1, 2, 3, 4, 5]), _ints([0, 50, 3, 4, 1, 1]))
    pruned = prune(tree, 4)
    assert _paths(pruned) == {(0,): (0, 59, 2), (0, 1): (50, 53, 3), (0, 3): (4, 4, 0)}
    assert pruned.hidden_value == 5
    assert pruned.value == tree.value == 59
    assert pruned.level_count == 2


def test_pruned_roots_count_as_hidden() -> None:
    tree = merge(_ints([-1, -1]), _ints([0, 1]), _ints([10, 1]))
    pruned = prune(tree, 5)
    assert _paths(pruned) == {(0,): (10, 10, 0)}
    assert pruned.hidden_value == 1


def test_below_counts_recursion_once() -> None:
    # 0 → 1 → 2 → 1 → 3, and 4 → 1 → 3: rooted at 1 the inner call of 1 stays below the outer one.
    tree = merge(_ints([-1, 0, 1, 2, 3, -1, 5, 6]), _ints([0, 1, 2, 1, 3, 4, 1, 3]), _ints([1, 2, 3, 4, 5, 6, 7, 8]))
    rooted = merge(*below(tree, tree.symbol == 1))
    assert _paths(rooted) == _expected(Counter({(1,): 9, (1, 2): 3, (1, 2, 1): 4, (1, 2, 1, 3): 5, (1, 3): 8}))
