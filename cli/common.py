"""Options and manners that all commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

DatabaseOption = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="Database file [default: $PERFKIT_DB, else ./perfkit.duckdb]."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def database_path(option: Path | None) -> Path:
    """`--db`, else `$PERFKIT_DB`, else `./perfkit.duckdb`."""
    from perfkit.schema.database import default_path

    return option or default_path()


def note(message: str) -> None:
    """Say something to the person at the terminal without touching stdout, which may be a pipe."""
    print(message, file=sys.stderr)


def examples(*lines: str) -> str:
    """The epilog of a command's help: commands that a reader can copy, and that `tests/cli/test_help.py` runs."""
    # \b keeps click from joining the lines into a paragraph.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
