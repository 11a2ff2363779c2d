"""The call tree of a capture, grown from callchains by whole levels instead of one chain at a time.

    chains (outermost first)        nodes: (parent, frame)
      main a b                        0 main
      main a c            ──▶         1 ├─ a
      main d                          2 │  ├─ b
                                      3 │  └─ c
                                      4 └─ d

Chains may come in any number of calls; nodes keep their ids. At the end the nodes get their ranks in a depth-first
walk (`tree_enter`, `tree_leave`), so that whatever lies below a node is a range.
"""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.columns import KeyIndex
from perfkit.adapters.contract import Batch, batch

type_int32 = NDArray[np.int32]

_CLIMBERS = 1 << 18
"""Nodes that climb together: what is computed for them stays small beside the tree itself."""


class StackTree:
    """Grows by `add`; `to_batch` gives the rows of `stack`."""

    def __init__(self) -> None:
        self._index = KeyIndex()
        self._parents: list[type_int32] = []
        self._frames: list[type_int32] = []
        self._depths: list[type_int32] = []
        self._truncated: list[type_int32] = []

    def __len__(self) -> int:
        return sum(len(part) for part in self._parents)

    def add(
        self,
        frames: type_int32,
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        truncated: NDArray[np.bool_] | None = None,
    ) -> type_int32:
        """Add chains and return the innermost node of each (-1 for an empty chain).

        Chain `i` is `frames[starts[i] : starts[i] + lengths[i]]`, frame ids from the outermost to the innermost;
        `truncated[i]` says that the recorder cut its outer end off.
        """
        # Sorted by their outer frames, chains that share a prefix stand side by side, and only the first of them has
        # to be looked up.
        chains = _by_outer_frames(frames, starts, lengths)
        place, left = starts[chains], lengths[chains]
        nodes = np.full(len(chains), -1, np.int32)
        out = np.full(len(chains), -1, np.int32)
        depth = 0
        while len(chains):
            ended = left == depth
            if ended.any():
                out[chains[ended]] = nodes[ended]
                going = ~ended
                chains, place, left, nodes = chains[going], place[going], left[going], nodes[going]
            nodes = self._add_level(nodes, frames.take(place), depth)
            place += 1
            depth += 1
        if truncated is not None:
            self._truncated.append(out[truncated & (out >= 0)])
        return out

    def _add_level(self, parents: type_int32, level: type_int32, depth: int) -> type_int32:
        """The nodes of frames `level` under `parents`; neighbours that agree are looked up once."""
        if not len(level):
            return parents
        is_first = np.ones(len(level), bool)
        np.not_equal(level[1:], level[:-1], out=is_first[1:])
        is_first[1:] |= parents[1:] != parents[:-1]
        parents, level = parents[is_first], level[is_first]
        ids, firsts = self._index.intern((parents.astype(np.int64) + 1 << 32 | level).view(np.uint64))
        self._parents.append(parents[firsts])
        self._frames.append(level[firsts])
        self._depths.append(np.full(len(firsts), depth, np.int32))
        return ids.take(np.cumsum(is_first) - 1)

    def to_batch(self, function_of_frame: NDArray[np.integer] | None) -> Batch:
        """Rows of `stack`, in depth-first order. `function_of_frame[frame_id]` numbers the functions that frames
        belong to, so that recursion is seen whatever the address; None where the frames are yet to be named, which
        leaves `is_recursive` false for the ingest to judge. Nothing can be added afterwards.
        """
        self._index = KeyIndex()  # the tree is whole: what grew it is the larger part of its memory
        parents = np.concatenate(self._parents) if self._parents else np.empty(0, np.int32)
        frames = np.concatenate(self._frames) if self._frames else np.empty(0, np.int32)
        depths = np.concatenate(self._depths) if self._depths else np.empty(0, np.int32)
        enter, leave = depth_first_ranks(parents, depths)
        truncated = np.zeros(len(parents), bool)
        for nodes in self._truncated:
            truncated[nodes] = True
        recursive = np.zeros(len(parents), bool)
        if function_of_frame is not None:
            recursive = find_recursive(parents, function_of_frame[frames])
        order = np.empty(len(parents), np.int64)
        order[enter] = np.arange(len(parents))
        return batch(
            "stack",
            stack_id=order.astype(np.int32),
            parent_id=pa.array(parents[order], pa.int32(), mask=parents[order] < 0),
            depth=depths[order],
            frame_id=frames[order],
            tree_enter=enter[order],
            tree_leave=leave[order],
            is_recursive=recursive[order],
            truncated=truncated[order],
        )


def _by_outer_frames(frames: type_int32, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """An order of the chains that groups them by their four outermost frames."""
    keys = []
    for depth in range(0, 4, 2):
        pair = [
            np.where(lengths > d, frames[np.minimum(starts + d, len(frames) - 1)], np.int32(-1)).astype(np.int64)
            if len(frames)
            else np.full(len(starts), -1, np.int64)
            for d in (depth, depth + 1)
        ]
        keys.append(pair[0] << 32 | pair[1] & 0xFFFFFFFF)
    inner = np.argsort(keys[1])
    return inner[np.argsort(keys[0][inner], kind="stable")]


def depth_first_ranks(parents: type_int32, depths: type_int32) -> tuple[type_int32, type_int32]:
    """`(enter, leave)` of each node in a depth-first walk: `leave` is the largest `enter` in the node's subtree.
    `parents` is -1 at roots; siblings keep the order of their ids.
    """
    count = len(parents)
    sizes = np.ones(count, np.int64)
    by_depth = np.argsort(depths, kind="stable")
    bounds = np.searchsorted(depths[by_depth], np.arange(int(depths.max()) + 2)) if count else np.zeros(1, np.int64)
    levels = [by_depth[a:b] for a, b in itertools.pairwise(bounds.tolist())]
    for nodes in reversed(levels[1:]):
        np.add.at(sizes, parents[nodes], sizes[nodes])
    enter = np.zeros(count, np.int64)
    for depth, nodes in enumerate(levels):
        owners = parents[nodes]
        grouped = np.argsort(owners, kind="stable")
        ordered, owners = nodes[grouped], owners[grouped]
        before = np.cumsum(sizes[ordered]) - sizes[ordered]
        first = np.ones(len(ordered), bool)
        first[1:] = owners[1:] != owners[:-1]
        # Sum of the earlier siblings' sizes: the running sum less its value at the first sibling.
        before -= np.maximum.accumulate(np.where(first, before, 0))
        enter[ordered] = before if depth == 0 else enter[owners] + 1 + before
    return enter.astype(np.int32), (enter + sizes - 1).astype(np.int32)


def find_recursive(parents: type_int32, functions: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether each node's function is also that of one of its ancestors. Nodes climb together, a level a step."""
    recursive = np.zeros(len(parents), bool)
    for begin in range(0, len(parents), _CLIMBERS):
        _climb(parents, functions, range(begin, min(begin + _CLIMBERS, len(parents))), recursive)
    return recursive


def _climb(parents: type_int32, functions: NDArray[np.integer], nodes: range, recursive: NDArray[np.bool_]) -> None:
    climbing = nodes.start + np.flatnonzero(parents[nodes.start : nodes.stop] >= 0)
    ancestors = parents[climbing]
    while len(climbing):
        same = functions[ancestors] == functions[climbing]
        recursive[climbing[same]] = True
        ancestors = parents[ancestors]
        going = ~same & (ancestors >= 0)
        climbing, ancestors = climbing[going], ancestors[going]
