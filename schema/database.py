"""Opens a perfkit database, for writing or read-only, and says clearly why when it cannot."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import duckdb

from perfkit.schema.errors import NotAStoreError, StoreBusyError, StoreError, StoreVersionError
from perfkit.schema.template import copy_template
from perfkit.schema.version import META_TABLE, SCHEMA_VERSION

DEFAULT_NAME = "perfkit.duckdb"


def default_path() -> Path:
    """`$PERFKIT_DB`, else `perfkit.duckdb` in the working folder."""
    return Path(os.environ.get("PERFKIT_DB") or DEFAULT_NAME)


def open_for_reading(path: Path, *, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A read-only connection, so that any number of readers can share the file.

    Raises:
        StoreError: there is no such database, it is busy, or it is not one of this perfkit's.
    """
    if not path.exists():
        raise StoreError(
            f"there is no database at {path}.",
            hint="`perfkit ingest CAPTURE` makes one; `--db` or PERFKIT_DB names another.",
        )
    connection = _connect(path, read_only=True, threads=threads)
    _require_version(connection, path)
    return connection


def open_for_writing(
    path: Path, *, catalogue: Sequence[str] = (), threads: int | None = None, memory_limit: str | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection for writing; makes the database where there is none. `catalogue` are the statements of views and
    macros, replaced on every call so that the file always answers as this perfkit does.

    Raises:
        StoreError: the folder does not exist, the file is busy, or it is not one of this perfkit's.
    """
    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} for the database does not exist.", hint=f"mkdir -p {path.parent}")
    is_new = not path.exists()
    is_ready = is_new and copy_template(path, _definitions(catalogue))
    connection = _connect(path, read_only=False, threads=threads)
    if memory_limit:
        connection.execute(f"SET memory_limit = '{memory_limit}'")
    if is_ready:
        return connection
    try:
        connection.execute("BEGIN")
        if is_new or _is_empty(connection):
            for statement in _definitions(catalogue):
                connection.execute(statement)
        else:
            _require_version(connection, path)
            _renew_catalogue(connection, catalogue)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        if is_new:
            path.unlink(missing_ok=True)
        raise
    return connection


def _definitions(catalogue: Sequence[str]) -> list[str]:
    """All that makes an empty DuckDB file a perfkit database."""
    from perfkit.schema.ddl import create_statements  # loads Arrow, which readers do without

    remember = f"INSERT INTO {META_TABLE} VALUES ('catalogue', '{_digest(catalogue)}')"
    return [*create_statements(_own_version()), *catalogue, remember]


def _renew_catalogue(connection: duckdb.DuckDBPyConnection, catalogue: Sequence[str]) -> None:
    """Replace the views and macros where those in the file are another version's."""
    row = fetch_one(connection, f"SELECT value FROM {META_TABLE} WHERE key = 'catalogue'")
    digest = _digest(catalogue)
    if not catalogue or (row is not None and row[0] == digest):
        return
    for statement in catalogue:
        connection.execute(statement)
    connection.execute(f"DELETE FROM {META_TABLE} WHERE key = 'catalogue'")
    connection.execute(f"INSERT INTO {META_TABLE} VALUES ('catalogue', '{digest}')")


def _digest(catalogue: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(catalogue).encode()).hexdigest()


def fetch_one(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()
) -> tuple[Any, ...] | None:
    """The first row of an answer, or None. Reads the answer to its end: DuckDB refuses other work on a connection
    whose last result was left unfinished.
    """
    rows = connection.execute(sql, list(parameters)).fetchall()
    return rows[0] if rows else None


def _connect(path: Path, *, read_only: bool, threads: int | None) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
    if threads:
        config["threads"] = threads
    try:
        return duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as error:
        raise _explain(path, str(error)) from error


def _explain(path: Path, message: str) -> StoreError:
    if "lock" in message:
        holder = re.search(r"\(PID (\d+)\)", message)
        who = f"process {holder.group(1)}" if holder else "another process"
        return StoreBusyError(
            f"{path} is held by {who}, which is writing to it.",
            hint="Wait until it has finished, or name another database with --db.",
        )
    if "not a valid DuckDB database" in message or "magic" in message.lower():
        return NotAStoreError(f"{path} is no DuckDB database.", hint="Name another file with --db.")
    return StoreError(f"{path} cannot be opened: {message.splitlines()[0]}")


def _is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    found = fetch_one(connection, "SELECT count(*) FROM duckdb_tables()")
    return found is not None and found[0] == 0


def _require_version(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        row = fetch_one(connection, f"SELECT value FROM {META_TABLE} WHERE key = 'schema_version'")
    except duckdb.CatalogException:
        row = None
    if row is None:
        connection.close()
        raise NotAStoreError(
            f"{path} is a DuckDB database, but not one that perfkit made.", hint="Name another file with --db."
        )
    found = int(row[0])
    if found == SCHEMA_VERSION:
        return
    connection.close()
    if found > SCHEMA_VERSION:
        raise StoreVersionError(
            f"{path} has schema version {found}; this perfkit knows versions up to {SCHEMA_VERSION}.",
            hint="Upgrade perfkit, or name another file with --db.",
        )
    raise StoreVersionError(
        f"{path} has schema version {found}; this perfkit writes version {SCHEMA_VERSION} and cannot read it.",
        hint="Ingest the captures again into a new file: `perfkit ingest --db NEW.duckdb CAPTURE…`.",
    )


def _own_version() -> str:
    try:
        return version("perfkit")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
