"""What must hold of everything an adapter emits, whatever the state of its input."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perfkit.adapters.contract import Adapter, Batch, IssueLog
from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import Source
from perfkit.schema.errors import FormatError, SourceError
from perfkit.schema.tables import FRAME_KINDS, SEVERITIES
from perfkit.schema.validate import validate_batch

Tables = dict[str, pa.Table]

_REFERENCES = {
    # column: (table it refers to, its key)
    "utid": ("thread", "utid"),
    "upid": ("process", "upid"),
    "parent_upid": ("process", "upid"),
    "stack_id": ("stack", "stack_id"),
    "frame_id": ("frame", "frame_id"),
    "metric_id": ("metric", "metric_id"),
    "track_id": ("counter_track", "track_id"),
    "caller_frame_id": ("frame", "frame_id"),
    "callee_frame_id": ("frame", "frame_id"),
}


def read_checked(path: Path, adapter: Adapter | None = None) -> Tables | None:
    """Read an input with the adapter itself; None where it says that the input cannot be used. Any other exception is
    the adapter's fault, as is a table that does not hold together.
    """
    issues = IssueLog()
    try:
        with Source(path) as source:
            return check_batches(list((adapter or find_adapter(source)).read(source, issues)), issues)
    except (FormatError, SourceError) as error:
        assert str(error).endswith(".")  # noqa: PT017 - a sentence for people
        return None


def check_batches(batches: list[Batch], issues: IssueLog) -> Tables:
    """Hold batches against the schema and against each other; they are returned by table, issues among them."""
    parts: dict[str, list[pa.RecordBatch]] = defaultdict(list)
    if len(issues):
        batches = [*batches, issues.to_batch()]
    for table, data in batches:
        validate_batch(table, data)
        data.validate(full=True)
        parts[table].append(data)
    tables = {name: pa.Table.from_batches(data) for name, data in parts.items()}
    assert tables["capture"].num_rows == 1
    for name, table in tables.items():
        for column in set(table.column_names) & _REFERENCES.keys():
            _check_reference(tables, name, column)
    _check_stack(tables)
    _check_values(tables)
    return tables


def check_time_order(tables: Tables) -> None:
    """Samples come in time order; where a recording itself broke it, that was counted."""
    if "sample" in tables:
        times = tables["sample"]["ts"].drop_null().to_numpy()
        codes = tables["import_issue"]["code"].to_pylist() if "import_issue" in tables else []
        assert "out_of_order_samples" in codes or (times[1:] >= times[:-1]).all(), "samples are not in time order"


def _check_reference(tables: Tables, name: str, column: str) -> None:
    target, key = _REFERENCES[column]
    values = tables[name][column].drop_null()
    if target == name and column == key:
        assert len(pc.unique(values)) == tables[name].num_rows, f"{name}.{column} is not unique"
        return
    if len(values):
        assert target in tables, f"{name}.{column} refers to {target}, which is not there"
        known = pc.unique(tables[target][key])
        assert pc.all(pc.is_in(values, known)).as_py(), f"{name}.{column} is not in {target}.{key}"


def _check_stack(tables: Tables) -> None:
    if "stack" not in tables:
        return
    stack = tables["stack"]
    ids = stack["stack_id"].to_numpy()
    parents = stack["parent_id"].fill_null(-1).to_numpy()
    depths, enter, leave = (stack[name].to_numpy() for name in ("depth", "tree_enter", "tree_leave"))
    row_of = np.full(int(ids.max()) + 1 if len(ids) else 0, -1)
    row_of[ids] = np.arange(len(ids))
    has_parent = parents >= 0
    above = row_of[parents[has_parent]]
    assert (above < np.flatnonzero(has_parent)).all(), "a parent must come before its children"
    assert (depths[~has_parent] == 0).all()
    assert (depths[has_parent] == depths[above] + 1).all()
    assert sorted(enter.tolist()) == list(range(len(ids)))
    assert (leave >= enter).all()
    assert (enter[has_parent] > enter[above]).all()
    assert (leave[has_parent] <= leave[above]).all()


def _check_values(tables: Tables) -> None:
    if "frame" in tables:
        assert set(tables["frame"]["kind"].to_pylist()) <= set(FRAME_KINDS)
    if "import_issue" in tables:
        issues = tables["import_issue"]
        assert set(issues["severity"].to_pylist()) <= set(SEVERITIES)
        assert all(count > 0 for count in issues["count"].to_pylist())
        assert all(offset is None or offset >= 0 for offset in issues["offset"].to_pylist())
