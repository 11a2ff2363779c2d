"""Reads an input with the adapter that recognises it, every batch held against the schema."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import Source
from perfkit.schema.validate import validate_batch

Tables = dict[str, list[dict[str, Any]]]


def read_tables(path: Path, *, adapter: str) -> Tables:
    """All rows by table; `import_issue` among them. The adapter found must be the one named."""
    tables: Tables = {}
    issues = IssueLog()
    with Source(path) as source:
        found = find_adapter(source)
        assert found.info.name == adapter
        for table, data in found.read(source, issues):
            validate_batch(table, data)
            tables.setdefault(table, []).extend(data.to_pylist())
    last = issues.to_batch()
    validate_batch(last.table, last.data)
    tables["import_issue"] = last.data.to_pylist()
    assert len(tables["capture"]) == 1
    return tables


def nameless(path: Path, folder: Path) -> Path:
    """The same content under a name that says nothing."""
    return Path(shutil.copy(path, folder / "x"))


def chains(tables: Tables) -> dict[int, list[int]]:
    """Frame ids of each node's callchain, outermost first."""
    found: dict[int, list[int]] = {}
    for node in tables["stack"]:
        above = [] if node["parent_id"] is None else found[node["parent_id"]]
        found[node["stack_id"]] = [*above, node["frame_id"]]
    return found


def samples_of(tables: Tables) -> list[tuple[Any, ...]]:
    """(comm, pid, tid, cpu, ts, event, value, [(address, function)]) of each sample, innermost frame first."""
    threads = {row["utid"]: row for row in tables["thread"]}
    pids = {row["upid"]: row["pid"] for row in tables["process"]}
    metrics = {row["metric_id"]: row["name"] for row in tables["metric"]}
    frames = {row["frame_id"]: (row["address"], row["function"]) for row in tables["frame"]}
    chain = chains(tables)
    names: dict[int, list[tuple[float, str]]] = {}
    for row in tables["thread_name"]:
        names.setdefault(row["utid"], []).append((float("-inf") if row["ts"] is None else row["ts"], row["name"]))
    return [
        (
            [name for since, name in names[s["utid"]] if s["ts"] is None or since <= s["ts"]][-1],
            pids[threads[s["utid"]]["upid"]],
            threads[s["utid"]]["tid"],
            s["cpu"],
            s["ts"],
            metrics[s["metric_id"]],
            s["value"],
            [frames[frame] for frame in reversed(chain.get(s["stack_id"], []))],
        )
        for s in tables["sample"]
    ]
