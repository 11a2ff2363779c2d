"""The weighted stacks of a selection, ready to be merged into a call tree and shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb
import numpy as np
import numpy.typing as npt

from perfkit.query.flamegraph.call_tree import CallTree, below, grow, merge
from perfkit.query.flamegraph.options import Grouping
from perfkit.query.flamegraph.selection import Metric, Selection, choose_metric
from perfkit.query.flamegraph.symbols import GROUP_KIND, Symbol, load_symbols
from perfkit.query.flamegraph.weights import KEY_BITS, load_weights
from perfkit.schema.errors import QueryError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CaptureFacts:
    """What a picture says of a capture it was made from: `issues` are (code, count) of the warnings and errors."""

    capture_id: int
    name: str
    tool: str
    issues: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Profile:
    """A call tree, the symbols its `symbol` column indexes, and what its values mean."""

    tree: CallTree
    symbols: list[Symbol]
    metric: Metric
    captures: tuple[CaptureFacts, ...]
    selection: Selection

    @property
    def unnamed_share(self) -> float:
        """Share of all frames, each weighted with its total, for which no symbol was found: the part of the
        picture's area that says only where the code lies.
        """
        is_group = np.array([symbol.kind == GROUP_KIND for symbol in self.symbols], dtype=bool)
        is_unnamed = np.array([symbol.is_unnamed for symbol in self.symbols], dtype=bool)
        area = int(self.tree.total[~is_group[self.tree.symbol]].sum())
        return int(self.tree.total[is_unnamed[self.tree.symbol]].sum()) / area if area else 0.0

    def rooted_at(self, function: str) -> Profile:
        """The calls of one function and all below them, merged.

        Raises:
            QueryError: no frame has that name.
        """
        is_match = np.array([symbol.function == function for symbol in self.symbols], dtype=bool)
        marked = is_match[self.tree.symbol]
        if not marked.any():
            raise QueryError(f"no sample of this selection passes through {function!r}.", hint=self._suggest(function))
        return replace(self, tree=merge(*below(self.tree, marked)))

    def _suggest(self, function: str) -> str:
        from difflib import get_close_matches

        names = sorted({self.symbols[index].function for index in np.unique(self.tree.symbol).tolist()})
        similar = [name for name in names if function.lower() in name.lower()] or get_close_matches(function, names)
        return f"Did you mean {' or '.join(repr(name) for name in similar[:3])}?" if similar else ""


def load_profile(connection: duckdb.DuckDBPyConnection, selection: Selection) -> Profile:
    """Read, sum and merge the samples of a selection.

    Raises:
        QueryError: the selection cannot be answered, or no sample is left in it.
    """
    metric = choose_metric(connection, selection)
    weights = load_weights(connection, selection, metric)
    if not len(weights.value):
        raise QueryError(f"no sample of {metric.name} is left after the conditions given.")
    frames = load_symbols(connection, selection.captures)
    node_key, parent, frame = _load_stacks(connection, selection.captures)
    # Groups come first, so that their symbols need no look-up; those of frames follow.
    symbols = [Symbol(label, None, GROUP_KIND, inlined=False) for label in weights.labels] + frames.symbols
    symbol = frames.of(frame) + len(weights.labels)
    node = np.where(weights.stack < 0, -1, np.searchsorted(node_key, weights.stack))
    if selection.by is Grouping.NONE and (node < 0).any():
        # Without groups, what has no stack stands beside the outermost frames, under the label kept for it.
        node = np.where(node < 0, len(parent), node)
        parent, symbol = np.append(parent, -1), np.append(symbol, 0)
    group = None if selection.by is Grouping.NONE else weights.group
    tree = grow(parent, symbol, group, node, weights.value)
    return Profile(tree, symbols, metric, _facts(connection, selection.captures), selection)


def _load_stacks(connection: duckdb.DuckDBPyConnection, captures: tuple[int, ...]) -> tuple[Ints, Ints, Ints]:
    """The stack nodes of the captures: keys in ascending order, index of each one's caller (-1 for none), frame key."""
    ids = ", ".join(str(int(capture)) for capture in captures)
    columns = connection.execute(
        f"SELECT (capture_id::BIGINT << {KEY_BITS} | stack_id) AS node, "
        f"coalesce(capture_id::BIGINT << {KEY_BITS} | parent_id, -1) AS parent, "
        f"(capture_id::BIGINT << {KEY_BITS} | frame_id) AS frame "
        f"FROM stack WHERE capture_id IN ({ids}) ORDER BY node"
    ).fetchnumpy()
    node, parent, frame = (np.asarray(columns[name], dtype=np.int64) for name in ("node", "parent", "frame"))
    return node, np.where(parent < 0, -1, np.searchsorted(node, parent)), frame


def _facts(connection: duckdb.DuckDBPyConnection, captures: tuple[int, ...]) -> tuple[CaptureFacts, ...]:
    ids = ", ".join(str(int(capture)) for capture in captures)
    rows = connection.execute(
        f"SELECT capture_id, name, tool FROM capture WHERE capture_id IN ({ids}) ORDER BY capture_id"
    ).fetchall()
    issues = connection.execute(
        "SELECT capture_id, code, sum(count)::BIGINT FROM import_issue "
        f"WHERE capture_id IN ({ids}) AND severity <> 'info' GROUP BY ALL ORDER BY 3 DESC, code"
    ).fetchall()
    return tuple(
        CaptureFacts(capture_id, name, tool, tuple((row[1], row[2]) for row in issues if row[0] == capture_id))
        for capture_id, name, tool in rows
    )
