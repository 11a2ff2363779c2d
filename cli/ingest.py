"""`perfkit ingest`: captures become rows."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit.cli.common import DatabaseOption, JsonOption, database_path, examples, note
from perfkit.schema.errors import PerfkitError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.ingest.pipeline import IngestOptions, Outcome
    from perfkit.ingest.store import Store

EPILOG = examples(
    "perfkit ingest perf.data",
    "perfkit ingest traces/ --label build=42 --label branch=main",
    "perf record -g -o - -- ./app | perfkit ingest - --name app",
    "perfkit ingest perf.data --symfs sysroot/ --json",
)
_BAR_AFTER_SECONDS = 1.0
_MEMORY_LIMIT = "160MB"
"""For DuckDB's own buffers; it writes to disk what does not fit."""


def ingest(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs; `-` is standard input.")
    ],
    *,
    db: DatabaseOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the capture [default: the file's name].")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Label the captures; may be repeated.")
    ] = None,
    symfs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Look for binaries below this copy of the recorded machine.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Add content that is in the database already.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Captures read at once [default: all cores].")] = 0,
    json: JsonOption = False,
) -> None:
    """Read captures of any known format into the database.

    Formats are told by content, not by name. A capture is added whole or not at all, and content that is in the
    database already is recognised and not added again. What could not be read is counted; `perfkit captures @latest`
    shows the counts.
    """
    from perfkit.ingest.find import find_captures
    from perfkit.ingest.pipeline import IngestOptions
    from perfkit.ingest.symbols.symboliser import SymbolOptions

    if symfs is not None and not symfs.is_dir():
        raise SourceError(f"--symfs {symfs} is no folder.")
    found = find_captures(paths)
    if not found.captures and found.errors:
        _complain(found.errors)
        raise typer.Exit(2)
    options = IngestOptions(
        symbols=SymbolOptions(symfs=symfs),
        again=again,
        name=name,
        labels=_labels(label or []),
        jobs=jobs or os.cpu_count() or 1,
    )
    outcomes, rows = _run(database_path(db), found.captures, options)
    _show(outcomes, rows, json=json)
    if found.passed_over:
        note(f"{len(found.passed_over)} files in the folders are of no known format and were passed over.")
    errors = [*found.errors, *(outcome.error for outcome in outcomes if outcome.error is not None)]
    _complain(errors)
    if errors:
        raise typer.Exit(2)


def _labels(given: Sequence[str]) -> dict[str, str]:
    labels = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise SourceError(f"--label {item}: expected KEY=VALUE.", hint="For example `--label build=42`.")
        labels[key] = value
    return labels


def _run(
    database: Path, paths: Sequence[str], options: IngestOptions
) -> tuple[list[Outcome], dict[int, dict[str, object]]]:
    from perfkit.ingest.store import Store
    from perfkit.query.catalogue import statements

    memory = os.environ.get("PERFKIT_MEMORY_LIMIT") or _MEMORY_LIMIT
    with Store(database, catalogue=statements(), threads=options.jobs, memory_limit=memory) as store:
        outcomes = list(_with_progress(store, paths, options))
        ids = [outcome.capture_id for outcome in outcomes if outcome.capture_id is not None]
        return outcomes, _summaries(store, ids)


def _with_progress(store: Store, paths: Sequence[str], options: IngestOptions) -> Iterator[Outcome]:
    from perfkit.ingest.pipeline import ingest as run

    if not sys.stderr.isatty():
        yield from run(store, paths, options)
        return
    bar = _Bar(len(paths))
    try:
        for outcome in run(store, paths, options, bar.update):
            bar.finish_one()
            yield outcome
    finally:
        bar.close()


class _Bar:
    """A progress bar on stderr that shows itself only when the work takes longer than a second."""

    def __init__(self, count: int) -> None:
        self._started = time.monotonic()
        self._count = count
        self._done = 0
        self._shown = False

    def update(self, path: str, done: int, total: int) -> None:
        if time.monotonic() - self._started < _BAR_AFTER_SECONDS or not total:
            return
        self._shown = True
        width = 30
        share = done / total
        filled = "█" * int(share * width)
        which = f"{self._done + 1}/{self._count} " if self._count > 1 else ""
        name = Path(path).name[:40]
        sys.stderr.write(f"\r\x1b[2K{which}{name} {filled:░<{width}} {share:4.0%} of {total / 1e6:,.0f} MB")
        sys.stderr.flush()

    def finish_one(self) -> None:
        self._done += 1

    def close(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def _summaries(store: Store, ids: Sequence[int]) -> dict[int, dict[str, object]]:
    if not ids:
        return {}
    result = store.connection.execute(
        f"SELECT * FROM capture_summary WHERE capture_id IN ({', '.join(str(i) for i in ids)})"
    )
    names = [column[0] for column in result.description]
    return {row[0]: dict(zip(names, row, strict=True)) for row in result.fetchall()}


def _show(outcomes: Sequence[Outcome], summaries: dict[int, dict[str, object]], *, json: bool) -> None:
    from perfkit.cli.output import print_json, print_table

    shown = ("name", "tool", "metrics", "samples", "threads", "span_ns", "named_percent", "issues")
    rows: list[dict[str, object]] = []
    for outcome in outcomes:
        if outcome.capture_id is None:
            continue
        summary = summaries.get(outcome.capture_id, {})
        rows.append(
            {"id": outcome.capture_id, "status": "known" if outcome.is_known else "added"}
            | {key: summary.get(key) for key in shown}
            | {"seconds": round(outcome.seconds, 2)}
        )
    if json:
        failures = [
            {"path": outcome.path, "status": "failed", "error": str(outcome.error)}
            for outcome in outcomes
            if outcome.error is not None
        ]
        print_json([*rows, *failures])
    elif rows:
        print_table(list(rows[0]), [tuple(row.values()) for row in rows])


def _complain(errors: Sequence[PerfkitError]) -> None:
    for error in errors:
        note(f"perfkit: {error.message}")
        if error.hint:
            note(f"  {error.hint}")
