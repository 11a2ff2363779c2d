"""What perfkit reads from a perf.data file, put into the shape in which `perf script` says it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data.adapter import PerfData
from perfkit.adapters.source import Source
from perfkit.schema.validate import validate_batch


class Place(NamedTuple):
    """A frame's place: what the adapter knows before it is named."""

    address: int
    module: str | None
    kind: str
    is_caller: bool


@dataclass(frozen=True, slots=True)
class DecodedSample:
    comm: str
    pid: int
    tid: int
    cpu: int | None
    time: int | None
    event: str
    period: int
    frames: tuple[Place, ...]
    """innermost first"""
    utid: int


class Decoded:
    """All tables of a capture, read with the adapter itself, every batch held against the schema."""

    def __init__(self, path: Path) -> None:
        self.path = path
        issues = IssueLog()
        parts: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        with Source(path) as source:
            assert PerfData().sniff(source)
            for table, data in PerfData().read(source, issues):
                validate_batch(table, data)
                parts[table].append(data)
        last = issues.to_batch()
        parts[last.table].append(last.data)
        self.tables = {name: pa.Table.from_batches(batches) for name, batches in parts.items()}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table; none where it was not emitted."""
        return self.tables[table].to_pylist() if table in self.tables else []

    def issues(self) -> dict[str, int]:
        """Counts by issue code."""
        counts: Counter[str] = Counter()
        for row in self.rows("import_issue"):
            counts[row["code"]] += row["count"]
        return dict(counts)

    def record_counts(self) -> Counter[str]:
        """Records by type, events not told apart."""
        return Counter({row["record"]: row["count"] for row in self.rows("record_count") if row["metric_id"] is None})

    def chains(self) -> list[tuple[Place, ...]]:
        """The frames of each stack node, innermost first, by `stack_id`."""
        frames = [Place(r["address"], r["module"], r["kind"], bool(r["is_caller"])) for r in self.rows("frame")]
        found: dict[int, tuple[Place, ...]] = {}
        for row in self.rows("stack"):
            above = () if row["parent_id"] is None else found[row["parent_id"]]
            found[row["stack_id"]] = (frames[row["frame_id"]], *above)
        return found  # type: ignore[return-value]

    def samples(self) -> list[DecodedSample]:
        """All samples in the order of the table."""
        if "sample" not in self.tables:
            return []
        chains = self.chains()
        processes = {row["upid"]: row for row in self.rows("process")}
        threads = {row["utid"]: row for row in self.rows("thread")}
        metrics = [row["name"] for row in self.rows("metric")]
        name_at = self._names()
        columns = {name: self.tables["sample"][name].to_pylist() for name in self.tables["sample"].schema.names}
        out = []
        for ts, utid, cpu, stack, metric, value in zip(
            *(columns[name] for name in ("ts", "utid", "cpu", "stack_id", "metric_id", "value")), strict=True
        ):
            thread = threads[utid] if utid is not None else None
            out.append(DecodedSample(
                name_at(utid, ts) if thread else ":-1",
                processes[thread["upid"]]["pid"] if thread else -1,
                thread["tid"] if thread else -1,
                cpu, ts, metrics[metric], value, () if stack is None else chains[stack],
                -1 if utid is None else utid,
            ))  # fmt: skip
        return out

    def _names(self) -> Any:
        times: dict[int, list[int]] = defaultdict(list)
        names: dict[int, list[str]] = defaultdict(list)
        for row in self.rows("thread_name"):
            times[row["utid"]].append(-1 if row["ts"] is None else row["ts"])
            names[row["utid"]].append(row["name"])
        tids = {row["utid"]: row["tid"] for row in self.rows("thread")}

        def name_at(utid: int, ts: int | None) -> str:
            at = bisect_right(times[utid], 2**63 if ts is None else ts) - 1
            return names[utid][at] if at >= 0 else f":{tids[utid]}"

        return name_at
