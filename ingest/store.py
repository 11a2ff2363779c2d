"""The store: appends whole captures to a perfkit database, each in one transaction, and takes them out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa

from perfkit.adapters.contract import Batch
from perfkit.ingest.event_tables import EventTables
from perfkit.ingest.function_weights import FunctionWeights
from perfkit.schema.database import fetch_one, open_for_writing
from perfkit.schema.ddl import qualified, quote
from perfkit.schema.errors import SchemaError, StoreError
from perfkit.schema.tables import CAPTURE, TABLES, is_event_table
from perfkit.schema.validate import validate_batch


@dataclass(frozen=True, slots=True)
class CaptureStamp:
    """What the store knows of a capture and its adapter does not."""

    name: str
    path: str
    sha256: str | Callable[[], str]
    """the digest, or what yields it once it is known"""
    byte_count: int
    run_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class Store:
    """A database open for writing.

    Raises:
        StoreError: see `schema.database.open_for_writing`.
    """

    def __init__(
        self,
        path: Path,
        *,
        catalogue: Sequence[str] = (),
        threads: int | None = None,
        memory_limit: str | None = None,
    ) -> None:
        self.path = path
        self.connection = open_for_writing(path, catalogue=catalogue, threads=threads, memory_limit=memory_limit)
        self._events = EventTables(self.connection)

    def close(self) -> None:
        """Close the connection; what was not committed is gone."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, sha256: str) -> int | None:
        """The capture that has this content, if one has."""
        row = fetch_one(self.connection, "SELECT min(capture_id) FROM capture WHERE sha256 = ?", [sha256])
        return None if row is None else row[0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: whatever is appended inside is committed together, or not at all."""
        self.connection.execute("BEGIN")
        try:
            yield
            self.connection.execute("COMMIT")
        except duckdb.Error as error:
            self._rollback()
            raise StoreError(f"{self.path}: {str(error).splitlines()[0]}", hint=_hint(error)) from error
        except BaseException:
            self._rollback()
            raise

    def add(self, batches: Iterable[Batch], stamp: CaptureStamp) -> int:
        """Append a capture in one transaction and return its `capture_id`.

        Raises:
            SchemaError: a batch does not match its table, or there is not exactly one row of `capture`.
            StoreError: DuckDB could not write it (a full disk).
        """
        with self.transaction():
            row = fetch_one(self.connection, "SELECT coalesce(max(capture_id) + 1, 1) FROM capture")
            capture_id = int(row[0]) if row else 1
            captures = 0
            weights = FunctionWeights()
            for item in batches:
                data = item.data
                if item.table == CAPTURE.name:
                    captures += data.num_rows
                    data = _stamp(data, stamp)
                self.append(capture_id, Batch(item.table, data))
                weights.watch(item)
            if captures != 1:
                raise SchemaError(f"expected one row of capture from the adapter, found {captures}.")
            if (summed := weights.to_batch()) is not None:
                self.append(capture_id, summed)
        return capture_id

    def append(self, capture_id: int, item: Batch) -> None:
        """Append one batch under `capture_id`; event tables are made or widened as its columns need."""
        validate_batch(item.table, item.data)
        if not item.data.num_rows:
            return
        if is_event_table(item.table):
            self._events.prepare(item.table, item.data.schema)
        # By name: an event table may have more columns than this capture's version of the event.
        columns = ", ".join(quote(name) for name in item.data.schema.names)
        stamped = is_event_table(item.table) or TABLES[item.table].stamped
        target = f"{qualified(item.table)} ({'capture_id, ' if stamped else ''}{columns})"
        self.connection.register("_batch", pa.Table.from_batches([item.data]))
        try:
            self.connection.execute(
                f"INSERT INTO {target} SELECT {f'{capture_id}::INTEGER, ' if stamped else ''}{columns} FROM _batch"
            )
        finally:
            with suppress(duckdb.Error):  # in a transaction that has failed this fails too, and would hide the reason
                self.connection.unregister("_batch")

    def drop(self, capture_id: int) -> None:
        """Take a capture and all its rows out, and give the space back."""
        with self.transaction():
            for table in TABLES.values():
                if table.stamped:
                    self.connection.execute(f"DELETE FROM {quote(table.name)} WHERE capture_id = ?", [capture_id])
            for table_name in self._events.names():
                self.connection.execute(f"DELETE FROM {qualified(table_name)} WHERE capture_id = ?", [capture_id])
            self._events.forget_empty()
            self.connection.execute(
                "DELETE FROM run WHERE run_id NOT IN (SELECT run_id FROM capture WHERE run_id IS NOT NULL)"
            )
        self.connection.execute("CHECKPOINT")

    def _rollback(self) -> None:
        # A failed COMMIT has already rolled back, and a second rollback would hide the first error.
        with suppress(duckdb.Error):
            self.connection.execute("ROLLBACK")
        self._events.reload()


def _stamp(data: pa.RecordBatch, stamp: CaptureStamp) -> pa.RecordBatch:
    row = data.to_pylist()[0]
    row |= {
        "name": stamp.name,
        "path": stamp.path,
        "sha256": stamp.sha256 if isinstance(stamp.sha256, str) else stamp.sha256(),
        "byte_count": stamp.byte_count,
        "run_id": stamp.run_id,
        "labels": list(stamp.labels.items()),
        "ingested_at": datetime.now(UTC).replace(tzinfo=None),
    }
    return pa.RecordBatch.from_pylist([row], schema=CAPTURE.schema)


def _hint(error: duckdb.Error) -> str:
    text = str(error).lower()
    if "no space left" in text or "could not write" in text:
        return "Free some disk space, or name a database on another disk with --db."
    if "out of memory" in text:
        return "Set PERFKIT_MEMORY_LIMIT higher (for example 4GB)."
    return ""
