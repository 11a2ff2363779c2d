"""`perfkit flamegraph`: the weighted stacks of a capture as one picture, or as folded lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from perfkit.cli.common import DatabaseOption, database_path, examples, note
from perfkit.query.flamegraph.options import WHERE_COLUMNS, Format, Grouping, Options
from perfkit.schema.errors import PerfkitError, QueryError

EPILOG = examples(
    "perfkit flamegraph",
    "perfkit flamegraph @latest -o cpu.svg --icicle --by process --min-width 0.1%",
    "perfkit flamegraph --metric samples --from 0s --to 2.5s -o start.html",
    'perfkit flamegraph --where "tid > 0" --title "Without the idle task"',
    "perfkit flamegraph --format folded -o - | sort -t ' ' -k 2 -n",
)
STDOUT = Path("-")

_WHERE_HELP = (
    "Only samples for which this SQL condition holds. It may use "
    f"{', '.join(WHERE_COLUMNS)}; function, module, kind and depth are those of the innermost frame."
)


def flamegraph(
    *,
    capture: Annotated[
        str | None, typer.Argument(metavar="CAPTURE", help="An id, a name, a label key=value, or @latest.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, - for stdout [default: flamegraph.html].")
    ] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="What to write [default: by the file's suffix, else html].")
    ] = None,
    by: Annotated[
        Grouping,
        typer.Option(help="What the stacks stand on: thread names (comm), each process, each thread, or nothing."),
    ] = Grouping.COMM,
    metric: Annotated[
        str | None,
        typer.Option(help="What widths mean: an event's name, or `samples` to count [default: the first sampled]."),
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help=_WHERE_HELP)] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From this time on: 1.5s, 200ms; a bare number is ns.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to this time, exclusive.")] = None,
    root: Annotated[
        str | None, typer.Option(metavar="FUNCTION", help="Start at this function: its calls merged, callees below.")
    ] = None,
    min_width: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Leave out frames narrower than this share of the whole: 0.1% or 0.001."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the picture [default: the capture's name].")] = None,
    icicle: Annotated[
        bool, typer.Option("--icicle/--flame", help="Outermost frames at the top, or at the bottom.")
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Folded: mark kernel functions _[k] and run-time compiled ones _[j].")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Draw the stacks of a capture as a flame graph.

    It is one self-contained HTML or SVG file, or folded lines.
    """
    from perfkit.query.captures import resolve_captures
    from perfkit.query.flamegraph.profile import load_profile
    from perfkit.query.flamegraph.render import RENDERERS
    from perfkit.query.flamegraph.selection import Selection
    from perfkit.schema.database import open_for_reading

    chosen = output_format or _format_of(output)
    target = output or Path(f"flamegraph{RENDERERS[chosen].suffix}")
    options = Options(title, icicle, _share(min_width), root, annotate)
    with open_for_reading(database_path(database)) as connection:
        captures = tuple(resolve_captures(connection, capture))
        profile = load_profile(connection, Selection(captures, metric, by, where, start, end))
    if root is not None:
        profile = profile.rooted_at(root)
    if metric is None and profile.metric.others:
        note(f"Showing {profile.metric.name}; also sampled: {', '.join(profile.metric.others)} (--metric).")
    _write(target, RENDERERS[chosen].render(profile, options))
    if target != STDOUT:
        print(target)


def _format_of(output: Path | None) -> Format:
    if output is None or output == STDOUT:
        return Format.HTML
    suffix = output.suffix.lower()
    for form, suffixes in {
        Format.HTML: (".html", ".htm"),
        Format.SVG: (".svg",),
        Format.FOLDED: (".folded", ".txt"),
    }.items():
        if suffix in suffixes:
            return form
    raise QueryError(
        f"cannot tell from {output.name!r} what to write.", hint="Name it .html, .svg or .folded, or give --format."
    )


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise QueryError(f"--min-width {text}: expected a share of the whole.", hint="Write 0.1% or 0.001.")
    return share


def _write(target: Path, parts: Iterator[str]) -> None:
    if target == STDOUT:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        sys.stdout.writelines(parts)
        return
    try:
        with target.open("w", encoding="utf-8") as file:
            file.writelines(parts)
    except OSError as error:
        raise PerfkitError(f"cannot write {target}: {error.strerror}.") from error
