"""The `perfkit` program: its commands, and the one place where errors become messages and exit codes.

Exit codes: 0 fine, 1 a negative verdict (commands that judge), 2 could not do its job, 130 interrupted.

Command modules import nothing heavy at their top (numpy, pyarrow, duckdb, rich come inside the functions), so that
`perfkit --help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from functools import cache
from typing import Annotated

import typer

from perfkit.schema.errors import PerfkitError

EXIT_FAILED = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="perfkit",
    help="One SQL database for the output of every Linux profiler and tracer: ingest, query, flame graphs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from perfkit import __version__

        typer.echo(f"perfkit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@cache  # once, however often the program is entered
def _register() -> None:
    """Commands in the order in which `--help` shows them: the road a capture takes."""
    from perfkit.cli import captures, drop, flamegraph, formats, ingest, query

    app.command(epilog=ingest.EPILOG)(ingest.ingest)
    app.command(epilog=captures.EPILOG)(captures.captures)
    app.command(epilog=query.EPILOG)(query.query)
    app.command(epilog=flamegraph.EPILOG)(flamegraph.flamegraph)
    app.command(epilog=drop.EPILOG)(drop.drop)
    app.command(epilog=formats.EPILOG)(formats.formats)


def main() -> None:
    """Run the command line; every failure ends here as a message on stderr and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names and paths come from captured programs: one that the terminal cannot show must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    _register()
    try:
        app()
    except PerfkitError as error:
        print(f"perfkit: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except SystemExit as ended:
        # Typer turns both into exit code 1, which here is a verdict.
        cause = _first_cause(ended)
        if isinstance(cause, BrokenPipeError):
            # The reader (head, less) has gone; the interpreter must not complain when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
            sys.exit(0)
        if isinstance(cause, KeyboardInterrupt):
            print("perfkit: interrupted.", file=sys.stderr)
            sys.exit(EXIT_INTERRUPTED)
        raise


def _first_cause(error: BaseException) -> BaseException:
    while error.__context__ is not None:
        error = error.__context__
        if isinstance(error, BrokenPipeError | KeyboardInterrupt):
            break
    return error


if __name__ == "__main__":
    main()
