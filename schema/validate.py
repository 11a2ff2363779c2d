"""Holds every batch that an adapter emits against the declaration of its table."""

from __future__ import annotations

import pyarrow as pa

from perfkit.schema.errors import SchemaError
from perfkit.schema.tables import EVENT_COLUMNS, TABLES, is_event_table


def validate_batch(table: str, data: pa.RecordBatch) -> None:
    """Raise `SchemaError` unless `data` has exactly the columns of `table`, in order, with their types and no null
    where a value is required. Costs nothing per row: nulls are counted by Arrow already.
    """
    if is_event_table(table):
        _check_columns(table, data, EVENT_COLUMNS, exact=False)
        return
    declared = TABLES.get(table)
    if declared is None:
        raise SchemaError(f"a batch names the table {table!r}, which the schema does not declare.")
    _check_columns(table, data, declared.columns, exact=True)


def _check_columns(table: str, data: pa.RecordBatch, columns: tuple, *, exact: bool) -> None:  # type: ignore[type-arg]
    expected = [column.name for column in columns]
    found = data.schema.names if exact else data.schema.names[: len(expected)]
    if found != expected:
        raise SchemaError(f"table {table}: expected the columns {expected}, found {data.schema.names}.")
    for index, column in enumerate(columns):
        array = data.column(index)
        if array.type != column.type and not _is_encoded(array.type, column.type):
            raise SchemaError(f"table {table}: column {column.name}: expected {column.type}, found {array.type}.")
        if column.required and array.null_count:
            raise SchemaError(f"table {table}: column {column.name} must not be null, found {array.null_count} nulls.")
    if not exact and len(set(data.schema.names)) != data.num_columns:
        raise SchemaError(f"table {table}: a column name occurs twice in {data.schema.names}.")


def _is_encoded(found: pa.DataType, declared: pa.DataType) -> bool:
    """Text may come dictionary-encoded: a name that many rows share is then handed on once."""
    return bool(pa.types.is_dictionary(found) and found.value_type == declared == pa.string())
