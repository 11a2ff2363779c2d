"""What an adapter is, and what it is given.

    Source ──sniff──▶ bool
    Source ──read───▶ Batch(table, RecordBatch) …      recoverable damage ──▶ IssueLog

An adapter emits batches whose ids are local to the capture and start at 0. It emits exactly one row of `capture`,
whose columns `name, path, sha256, byte_count, run_id, labels, ingested_at` it leaves null or empty: the store stamps
them. Every other table may come in any number of batches and in any order, but the rows of `stack` come parents
first. `frame` rows whose `function` is null are named by perfkit's symboliser after `read`; rows that carry a function
(text formats) are left as they are. Issues go to the `IssueLog`, which the ingest turns into `import_issue` rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from perfkit.adapters.source import Source
from perfkit.schema.tables import EVENT_COLUMNS, IMPORT_ISSUE, TABLES, is_event_table

__all__ = ["Adapter", "AdapterInfo", "Batch", "IssueLog", "Source", "batch"]


_MAX = 2**63 - 1


class Batch(NamedTuple):
    """Rows of one table: `table` is a name of `schema.tables.TABLES` or `event.<name>`."""

    table: str
    data: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What an adapter says of itself; docs/FORMATS.md is generated from it."""

    name: str
    """Format name as `capture.format` shows it, such as `perf.data`."""
    tool: str
    """Program whose output it is."""
    formats: tuple[str, ...]
    """Variants it reads, for people."""
    yields: tuple[str, ...]
    """Tables it fills."""
    clock: str
    """Clock of its times, or what decides it."""
    specification: str
    """Link to the format's specification or to the header that defines it."""


@runtime_checkable
class Adapter(Protocol):
    """Recognises one format, and reads it."""

    info: AdapterInfo

    def sniff(self, source: Source) -> bool:
        """Whether the source is of this format, judged by `source.head` or, for a folder, by the names in it.
        Pure, bounded, never raises, never looks at the file's own name alone.
        """
        ...

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows in bounded memory.

        Raises:
            FormatError: the source cannot be used at all.
        """
        ...


@dataclass(slots=True)
class _Issue:
    severity: str
    offset: int | None
    count: int
    detail: str


@dataclass(slots=True)
class IssueLog:
    """Counts problems by code and subject; the first one's offset and detail are kept."""

    _issues: dict[tuple[str, str], _Issue] = field(default_factory=dict)

    def add(
        self,
        code: str,
        severity: str,
        detail: str,
        *,
        offset: int | None = None,
        count: int = 1,
        subject: str = "",
    ) -> None:
        """Count `count` more of the problem `code`. Problems of one code and one `subject` (a module, an event …)
        share a row; `offset` is in bytes from the start of the input.
        """
        if count <= 0:
            return
        known = self._issues.setdefault((code, subject), _Issue(severity, offset, 0, detail))
        known.count += count
        if offset is not None and (known.offset is None or offset < known.offset):
            known.offset = offset

    def count(self, code: str) -> int:
        """How many problems of this code were counted."""
        return sum(issue.count for (known, _), issue in self._issues.items() if known == code)

    def __len__(self) -> int:
        return len(self._issues)

    def to_batch(self) -> Batch:
        """All of it as rows of `import_issue`."""
        rows = [
            {"code": code, "severity": i.severity, "offset": i.offset, "count": min(i.count, _MAX), "detail": i.detail}
            for (code, _), i in self._issues.items()
        ]
        return Batch(IMPORT_ISSUE.name, pa.RecordBatch.from_pylist(rows, schema=IMPORT_ISSUE.schema))


def batch(table: str, /, **columns: object) -> Batch:
    """Build a batch from whole columns (numpy arrays, Arrow arrays or lists), in any order; a column that is left out
    is null throughout. For `event.<name>` tables the payload follows the common columns in the order given, with the
    types numpy or Arrow give it.
    """
    length = len(next(iter(columns.values())))  # type: ignore[arg-type]
    declared = EVENT_COLUMNS if is_event_table(table) else TABLES[table].columns
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    for column in declared:
        values = columns.pop(column.name, None)
        arrays.append(pa.nulls(length, column.type) if values is None else _array(values, column.type))
        fields.append(column.arrow().with_type(arrays[-1].type))
    if columns and not is_event_table(table):
        raise KeyError(f"{table} has no column {sorted(columns)}")
    for name, values in columns.items():
        arrays.append(_array(values, None))
        fields.append(pa.field(name, arrays[-1].type))
    return Batch(table, pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))


def _array(values: object, kind: pa.DataType | None) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not isinstance(values, pa.Array):
        return pa.array(values, type=kind)
    if kind is None or values.type == kind or (pa.types.is_dictionary(values.type) and kind == pa.string()):
        return values
    return values.cast(kind)
