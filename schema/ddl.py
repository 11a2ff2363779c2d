"""The DDL of a perfkit database, derived from the declarations in `tables.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from perfkit.schema.model import Column, Table
from perfkit.schema.names import quote as quote  # noqa: PLC0414 (offered here too, beside `qualified`)
from perfkit.schema.tables import EVENT_COLUMNS, EVENT_PREFIX, TABLES, is_event_table
from perfkit.schema.version import META_TABLE, SCHEMA_VERSION

EVENT_SCHEMA = "event"

_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.timestamp("us"): "TIMESTAMP",
}


def sql_type(kind: pa.DataType) -> str:
    """The DuckDB type that stores an Arrow type.

    Raises:
        KeyError: the type has no place in a perfkit database.
    """
    if pa.types.is_map(kind):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_fixed_size_list(kind):
        return f"{sql_type(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_dictionary(kind):
        return sql_type(kind.value_type)
    return _TYPES[kind]


def qualified(table: str) -> str:
    """The quoted SQL name of a table: `event.<name>` lies in the SQL schema `event`, the others in `main`."""
    if is_event_table(table):
        return f"{EVENT_SCHEMA}.{quote(table.removeprefix(EVENT_PREFIX))}"
    return quote(table)


def create_table(table: Table) -> str:
    """`CREATE TABLE` for a declared table. No keys: DuckDB would keep an index for each, and the store guards them."""
    columns = [_column(column) for column in table.columns]
    if table.stamped:
        columns.insert(0, '"capture_id" INTEGER NOT NULL')
    return f"CREATE TABLE IF NOT EXISTS {quote(table.name)} ({', '.join(columns)})"


def create_event_table(table: str, payload: Iterable[tuple[str, pa.DataType]]) -> str:
    """`CREATE TABLE` for `event.<name>` with the given payload columns after the common ones."""
    columns = ['"capture_id" INTEGER NOT NULL', *(_column(column) for column in EVENT_COLUMNS)]
    columns += [f"{quote(name)} {sql_type(kind)}" for name, kind in payload]
    return f"CREATE TABLE IF NOT EXISTS {qualified(table)} ({', '.join(columns)})"


def create_event_view(tables: Iterable[str]) -> str:
    """The view `event`, which unites the common columns of all event tables."""
    common = ", ".join(quote(column.name) for column in EVENT_COLUMNS)
    parts = [
        f"SELECT capture_id, '{table.removeprefix(EVENT_PREFIX).replace(chr(39), chr(39) * 2)}' AS name, {common} "
        f"FROM {qualified(table)}"
        for table in sorted(tables)
    ]
    if not parts:
        typed = ", ".join(f"NULL::{sql_type(column.type)} AS {quote(column.name)}" for column in EVENT_COLUMNS)
        parts = [f"SELECT NULL::INTEGER AS capture_id, NULL::VARCHAR AS name, {typed} WHERE false"]
    return f"CREATE OR REPLACE VIEW {quote('event')} AS {' UNION ALL '.join(parts)}"


def create_statements(perfkit_version: str) -> Iterator[str]:
    """All that makes an empty DuckDB file a perfkit database."""
    yield f"CREATE TABLE {META_TABLE} (key VARCHAR NOT NULL, value VARCHAR NOT NULL)"
    yield (
        f"INSERT INTO {META_TABLE} VALUES ('schema_version', '{SCHEMA_VERSION}'), "
        f"('perfkit_version', '{perfkit_version}')"
    )
    for table in TABLES.values():
        yield create_table(table)
        yield from _comments(table)
    yield f"CREATE SCHEMA IF NOT EXISTS {EVENT_SCHEMA}"
    yield create_event_view(())


def _column(column: Column) -> str:
    return f"{quote(column.name)} {sql_type(column.type)}{' NOT NULL' if column.required else ''}"


def _comments(table: Table) -> Iterator[str]:
    yield f"COMMENT ON TABLE {quote(table.name)} IS {_literal(table.row)}"
    for column in table.columns:
        text = column.doc + (f" [{column.unit}]" if column.unit else "")
        yield f"COMMENT ON COLUMN {quote(table.name)}.{quote(column.name)} IS {_literal(text)}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
