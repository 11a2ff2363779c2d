"""Writes an answer to a file or stream in the formats that other programs read; no format holds it all in memory.

DuckDB itself writes CSV, JSON and Parquet, in constant memory and without a Python object a row. In CSV a null is an
empty field and an empty string is `""`; in JSON a null, and also a number that is not finite, is `null`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import duckdb

from perfkit.query.run import Question, ask, explained, interruptible
from perfkit.schema.errors import QueryError
from perfkit.schema.names import quote

BATCH_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: what `--format` calls it, the suffixes that imply it, whether a terminal can show it."""

    name: str
    suffixes: tuple[str, ...]
    is_binary: bool = False


FORMATS = {
    item.name: item
    for item in (
        Format("csv", (".csv",)),
        Format("json", (".json",)),
        Format("jsonl", (".jsonl", ".ndjson")),
        Format("markdown", (".md", ".markdown")),
        Format("parquet", (".parquet", ".pq"), is_binary=True),
        Format("arrow", (".arrow", ".arrows", ".ipc"), is_binary=True),
    )
}

_COPY_OPTIONS = {
    "csv": "FORMAT csv, HEADER true",
    "json": "FORMAT json, ARRAY true",
    "jsonl": "FORMAT json",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}


def format_of(path: Path) -> Format:
    """The format that a file's suffix implies.

    Raises:
        QueryError: it implies none.
    """
    for item in FORMATS.values():
        if path.suffix.lower() in item.suffixes:
            return item
    known = ", ".join(suffix for item in FORMATS.values() for suffix in item.suffixes)
    raise QueryError(f"the name {path.name} does not say a format.", hint=f"Use --format, or one of {known}.")


def write_file(connection: duckdb.DuckDBPyConnection, question: Question, target: Format, path: Path) -> None:
    """Write the answer to `path`, which appears only when it is whole.

    Raises:
        QueryError: the question is refused, or the file cannot be written.
    """
    with replacing(path) as stream:
        write_stream(connection, question, target, stream)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of `path` once it is whole; a device or FIFO is written as it is.

    Raises:
        QueryError: the file cannot be written.
    """
    is_special = path.exists() and not path.is_file()
    partial = path if is_special else path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            with partial.open("wb") as stream:
                yield stream
            if not is_special:
                partial.replace(path)
        finally:
            if not is_special:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise QueryError(f"{path} cannot be written: {error.strerror}.") from error


def write_stream(connection: duckdb.DuckDBPyConnection, question: Question, target: Format, stream: BinaryIO) -> None:
    """Write the answer to a stream.

    Raises:
        QueryError: the question is refused.
        OSError: the stream cannot be written (`BrokenPipeError`: its reader has gone).
    """
    if target.name == "markdown":
        _write_markdown(connection, question, stream)
    elif target.name == "arrow":
        _write_arrow(connection, question, stream)
    else:
        _copy(connection, question, target, stream)


def _copy(connection: duckdb.DuckDBPyConnection, question: Question, target: Format, stream: BinaryIO) -> None:
    """DuckDB writes to paths only, and opening /dev/stdout anew would cut off what a redirected file already holds:
    so it writes into a pipe, in a thread of its own, which leaves this one free to be interrupted.
    """
    sql = _finite(connection, question) if "json" in target.name else question.sql
    reader, writer = os.pipe()
    statement = f"COPY (\n{sql}\n) TO '/dev/fd/{writer}' ({_COPY_OPTIONS[target.name]})"
    refusals: list[Exception] = []

    def work() -> None:
        try:
            connection.execute(statement, dict(question.parameters)).fetchall()
        except Exception as error:  # noqa: BLE001 (raised again by the thread that waits for this one)
            refusals.append(error)
        finally:
            os.close(writer)

    worker = threading.Thread(target=work, name="perfkit-export")
    worker.start()
    try:
        with os.fdopen(reader, "rb") as source:
            shutil.copyfileobj(source, stream, 1 << 16)
        stream.flush()
    except BaseException:
        connection.interrupt()
        raise
    finally:
        worker.join()
    for refusal in refusals:
        _refuse(connection, question, target, refusal)


def _refuse(connection: duckdb.DuckDBPyConnection, question: Question, target: Format, refusal: Exception) -> NoReturn:
    if isinstance(refusal, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        # Asked by itself it fails in the same way, and the message shows the user's own text.
        ask(connection, question)
        raise QueryError(f"this statement has no rows that {target.name} could hold.") from refusal
    with explained():
        raise refusal
    raise AssertionError


def _finite(connection: duckdb.DuckDBPyConnection, question: Question) -> str:
    """The question with NaN and infinities as null: JSON has no word for them."""
    columns = ask(connection, Question(f"DESCRIBE (\n{question.sql}\n)", question.parameters)).rows
    floats = [quote(name) for name, kind, *_ in columns if kind in ("DOUBLE", "FLOAT")]
    if not floats:
        return question.sql
    replaced = ", ".join(f"CASE WHEN isfinite({name}) THEN {name} END AS {name}" for name in floats)
    return f"SELECT * REPLACE ({replaced}) FROM (\n{question.sql}\n)"


def _write_arrow(connection: duckdb.DuckDBPyConnection, question: Question, stream: BinaryIO) -> None:
    import pyarrow as pa

    def read() -> pa.RecordBatchReader:
        return connection.sql(question.sql, params=dict(question.parameters) or None).to_arrow_reader(BATCH_ROWS)

    with explained():
        reader = interruptible(connection, read)
        with pa.ipc.new_stream(stream, reader.schema) as writer:
            while (batch := interruptible(connection, lambda: next(reader, None))) is not None:
                writer.write_batch(batch)


def _write_markdown(connection: duckdb.DuckDBPyConnection, question: Question, stream: BinaryIO) -> None:
    answer = ask(connection, question)
    numeric = [_is_number(kind) for kind in answer.types]

    def line(cells: list[str]) -> bytes:
        return f"| {' | '.join(cells)} |\n".encode()

    stream.write(line([_markdown(name) for name in answer.columns]))
    stream.write(line(["---:" if right else "---" for right in numeric]))
    stream.writelines(line(["" if value is None else _markdown(value) for value in row]) for row in answer.rows)
    stream.flush()


def _markdown(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _is_number(kind: str) -> bool:
    return kind.startswith(("DECIMAL", "FLOAT", "DOUBLE")) or kind.endswith("INT") or kind == "INTEGER"
