"""Finds the captures that a CAPTURE argument names, and tells what is known of them.

CAPTURE is an id, a name, a label `key=value`, or `@latest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from perfkit.query.run import Question, ask
from perfkit.schema.errors import CaptureNotFoundError

LATEST = "@latest"
_LISTED = 10


def resolve_captures(connection: duckdb.DuckDBPyConnection, text: str | None) -> list[int]:
    """The ids of all captures that `text` names, oldest first; none given means the latest. An id wins over a name,
    and a name over a label.

    Raises:
        CaptureNotFoundError: there are none; the message lists what there is.
    """
    if text is None or text == LATEST:
        found = _ids(connection, "SELECT max(capture_id) FROM capture HAVING count(*) > 0")
    else:
        found = _ids(connection, "SELECT capture_id FROM capture WHERE capture_id::VARCHAR = ?", text)
        found = found or _ids(connection, "SELECT capture_id FROM capture WHERE name = ? ORDER BY ALL", text)
        key, is_label, value = text.partition("=")
        if is_label and not found:
            found = _ids(connection, "SELECT capture_id FROM capture WHERE labels[?] = ? ORDER BY ALL", key, value)
    if not found:
        raise _not_found(connection, text)
    return found


def resolve_capture(connection: duckdb.DuckDBPyConnection, text: str | None) -> int:
    """The id of the one capture that `text` names.

    Raises:
        CaptureNotFoundError: there is none, or there are several.
    """
    found = resolve_captures(connection, text)
    if len(found) > 1:
        raise CaptureNotFoundError(
            f"{text} names {len(found)} captures ({', '.join(map(str, found))}), and one is needed.",
            hint=f"Give an id: the latest of them is {found[-1]}. `perfkit captures` lists them.",
        )
    return found[0]


def summaries(connection: duckdb.DuckDBPyConnection, ids: list[int] | None = None) -> list[dict[str, Any]]:
    """Rows of `capture_summary` by column name, for all captures or those given."""
    where = "" if ids is None else "WHERE list_contains($ids, capture_id)"
    return rows(connection, f"FROM capture_summary {where} ORDER BY capture_id", {} if ids is None else {"ids": ids})


def details(connection: duckdb.DuckDBPyConnection, capture_id: int) -> dict[str, Any]:
    """All that is known of one capture: its row of `capture` and of `capture_summary`, its metrics, its issues, and
    how far the names of each module can be trusted.
    """
    given = {"id": capture_id}
    row = rows(connection, "FROM capture WHERE capture_id = $id", given)[0]
    return {
        **row,
        **summaries(connection, [capture_id])[0],
        "metrics": rows(
            connection,
            "SELECT name, unit, period, frequency, is_estimate FROM metric WHERE capture_id = $id ORDER BY metric_id",
            given,
        ),
        "events": rows(connection, "FROM event_counts(capture := $id)", given),
        "issues": rows(connection, "FROM issues(capture := $id)", given),
        "trust": rows(connection, "FROM trust(capture := $id)", given),
    }


def rows(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object] | None = None
) -> list[dict[str, Any]]:
    """The rows of a small answer, each by column name.

    Raises:
        QueryError: DuckDB refuses the question.
    """
    answer = ask(connection, Question(sql, parameters or {}))
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _ids(connection: duckdb.DuckDBPyConnection, sql: str, *parameters: str) -> list[int]:
    return [row[0] for row in connection.execute(sql, list(parameters)).fetchall()]


def _not_found(connection: duckdb.DuckDBPyConnection, text: str | None) -> CaptureNotFoundError:
    known = connection.execute("SELECT capture_id, name FROM capture ORDER BY capture_id DESC").fetchall()
    if not known:
        return CaptureNotFoundError("this database holds no captures.", hint="`perfkit ingest CAPTURE` adds one.")
    listed = ", ".join(f"{capture_id} ({name})" for capture_id, name in known[:_LISTED])
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return CaptureNotFoundError(
        f"no capture is called {text}; there is {listed}{more}.",
        hint="CAPTURE is an id, a name, a label key=value, or @latest; `perfkit captures` lists them.",
    )
