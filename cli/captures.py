"""`perfkit captures`: what the database holds, at a glance or one capture in detail."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfkit.cli.common import DatabaseOption, JsonOption, database_path, examples, note

EPILOG = examples("perfkit captures", "perfkit captures @latest", "perfkit captures --json")

_LISTED = {
    "id": "capture_id",
    "name": "name",
    "tool": "tool",
    "format": "format",
    "metrics": "metrics",
    "samples": "samples",
    "threads": "threads",
    "span_ns": "span_ns",
    "named_percent": "named_percent",
    "issues": "issues",
    "labels": "labels",
    "ingested": "ingested_at",
}
_TABLES = ("metrics", "events", "issues", "trust")
_TRUST_ROWS = 15


def captures(
    capture: Annotated[
        str | None,
        typer.Argument(metavar="CAPTURE", show_default=False, help="Show these in detail: id, name, label or @latest."),
    ] = None,
    *,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """List the captures, or show one in detail.

    The detail has a capture's issues, and for each module how many of its frames could not be named.
    """
    from perfkit.cli.output import print_json
    from perfkit.query.captures import details, resolve_captures, summaries
    from perfkit.schema.database import open_for_reading

    with open_for_reading(database_path(database)) as connection:
        if capture is None:
            found = summaries(connection)
            if json:
                print_json(found)
            else:
                _print_list(found)
            return
        detailed = [details(connection, capture_id) for capture_id in resolve_captures(connection, capture)]
    if json:
        print_json(detailed)
        return
    for number, item in enumerate(detailed):
        if number:
            print()
        _print_details(item)


def _print_list(found: list[dict[str, Any]]) -> None:
    from perfkit.cli.output import print_table

    if not found:
        note("no captures yet; `perfkit ingest CAPTURE` adds one.")
        return
    # A column that says nothing of any capture only takes room.
    shown = {title: name for title, name in _LISTED.items() if any(row[name] not in (None, {}, []) for row in found)}
    print_table(list(shown), [[row[name] for name in shown.values()] for row in found])


def _print_details(item: dict[str, Any]) -> None:
    from perfkit.cli.output import print_facts, print_table

    print_facts({name: value for name, value in item.items() if name not in _TABLES})
    for name in _TABLES:
        rows: list[dict[str, Any]] = item[name]
        if name == "trust":
            rows = [row for row in rows if row["unnamed"]]
        print(f"\n{_TITLES[name]}:" if rows else f"\n{_TITLES[name]}: none")
        if rows:
            print_table(list(rows[0]), [list(row.values()) for row in rows[:_TRUST_ROWS]])
        if len(rows) > _TRUST_ROWS:
            print(f"… and {len(rows) - _TRUST_ROWS} more: perfkit query @{_QUERIES[name]}")


_TITLES = {"metrics": "metrics", "events": "events", "issues": "issues", "trust": "modules with unnamed frames"}
_QUERIES = {"metrics": "capture-summary", "events": "event-counts", "issues": "issues", "trust": "trust"}
