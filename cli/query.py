"""`perfkit query`: SQL and saved queries, answered as a table or in a format for other programs."""

from __future__ import annotations

import sys
from enum import StrEnum
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit.cli.common import DatabaseOption, JsonOption, database_path, examples, note
from perfkit.schema.errors import QueryError

if TYPE_CHECKING:
    import duckdb

    from perfkit.query.run import Question

TABLE_ROWS = 1000
"""Rows a table shows without `--limit`; the note below it says that there are more."""

EPILOG = examples(
    'perfkit query "SELECT name, count(*) AS threads FROM thread GROUP BY name ORDER BY threads DESC"',
    "perfkit query @hot-functions --top 20",
    "perfkit query @callers -p function=main --capture @latest",
    "perfkit query @samples-over-time -p buckets=100 --json",
    'perfkit query "FROM sample_named WHERE tid = $tid" -p tid=4711 -o samples.parquet',
    'echo "FROM capture" | perfkit query - --format csv',
    "perfkit query --list",
    "perfkit query --show @hot-threads",
    "perfkit query --tables sample",
)


class OutputFormat(StrEnum):
    """What `--format` takes."""

    table = "table"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"
    markdown = "markdown"
    parquet = "parquet"
    arrow = "arrow"


def query(
    sql: Annotated[
        str | None,
        typer.Argument(metavar="SQL|@NAME|-", show_default=False, help="SQL, a saved query, or - for SQL on stdin."),
    ] = None,
    *,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the SQL from a file.")] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="How to print the rows [default: by the suffix of -o, else table]."),
    ] = None,
    json: JsonOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file; - is stdout.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="Value of $NAME, or of a saved query's parameter."),
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option(metavar="CAPTURE", help="Capture that saved queries and $capture mean [default: @latest]."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "--top", "-n", min=0, help="Rows at most.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Tables: print numbers as they are stored.")] = False,
    list_queries: Annotated[bool, typer.Option("--list", help="List the saved queries.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the SQL of a saved query.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables, or the columns of one.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Ask the database in SQL, or with a saved query."""
    if list_queries:
        _print_catalogue()
        return
    if show:
        _print_definition(sql)
        return
    target = _target(output_format, json=json, output=output)
    from perfkit.schema.database import open_for_reading

    with open_for_reading(database_path(database)) as connection:
        if tables:
            question = _tables_question(connection, sql)
        else:
            question = _question(connection, _text(sql, file), _parse_parameters(parameters or []), capture)
        if limit is not None:
            question = question.limited(limit)
        if target is OutputFormat.table:
            _print_rows(connection, question, limit=limit, raw=raw, output=output)
        else:
            _export(connection, question, target, output)


def _target(chosen: OutputFormat | None, *, json: bool, output: Path | None) -> OutputFormat:
    to_stdout = output is None or str(output) == "-"
    if json:
        target = OutputFormat.json
    elif chosen is not None:
        target = chosen
    elif to_stdout:
        target = OutputFormat.table
    else:
        from perfkit.query.export import format_of

        assert output is not None
        target = OutputFormat(format_of(output).name)
    if to_stdout and target in (OutputFormat.parquet, OutputFormat.arrow) and sys.stdout.isatty():
        raise QueryError(f"{target} is not for a terminal.", hint="Name a file with -o, or pipe it on.")
    return target


def _text(sql: str | None, file: Path | None) -> str:
    if (sql is None) == (file is None):
        problem = "there is no SQL to run" if sql is None else "SQL comes from the command line or from a file"
        raise QueryError(f"{problem}.", hint="Give SQL, @NAME (see --list), - for stdin, or -f FILE.")
    if sql is not None and sql != "-":
        return sql
    try:
        return (sys.stdin.buffer.read() if file is None else file.read_bytes()).decode()
    except UnicodeDecodeError as error:
        raise QueryError(f"the SQL in {file or 'stdin'} is not UTF-8 text.") from error
    except OSError as error:
        raise QueryError(f"{file} cannot be read: {error.strerror}.") from error


def _parse_parameters(given: list[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for item in given:
        name, is_pair, value = item.partition("=")
        if not is_pair or not name.isidentifier():
            raise QueryError(f"-p {item} is not NAME=VALUE.", hint="For example: -p buckets=100 -p function=main.")
        values[name] = _typed(value)
    return values


def _typed(value: str) -> object:
    """An int or float where it reads as one, else text; quotes make text of anything: `'42'`."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    return value


def _question(
    connection: duckdb.DuckDBPyConnection, text: str, parameters: dict[str, object], capture: str | None
) -> Question:
    from perfkit.query.captures import resolve_capture
    from perfkit.query.catalogue import call, find_query
    from perfkit.query.run import parameters_of, prepare

    text = text.strip()
    if capture is not None:
        capture_id = resolve_capture(connection, capture)
        # Saved queries take it from there, however deep in the SQL they stand.
        connection.execute(f"SET VARIABLE capture = {capture_id:d}")
        if "capture" in parameters_of(connection, text):
            parameters["capture"] = capture_id
    if text.startswith("@"):
        text = call(find_query(text), set(parameters))
    return prepare(connection, text, parameters)


def _tables_question(connection: duckdb.DuckDBPyConnection, table: str | None) -> Question:
    from perfkit.query.run import Question, ask

    name = "CASE schema_name WHEN 'main' THEN {0} ELSE schema_name || '.' || {0} END"
    if table is None:
        return Question(
            f'SELECT {name.format("table_name")} AS "table", estimated_size AS rows, comment AS "a row is" '
            "FROM duckdb_tables() WHERE NOT internal UNION ALL "
            f"SELECT {name.format('view_name')}, NULL, coalesce(comment, 'view') FROM duckdb_views() "
            "WHERE NOT internal ORDER BY ALL",
            {},
        )
    question = Question(
        'SELECT column_name AS "column", data_type AS type, comment AS meaning FROM duckdb_columns() '
        f"WHERE NOT internal AND {name.format('table_name')} = $table ORDER BY column_index",
        {"table": table},
    )
    if next(ask(connection, question.limited(1)).rows, None) is None:
        raise QueryError(f"there is no table {table}.", hint="`perfkit query --tables` lists them.")
    return question


def _print_rows(
    connection: duckdb.DuckDBPyConnection, question: Question, *, limit: int | None, raw: bool, output: Path | None
) -> None:
    from perfkit.cli.output import Style, print_table, style_of
    from perfkit.query.export import replacing
    from perfkit.query.run import ask

    answer = ask(connection, question)
    most = TABLE_ROWS if limit is None else limit
    rows = list(islice(answer.rows, most + 1))
    if answer.columns == ["explain_key", "explain_value"]:  # a drawing of its own
        print(*(plan for _, plan in rows), sep="\n")
    elif output is None or str(output) == "-":
        print_table(answer.columns, rows[:most], style=style_of(sys.stdout, raw=raw))
    else:
        with replacing(output) as binary, TextIOWrapper(binary, encoding="utf-8", write_through=True) as stream:
            print_table(answer.columns, rows[:most], style=Style(raw=raw), stream=stream)
    if not rows:
        note("no rows.")
    elif len(rows) > most:
        note(f"the first {most} rows; --limit N shows more, --format csv (json, parquet …) writes all.")


def _export(
    connection: duckdb.DuckDBPyConnection, question: Question, target: OutputFormat, output: Path | None
) -> None:
    from perfkit.query.export import FORMATS, write_file, write_stream

    if output is None or str(output) == "-":
        sys.stdout.flush()
        write_stream(connection, question, FORMATS[target], sys.stdout.buffer)
    else:
        write_file(connection, question, FORMATS[target], output)


def _print_catalogue() -> None:
    from perfkit.query.catalogue import GROUPS, saved_queries

    queries = [query for query in saved_queries().values() if not query.is_scalar]
    width = max(len(query.title) for query in queries) + 1
    for group, title in GROUPS.items():
        print(f"{title}:")
        for item in sorted(queries, key=lambda query: query.name):
            if item.group == group:
                names = ", ".join(p.name if p.default is not None else p.name.upper() for p in item.parameters)
                print(f"  @{item.title:<{width}}{item.summary}{f' [{names}]' if names else ''}")
        print()
    print("Parameters in brackets are given as -p name=value; those in capitals must be given.")


def _print_definition(title: str | None) -> None:
    from perfkit.query.catalogue import find_query

    if title is None:
        raise QueryError("--show needs a saved query.", hint="For example: `perfkit query --show @hot-functions`.")
    found = find_query(title)
    print(f"-- {found.summary}")
    print(found.statement)
