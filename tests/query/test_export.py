"""Every format read back by a program that is not perfkit's own."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perfkit.query.export import FORMATS, format_of, write_file, write_stream
from perfkit.query.run import Question, ask, prepare
from perfkit.schema.errors import QueryError

AWKWARD = (
    "SELECT * FROM (VALUES (1, '', 1.5), (2, NULL, NULL), (3, 'a,\"b\"\n|c\\', 'nan'::DOUBLE)) AS t(id, text, number)"
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def written(connection: duckdb.DuckDBPyConnection, sql: str, name: str, **parameters: object) -> bytes:
    stream = io.BytesIO()
    write_stream(connection, prepare(connection, sql, parameters), FORMATS[name], stream)
    return stream.getvalue()


def test_csv_keeps_null_and_empty_apart(connection):
    text = written(connection, AWKWARD, "csv").decode()
    assert text.splitlines()[:3] == ["id,text,number", '1,"",1.5', "2,,"]
    assert list(csv.reader(io.StringIO(text)))[3] == ["3", 'a,"b"\n|c\\', "nan"]


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_json_is_what_strict_parsers_take(connection, name):
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = written(connection, AWKWARD, name).decode()
    parsed = (
        json.loads(text, parse_constant=refuse)
        if name == "json"
        else [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    )
    assert parsed == [
        {"id": 1, "text": "", "number": 1.5},
        {"id": 2, "text": None, "number": None},
        {"id": 3, "text": 'a,"b"\n|c\\', "number": None},
    ]


def test_json_of_no_rows_and_of_maps(connection):
    assert json.loads(written(connection, "SELECT 1 AS a WHERE false", "json")) == []
    text = written(connection, "SELECT MAP {'build': '42'} AS labels, [1, 2] AS cpus", "jsonl")
    assert json.loads(text) == {"labels": {"build": "42"}, "cpus": [1, 2]}


def test_markdown_escapes_and_aligns(connection):
    lines = written(connection, AWKWARD, "markdown").decode().splitlines()
    assert lines[:2] == ["| id | text | number |", "| ---: | --- | ---: |"]
    assert lines[3:] == ["| 2 |  |  |", '| 3 | a,"b" \\|c\\\\ | nan |']


def test_parquet_and_arrow_hold_the_same_rows(connection):
    sql = "SELECT range AS id, 'name ' || range AS text FROM range($rows)"
    parquet = pq.read_table(io.BytesIO(written(connection, sql, "parquet", rows=250_000)))
    arrow = pa.ipc.open_stream(written(connection, sql, "arrow", rows=250_000)).read_all()
    assert parquet.num_rows == arrow.num_rows == 250_000
    assert parquet.column("id").to_pylist() == arrow.column("id").to_pylist() == list(range(250_000))
    assert parquet.column("text")[-1].as_py() == "name 249999"


@pytest.mark.parametrize("name", FORMATS)
def test_the_order_of_rows_is_kept(connection, name, tmp_path):
    path = tmp_path / f"rows{FORMATS[name].suffixes[0]}"
    question = prepare(connection, "SELECT range AS n FROM range(100000) ORDER BY n DESC", {})
    write_file(connection, question, format_of(path), path)
    if name == "arrow":
        values = pa.ipc.open_stream(path.read_bytes()).read_all().column("n").to_pylist()
    elif name == "markdown":
        values = [int(line.strip("| ")) for line in path.read_text().splitlines()[2:]]
    else:
        reader = {"csv": "read_csv", "json": "read_json", "jsonl": "read_json", "parquet": "read_parquet"}[name]
        values = [row[0] for row in duckdb.sql(f"FROM {reader}('{path}')").fetchall()]
    assert values == list(range(99_999, -1, -1))


def test_limits(connection):
    question = prepare(connection, "SELECT range AS n FROM range($rows) -- all of them;", {"rows": 9}).limited(2)
    assert list(ask(connection, question).rows) == [(0,), (1,)]


def test_a_file_appears_only_when_whole(connection, tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("as it was")
    failing = prepare(
        connection, "SELECT CASE WHEN range > 200000 THEN error('boo') ELSE range END FROM range(300000)", {}
    )
    with pytest.raises(QueryError, match="boo"):
        write_file(connection, failing, FORMATS["csv"], path)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written(connection, tmp_path):
    question = prepare(connection, "SELECT 1", {})
    with pytest.raises(QueryError, match=r"out\.csv cannot be written: No such file or directory"):
        write_file(connection, question, FORMATS["csv"], tmp_path / "missing" / "out.csv")
    with pytest.raises(QueryError, match="cannot be written: Is a directory"):
        write_file(connection, question, FORMATS["csv"], tmp_path)


def test_a_reader_that_goes_away_ends_the_export(connection):
    reader, writer = os.pipe()
    os.close(reader)
    question = prepare(connection, "SELECT range FROM range(10000000)", {})
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "wb", buffering=0) as stream:
        write_stream(connection, question, FORMATS["csv"], stream)
    assert threading.active_count() == 1 or not any(t.name == "perfkit-export" for t in threading.enumerate())


def test_a_refused_question_shows_the_users_own_text(connection):
    with pytest.raises(QueryError) as caught:
        written(connection, "SELECT *\nFROM nosuch", "csv")
    assert caught.value.message == "Table with name nosuch does not exist!\nLINE 2: FROM nosuch\n             ^^^^^^"
    with pytest.raises(QueryError, match="no rows that csv could hold"):
        written(connection, "EXPLAIN SELECT 1", "csv")


@pytest.mark.parametrize(("name", "expected"), [("a.csv", "csv"), ("a.NDJSON", "jsonl"), ("a.b.pq", "parquet")])
def test_format_by_suffix(name, expected):
    assert format_of(Path(name)).name == expected


def test_a_suffix_that_says_nothing():
    with pytest.raises(QueryError, match=r"the name out\.txt does not say a format") as caught:
        format_of(Path("out.txt"))
    assert ".parquet" in caught.value.hint


@pytest.mark.parametrize(
    ("sql", "parameters", "message"),
    [
        ("", {}, "there is no SQL to run"),
        ("-- only a comment", {}, "there is no SQL to run"),
        ("SELECT $a", {}, r"the SQL uses \$a, which has no value"),
        ("SELECT 1", {"a": 1}, r"the SQL does not use the parameter \$a"),
        ("SELECT '\udcff'", {}, "not UTF-8"),
        ("SELEC 1", {}, 'syntax error at or near "SELEC"\nLINE 1: SELEC 1\n'),
    ],
)
def test_questions_that_cannot_be_asked(connection, sql, parameters, message):
    with pytest.raises(QueryError, match=message):
        prepare(connection, sql, parameters)


def test_statements_before_the_last_are_run(connection):
    question = prepare(connection, "SET VARIABLE n = $n; SELECT getvariable('n') + $m ; ; -- done", {"n": 40, "m": 2})
    assert list(ask(connection, question).rows) == [(42,)]


def test_text_beyond_ascii_before_a_semicolon(connection):
    question = prepare(connection, "SELECT 'żółć — 日本' AS a -- ö\n;; -- ü", {})
    assert list(ask(connection, question.limited(1)).rows) == [("żółć — 日本",)]


def test_parameters_keep_their_types(connection):
    question = prepare(connection, "SELECT typeof($i), typeof($f), typeof($t)", {"i": 1, "f": 1.5, "t": "x"})
    assert list(ask(connection, Question(question.sql, question.parameters)).rows) == [("INTEGER", "DOUBLE", "VARCHAR")]
