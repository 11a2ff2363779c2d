"""Asks a database: SQL text with named parameters in, rows out, DuckDB's errors made into clear sentences."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb

from perfkit.schema.errors import QueryError

FETCH_ROWS = 10_000
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Question:
    """One statement that yields rows, with the parameters it uses."""

    sql: str
    parameters: Mapping[str, object]

    def limited(self, rows: int) -> Question:
        """The same, cut after `rows` rows."""
        return Question(f"FROM (\n{self.sql}\n) LIMIT {rows:d}", self.parameters)


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns of an answer, and its rows as they are asked for."""

    columns: list[str]
    types: list[str]
    rows: Iterator[tuple[Any, ...]]


def prepare(connection: duckdb.DuckDBPyConnection, text: str, parameters: Mapping[str, object]) -> Question:
    """The last statement of `text`, after running those before it (such as `SET VARIABLE`).

    Raises:
        QueryError: the text is empty or does not parse, or the parameters are not those it uses.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:  # bytes of the command line that are no UTF-8
        raise QueryError("the SQL is not UTF-8 text.") from error
    with explained():
        parsed = connection.extract_statements(text)
    if not parsed:
        raise QueryError(
            "there is no SQL to run.", hint='For example: `perfkit query "FROM hot_functions() LIMIT 10"`.'
        )
    used = set[str]().union(*(statement.named_parameters for statement in parsed))
    if missing := sorted(used - parameters.keys()):
        raise QueryError(
            f"the SQL uses ${missing[0]}, which has no value.", hint=f"Give it as `-p {missing[0]}=VALUE`."
        )
    if unused := sorted(parameters.keys() - used):
        raise QueryError(f"the SQL does not use the parameter ${unused[0]}.")
    questions = [
        Question(_bare(statement.query), {name: parameters[name] for name in statement.named_parameters})
        for statement in parsed
    ]
    for question in questions[:-1]:
        list(ask(connection, question).rows)
    return questions[-1]


def parameters_of(connection: duckdb.DuckDBPyConnection, text: str) -> set[str]:
    """The names of the `$name` parameters in SQL; empty for text that is no SQL."""
    try:
        return set[str]().union(*(statement.named_parameters for statement in connection.extract_statements(text)))
    except duckdb.Error:
        return set()


def ask(connection: duckdb.DuckDBPyConnection, question: Question) -> Answer:
    """Run a question; its rows are fetched in blocks, so that an answer of any size takes little memory.

    Raises:
        QueryError: DuckDB refuses it; also while rows are fetched.
    """
    with explained():
        result = interruptible(connection, lambda: connection.execute(question.sql, dict(question.parameters)))
        description = result.description or []

    def rows() -> Iterator[tuple[Any, ...]]:
        while True:
            with explained():
                block = interruptible(connection, lambda: result.fetchmany(FETCH_ROWS))
            if not block:
                return
            yield from block

    return Answer([str(column[0]) for column in description], [str(column[1]) for column in description], rows())


def interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises. It runs in a thread of its own: DuckDB's client does not always notice Ctrl-C
    while it works in the main thread.
    """
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 (raised again by the thread that waits for this one)
            errors.append(error)
        finally:
            done.set()

    # Not join(): a join that was interrupted takes the thread for finished (CPython 3.11).
    done = threading.Event()
    threading.Thread(target=run, name="perfkit-query").start()
    try:
        done.wait()
    except BaseException:
        connection.interrupt()
        done.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]


class explained:  # noqa: N801 (a context manager, read as a word of the sentence)
    """Turns DuckDB's errors inside the block into `QueryError`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # Ctrl-C during a query comes as a bare RuntimeError from DuckDB's Python client.
        if isinstance(error, duckdb.InterruptException) or (
            type(error) is RuntimeError and "interrupted" in str(error)
        ):
            raise KeyboardInterrupt from error
        if isinstance(error, duckdb.Error):
            raise explain(error) from error


def explain(error: duckdb.Error) -> QueryError:
    """DuckDB's message without its boilerplate: what is wrong, what was meant, and the place in the text."""
    message = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", str(error)).strip()
    if "attached in read-only mode" in message:
        return QueryError(
            "`perfkit query` only reads, and this statement would change the database.",
            hint="`perfkit ingest` and `perfkit drop` change it; DuckDB itself can write to a copy of the file.",
        )
    # Its catalogue of PostgreSQL names is never what was meant.
    message = re.sub(r'\nDid you mean "pg_\w+"\?', "", message)
    message = re.sub(r"\n{2,}", "\n", message)
    return QueryError(message, hint=_hint(error, message))


def _hint(error: duckdb.Error, message: str) -> str:
    if isinstance(error, duckdb.CatalogException):
        if "Function" in message:
            return "`perfkit query --list` lists the saved queries."
        return "`perfkit query --tables` lists the tables."
    if isinstance(error, duckdb.BinderException) and "column" in message:
        return "`perfkit query --tables TABLE` lists the columns of a table."
    if isinstance(error, duckdb.OutOfMemoryException):
        return "Ask for less, or let DuckDB use more: `SET memory_limit = '8GB'; SELECT …`."
    return ""


def _bare(statement: str) -> str:
    """The statement without closing semicolons and what follows them, so that it can stand in parentheses."""
    text = statement.encode()  # DuckDB's offsets count bytes
    end = len(text)
    for offset, kind in reversed(duckdb.tokenize(statement)):
        if text[offset : offset + 1] == b";":
            end = offset
        elif kind != duckdb.token_type.comment:
            break
    return text[:end].decode().strip()
