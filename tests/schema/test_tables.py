"""The declarations are complete, and the database is what they declare."""

from __future__ import annotations

import re

import duckdb
import pyarrow as pa
import pytest

from perfkit.adapters.contract import batch
from perfkit.schema.ddl import create_statements, create_table, sql_type
from perfkit.schema.errors import SchemaError
from perfkit.schema.model import Table
from perfkit.schema.tables import EVENT_COLUMNS, TABLES
from perfkit.schema.validate import validate_batch

COLUMNS = [(table, column) for table in TABLES.values() for column in table.columns]
COLUMN_IDS = [f"{table.name}.{column.name}" for table, column in COLUMNS]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=COLUMN_IDS)
def test_a_column_says_what_it_means(table, column):
    assert len(column.doc) > 3
    assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
    metadata = {key.decode(): value.decode() for key, value in column.arrow().metadata.items()}
    assert metadata["doc"] == column.doc
    assert metadata.get("unit", "") == column.unit
    assert column.arrow().nullable is not column.required


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=COLUMN_IDS)
def test_times_have_a_unit(table, column):
    if column.name in ("ts", "dur", "start_ts", "end_ts", "duration"):
        assert column.unit == "ns"
        assert column.type == pa.int64()
    if column.name.endswith("_bytes") or column.name == "byte_count":
        assert column.unit == "byte"


@pytest.mark.parametrize(
    ("column"), [c for _, c in COLUMNS if c.join] + [c for c in EVENT_COLUMNS if c.join], ids=lambda c: c.join
)
def test_joins_lead_to_a_key_of_the_same_type(column):
    table, name = column.join.split(".")
    target = TABLES[table].by_name[name]
    assert target.name in TABLES[table].key
    assert target.type == column.type


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_keys_are_columns(table):
    assert set(table.key) <= {"capture_id", *table.by_name}
    assert len(table.by_name) == len(table.columns)
    assert "capture_id" not in table.by_name


def test_the_database_has_the_declared_columns():
    with duckdb.connect() as connection:
        for statement in create_statements("0"):
            connection.execute(statement)
        found = connection.execute(
            "SELECT table_name, column_name, data_type, NOT is_nullable, comment FROM duckdb_columns() "
            "WHERE table_name IN (SELECT table_name FROM duckdb_tables()) AND table_name <> 'perfkit_meta' "
            "ORDER BY table_name, column_index"
        ).fetchall()
    expected = [
        row
        for table in sorted(TABLES.values(), key=lambda table: table.name)
        for row in [
            *([(table.name, "capture_id", "INTEGER", True, None)] if table.stamped else []),
            *(
                (table.name, c.name, sql_type(c.type), c.required, c.doc + (f" [{c.unit}]" if c.unit else ""))
                for c in table.columns
            ),
        ]
    ]
    assert found == expected


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_an_empty_batch_of_each_table_is_valid_and_a_wrong_one_is_not(table: Table):
    empty = pa.RecordBatch.from_pylist([], schema=table.schema)
    validate_batch(table.name, empty)
    with pytest.raises(SchemaError, match=f"table {table.name}: expected the columns"):
        validate_batch(table.name, empty.select(range(1, empty.num_columns)) if empty.num_columns > 1 else empty)
    first = table.columns[0]
    other = pa.int8() if first.type != pa.int8() else pa.int16()
    arrays = [pa.array([], other), *empty.columns[1:]]
    with pytest.raises(SchemaError, match=rf"column {first.name}: expected {first.type}, found {other}"):
        validate_batch(table.name, pa.RecordBatch.from_arrays(arrays, names=empty.schema.names))


def test_a_null_where_a_value_is_required():
    bad = batch("thread_name", utid=[0, 1], name=["a", None])
    with pytest.raises(SchemaError, match="column name must not be null, found 1 nulls"):
        validate_batch(bad.table, bad.data)


def test_tables_and_event_tables_that_are_unknown():
    empty = pa.RecordBatch.from_pylist([], schema=TABLES["sample"].schema)
    with pytest.raises(SchemaError, match="names the table 'samples'"):
        validate_batch("samples", empty)
    with pytest.raises(SchemaError, match=r"table event\.x: expected the columns"):
        validate_batch("event.x", empty)
    good = batch("event.x", ts=[1], payload=["a"])
    validate_batch(good.table, good.data)
    twice = pa.RecordBatch.from_arrays(
        [*good.data.columns, good.data.column(4)], names=[*good.data.schema.names, "payload"]
    )
    with pytest.raises(SchemaError, match="a column name occurs twice"):
        validate_batch("event.x", twice)


def test_odd_names_are_quoted():
    odd = Table('od"d', "a row", TABLES["thread_name"].columns)
    with duckdb.connect() as connection:
        connection.execute(create_table(odd))
        assert connection.execute('SELECT count(*) FROM "od""d"').fetchall() == [(0,)]
