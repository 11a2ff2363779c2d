"""Reads an input with the adapter that recognises it, every batch held against the schema."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import Source
from perfkit.schema.validate import validate_batch


def read_tables(path: Path, *, adapter: str) -> dict[str, list[dict[str, Any]]]:
    """All rows by table; `import_issue` among them. The adapter found must be the one named."""
    tables: dict[str, list[dict[str, Any]]] = {}
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


def chains(tables: dict[str, list[dict[str, Any]]]) -> dict[int, list[int]]:
    """Frame ids of each node's callchain, outermost first."""
    found: dict[int, list[int]] = {}
    for node in tables["stack"]:
        above = [] if node["parent_id"] is None else found[node["parent_id"]]
        found[node["stack_id"]] = [*above, node["frame_id"]]
    return found
