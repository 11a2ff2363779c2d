"""Which samples a picture is made of, as the person asked for them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

from perfkit.query.flamegraph.options import WHERE_COLUMNS, Grouping
from perfkit.schema.database import fetch_one
from perfkit.schema.errors import QueryError
from perfkit.schema.names import ESTIMATED_STACKS

SAMPLE_COUNT = "samples"
"""Name of the metric that every capture has: one for each sample."""

_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_TIME = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m)?\s*")


@dataclass(frozen=True, slots=True)
class Selection:
    """The samples of `captures` that count `metric` (None: the first that was sampled), from `start` to `end` (see
    `parse_time`), for which the SQL condition `where` holds.
    """

    captures: tuple[int, ...]
    metric: str | None = None
    by: Grouping = Grouping.COMM
    where: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """What the widths of a picture mean: `ids` are the (capture_id, metric_id) that are summed."""

    name: str
    unit: str
    is_estimate: bool
    aggregation: str
    ids: tuple[tuple[int, int], ...]
    others: tuple[str, ...]

    @property
    def counts_samples(self) -> bool:
        """Whether each sample counts as one, whatever its own value."""
        return self.aggregation == "count"


def choose_metric(connection: duckdb.DuckDBPyConnection, selection: Selection) -> Metric:
    """The metric asked for, else the first that has samples; where its cost is also there on estimated stacks (a
    call graph's exact costs have none), those, as there is nothing else to draw. `samples` counts the first's samples.

    Raises:
        QueryError: the captures have no samples, or none of that metric.
    """
    # The lowest capture and metric first: tools list events in the order in which they were asked for.
    rows = connection.execute(
        "SELECT capture_id, metric_id, name, unit, is_estimate, aggregation FROM metric "
        f"WHERE capture_id IN ({_ids(selection)}) AND (capture_id, metric_id) IN "
        f"(SELECT (capture_id, metric_id) FROM sample WHERE capture_id IN ({_ids(selection)}) GROUP BY ALL) "
        "ORDER BY capture_id, metric_id"
    ).fetchall()
    if not rows:
        raise QueryError(
            "the capture has no samples, so there is nothing to draw.",
            hint="`perfkit captures` shows what each capture holds.",
        )
    names = list(dict.fromkeys(row[2] for row in rows))
    count_samples = selection.metric == SAMPLE_COUNT and SAMPLE_COUNT not in names
    name = names[0] if selection.metric is None or count_samples else _match(names, selection.metric)
    if selection.metric is None and name + ESTIMATED_STACKS in names:
        name += ESTIMATED_STACKS
    chosen = [row for row in rows if row[2] == name]
    return Metric(
        name=SAMPLE_COUNT if count_samples else name,
        unit="sample" if count_samples else chosen[0][3],
        is_estimate=not count_samples and any(row[4] for row in chosen),
        aggregation="count" if count_samples else chosen[0][5],
        ids=tuple((row[0], row[1]) for row in chosen),
        others=tuple(other for other in names if other != name),
    )


def _match(names: list[str], wanted: str) -> str:
    if wanted in names:
        return wanted
    # `cpu-clock` for `cpu-clock:ppp`: the modifiers after the colon are perf's, not the person's.
    similar = [name for name in names if name.split(":", 1)[0] == wanted]
    if len(similar) == 1:
        return similar[0]
    raise QueryError(
        f"no samples of a metric named {wanted!r}.", hint=f"Sampled here: {', '.join(names)}; or `{SAMPLE_COUNT}`."
    )


def parse_time(text: str) -> tuple[int, bool]:
    """A time as (nanoseconds, whether it counts from the capture's start). `1.5s`, `200ms`, `30us` count from the
    start; a bare whole number is a time of the capture's own clock.

    Raises:
        QueryError: it is neither.
    """
    match = _TIME.fullmatch(text)
    if match is None or (match[2] is None and "." in match[1]):
        raise QueryError(
            f"{text!r} is no time.",
            hint="Write 1.5s, 200ms or 30us after the capture's start, or nanoseconds of its clock as a bare number.",
        )
    if match[2] is None:
        return int(match[1]), False
    return round(float(match[1]) * _UNITS_NS[match[2]]), True


def time_condition(connection: duckdb.DuckDBPyConnection, selection: Selection) -> str:
    """The SQL condition on `capture_id` and `ts` for the selection's time range; empty when it has none. The range
    is half-open: a sample at `end` is outside.
    """
    if selection.start is None and selection.end is None:
        return ""
    parts = []
    for capture_id in selection.captures:
        bounds = [f"capture_id = {capture_id}"]
        for text, operator in ((selection.start, ">="), (selection.end, "<")):
            if text is not None:
                time_ns, is_relative = parse_time(text)
                base = _start_ns(connection, capture_id) if is_relative else 0
                bounds.append(f"ts {operator} {base + time_ns}")
        parts.append(f"({' AND '.join(bounds)})")
    return f"({' OR '.join(parts)})"


def _start_ns(connection: duckdb.DuckDBPyConnection, capture_id: int) -> int:
    row = fetch_one(
        connection,
        "SELECT coalesce(any_value(c.start_ts), min(s.ts)) FROM capture c LEFT JOIN sample s USING (capture_id) "
        "WHERE c.capture_id = ?",
        [capture_id],
    )
    if row is None or row[0] is None:
        raise QueryError("the capture's samples have no times, so --from and --to cannot choose among them.")
    return int(row[0])


def check_condition(where: str) -> None:
    """Refuse what is not one SQL expression, before it is placed in a statement.

    Raises:
        QueryError: DuckDB cannot read it as an expression.
    """
    try:
        duckdb.SQLExpression(where)
    except duckdb.Error as error:
        raise condition_error(where, error) from error


def condition_error(where: str, error: duckdb.Error) -> QueryError:
    """What DuckDB said of a condition, for people."""
    said = str(error).splitlines()[0]
    return QueryError(
        f"the condition {where!r} cannot be used: {said}",
        hint=f"It may use the columns {', '.join(WHERE_COLUMNS)}.",
    )


def _ids(selection: Selection) -> str:
    return ", ".join(str(int(capture_id)) for capture_id in selection.captures)
