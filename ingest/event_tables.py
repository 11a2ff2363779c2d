"""The `event.<name>` tables that captures bring along: made on first sight, widened when a layout differs."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from perfkit.schema.database import fetch_one
from perfkit.schema.ddl import EVENT_SCHEMA, create_event_table, create_event_view, qualified, quote, sql_type
from perfkit.schema.tables import EVENT_COLUMNS, EVENT_PREFIX

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


class EventTables:
    """Knows which event tables a database has, and with which column types."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._tables: dict[str, dict[str, str]] = {}
        self.reload()

    def reload(self) -> None:
        """Read the catalogue again, as after a rollback."""
        rows = self._connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = ? "
            "AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE schema_name = ?) ORDER BY column_index",
            [EVENT_SCHEMA, EVENT_SCHEMA],
        ).fetchall()
        self._tables = {}
        for table, column, kind in rows:
            self._tables.setdefault(EVENT_PREFIX + table, {})[column] = kind

    def names(self) -> list[str]:
        """All event tables, as `event.<name>`."""
        return list(self._tables)

    def prepare(self, table: str, schema: pa.Schema) -> None:
        """Make `table` able to hold batches of `schema`."""
        payload = [(item.name, item.type) for item in schema][len(EVENT_COLUMNS) :]
        known = self._tables.get(table)
        if known is None:
            self._connection.execute(create_event_table(table, payload))
            self.reload()
            self._connection.execute(create_event_view(self._tables))
            return
        for name, kind in payload:
            wanted = sql_type(kind)
            if name not in known:
                self._connection.execute(f"ALTER TABLE {qualified(table)} ADD COLUMN {quote(name)} {wanted}")
                known[name] = wanted
            elif (common := _common_type(known[name], wanted)) != known[name]:
                self._connection.execute(f"ALTER TABLE {qualified(table)} ALTER {quote(name)} TYPE {common}")
                known[name] = common

    def forget_empty(self) -> None:
        """Remove event tables that no capture fills any more."""
        for table in self.names():
            row = fetch_one(self._connection, f"SELECT 1 FROM {qualified(table)} LIMIT 1")
            if row is None:
                # The view names every table, so it goes first and is made again without this one.
                del self._tables[table]
                self._connection.execute(create_event_view(self._tables))
                self._connection.execute(f"DROP TABLE {qualified(table)}")


def _common_type(known: str, wanted: str) -> str:
    """The narrowest type that holds both; text where nothing else does. Captures of different kernels may give one
    event field different widths.
    """
    if known == wanted:
        return known
    for family in (_INTEGERS, _UNSIGNED):
        if known in family and wanted in family:
            return family[max(family.index(known), family.index(wanted))]
    signs = {known, wanted}
    if all(kind in _INTEGERS + _UNSIGNED for kind in signs):
        unsigned = next(kind for kind in signs if kind in _UNSIGNED)
        signed = next(kind for kind in signs if kind in _INTEGERS)
        return _INTEGERS[max(_UNSIGNED.index(unsigned) + 1, _INTEGERS.index(signed))]
    if signs <= {"FLOAT", "DOUBLE"}:
        return "DOUBLE"
    return "VARCHAR"
