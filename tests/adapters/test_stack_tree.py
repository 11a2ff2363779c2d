"""The call tree that grows by whole levels against one that is built chain by chain, and walked by recursion."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.adapters.stack_tree import StackTree
from perfkit.schema.validate import validate_batch

CHAINS = st.lists(st.lists(st.integers(0, 4), max_size=8), max_size=30)


def grow(tree: StackTree, chains: list[list[int]], truncated: list[bool] | None = None) -> list[int]:
    lengths = np.array([len(chain) for chain in chains], np.int64)
    frames = np.array([frame for chain in chains for frame in chain], np.int32)
    marks = None if truncated is None else np.array(truncated, bool)
    return tree.add(frames, np.cumsum(lengths) - lengths, lengths, marks).tolist()


def rows(tree: StackTree, functions: list[int]) -> dict[int, dict[str, Any]]:
    table, data = tree.to_batch(np.array(functions, np.int32))
    validate_batch(table, data)
    return {row["stack_id"]: row for row in data.to_pylist()}


def path(nodes: dict[int, dict[str, Any]], node: int | None) -> tuple[int, ...]:
    return () if node is None else (*path(nodes, nodes[node]["parent_id"]), nodes[node]["frame_id"])


@given(CHAINS, CHAINS)
@settings(max_examples=200, deadline=None)
def test_each_distinct_path_is_one_node(first: list[list[int]], second: list[list[int]]):
    tree = StackTree()
    leaves = grow(tree, first) + grow(tree, second)
    nodes = rows(tree, list(range(5)))
    assert [() if leaf < 0 else path(nodes, leaf) for leaf in leaves] == [tuple(chain) for chain in first + second]
    prefixes = {tuple(chain[:n]) for chain in first + second for n in range(1, len(chain) + 1)}
    assert sorted(path(nodes, node) for node in nodes) == sorted(prefixes)
    assert len(tree) == len(prefixes)
    assert all(row["depth"] == len(path(nodes, node)) - 1 for node, row in nodes.items())


@given(CHAINS, st.lists(st.integers(0, 2), min_size=5, max_size=5))
@settings(max_examples=200, deadline=None)
def test_ranks_and_recursion_are_those_of_a_walk(chains: list[list[int]], functions: list[int]):
    tree = StackTree()
    grow(tree, chains)
    nodes = rows(tree, functions)
    children: dict[int | None, list[int]] = {}
    for node, row in nodes.items():
        children.setdefault(row["parent_id"], []).append(node)
    order: list[int] = []

    def visit(node: int, above: set[int]) -> None:
        row, function = nodes[node], functions[nodes[node]["frame_id"]]
        assert row["tree_enter"] == len(order)
        order.append(node)
        assert row["is_recursive"] == (function in above)
        for child in sorted(children.get(node, []), key=lambda child: nodes[child]["tree_enter"]):
            visit(child, above | {function})
        assert row["tree_leave"] == len(order) - 1

    for root in sorted(children.get(None, []), key=lambda root: nodes[root]["tree_enter"]):
        visit(root, set())
    # In depth-first order, therefore parents first.
    assert order == list(nodes)


@given(CHAINS, st.randoms())
@settings(max_examples=50, deadline=None)
def test_chains_cut_by_the_recorder_mark_their_innermost_node(chains: list[list[int]], random: Any):
    truncated = [random.random() < 0.5 for _ in chains]
    tree = StackTree()
    leaves = grow(tree, chains, truncated)
    nodes = rows(tree, list(range(5)))
    expected = {leaf for leaf, cut in zip(leaves, truncated, strict=True) if cut and leaf >= 0}
    assert {node for node, row in nodes.items() if row["truncated"]} == expected
