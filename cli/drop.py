"""`perfkit drop`: takes captures out of the database."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perfkit.cli.common import DatabaseOption, database_path, examples, note
from perfkit.schema.errors import CaptureNotFoundError, StoreError

EPILOG = examples("perfkit drop @latest --yes", "perfkit drop 1 2 --yes", "perfkit drop --all --yes")


def drop(
    captures: Annotated[
        list[str] | None,
        typer.Argument(metavar="CAPTURE...", show_default=False, help="Captures: id, name, label or @latest."),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Drop all captures.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Remove captures and all their rows from the database."""
    from perfkit.query.captures import resolve_captures, rows
    from perfkit.schema.database import open_for_reading

    path = database_path(database)
    if bool(captures) == everything:
        raise CaptureNotFoundError("name the captures to drop, or --all.", hint="`perfkit captures` lists them.")
    with open_for_reading(path) as connection:
        known = {row["capture_id"]: row["name"] for row in rows(connection, "FROM capture ORDER BY capture_id")}
        ids = list(known) if everything else [i for text in captures or [] for i in resolve_captures(connection, text)]
    ids = sorted(set(ids))
    if not yes:
        _confirm([f"{capture_id} ({known[capture_id]})" for capture_id in ids])

    from perfkit.ingest.store import Store
    from perfkit.query.catalogue import statements

    with Store(path, catalogue=statements()) as store:
        for capture_id in ids:
            store.drop(capture_id)
            note(f"dropped {capture_id} ({known[capture_id]}).")


def _confirm(names: list[str]) -> None:
    if not sys.stdin.isatty():
        raise StoreError(f"this would drop {', '.join(names)}.", hint="There is nobody to ask: say --yes to do it.")
    if not typer.confirm(f"Drop {', '.join(names)}?", err=True):
        note("nothing dropped.")
        raise typer.Exit
