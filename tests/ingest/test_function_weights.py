"""Weights by function, against plain Python over small random trees."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.adapters.contract import batch
from perfkit.adapters.stack_tree import StackTree
from perfkit.ingest.function_weights import FunctionWeights

# Frame 0 and 3 are the same function at two addresses; 4 has no name.
FUNCTIONS = ["main", "walk", "leaf", "main", None]

_samples = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.integers(0, 4), max_size=6), st.integers(0, 1000)), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(_samples, st.integers(1, 5))
def test_sums_agree_with_counting_by_hand(samples: list[tuple[int, list[int], int]], pieces: int) -> None:
    expected: dict[tuple[int, str | None], Counter[str]] = {}
    for metric, stack, value in samples:
        names = [FUNCTIONS[frame] for frame in stack]
        for name in set(names):
            row = expected.setdefault((metric, name), Counter())
            row.update(total=value, total_samples=1, frame_samples=names.count(name))
        if names:
            expected[metric, names[-1]].update(self=value, self_samples=1)
        else:
            # The function without a name and no stack at all are told apart by `frame_samples`.
            expected.setdefault((metric, "no stack"), Counter()).update(
                self=value, total=value, self_samples=1, total_samples=1
            )

    weights = _weigh(samples, pieces)

    found = {}
    for row in weights:
        name = "no stack" if row["frame_samples"] == 0 else row["function"]
        found[row["metric_id"], name] = Counter(
            {key: row[key] for key in ("self", "total", "self_samples", "total_samples", "frame_samples")}
        )
    assert found == expected


def _weigh(samples: list[tuple[int, list[int], int]], pieces: int) -> list[dict[str, object]]:
    tree = StackTree()
    lengths = np.array([len(stack) for _, stack, _ in samples], np.int64)
    frames = np.array([frame for _, stack, _ in samples for frame in stack], np.int32)
    leaves = tree.add(frames, np.cumsum(lengths) - lengths, lengths)
    watcher = FunctionWeights()
    # Samples may come before the stacks they refer to, and in pieces.
    for part in np.array_split(np.arange(len(samples)), pieces):
        if len(part):
            nodes = [None if leaves[i] < 0 else int(leaves[i]) for i in part]
            watcher.watch(
                batch("sample", stack_id=nodes, metric_id=[samples[i][0] for i in part],
                      value=[samples[i][2] for i in part])
            )  # fmt: skip
    count = len(FUNCTIONS)
    watcher.watch(
        batch("frame", frame_id=list(range(count)), function=FUNCTIONS, module=["app"] * count, kind=["user"] * count,
              inlined=[False] * count)
    )  # fmt: skip
    watcher.watch(tree.to_batch(np.array([0, 1, 2, 0, 4])))
    summed = watcher.to_batch()
    return summed.data.to_pylist() if summed else []
