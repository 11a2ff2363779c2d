"""Sums samples by thread, name and stack in the database: millions of samples become thousands of weights."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from perfkit.query.flamegraph.options import Grouping
from perfkit.query.flamegraph.selection import (
    Metric,
    Selection,
    check_condition,
    condition_error,
    time_condition,
)
from perfkit.schema.errors import QueryError

Ints = npt.NDArray[np.int64]

KEY_BITS = 32
"""Ids are local to a capture: `capture_id << KEY_BITS | id` is unique in the database."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One row for each (group, stack): `group` indexes `labels`; `stack` is a key of a node (see `KEY_BITS`), -1
    where the samples have no stack; `value` is in the metric's unit.
    """

    labels: list[str]
    group: Ints
    stack: Ints
    value: Ints


def load_weights(connection: duckdb.DuckDBPyConnection, selection: Selection, metric: Metric) -> Weights:
    """The selection's weights.

    Raises:
        QueryError: `where` is not a condition on `WHERE_COLUMNS`, or the values do not fit 64 bits.
    """
    if selection.where:
        check_condition(selection.where)
    sql = f"""
        WITH {_samples(connection, selection, metric)}
        SELECT coalesce({_thread_key("named")}, -1) AS thread, coalesce(name_id, -1) AS name_id,
            coalesce(capture_id::BIGINT << {KEY_BITS} | stack_id, -1) AS stack, {_value(metric)}::BIGINT AS value
        FROM {_filtered(selection)} GROUP BY capture_id, utid, name_id, stack_id
    """
    try:
        columns = connection.execute(sql).fetchnumpy()
    except duckdb.Error as error:
        if selection.where:
            raise condition_error(selection.where, error) from error
        raise QueryError(f"the samples cannot be summed: {str(error).splitlines()[0]}") from error
    thread, name_id, stack, value = (
        np.asarray(columns[name], dtype=np.int64) for name in ("thread", "name_id", "stack", "value")
    )
    has_weight = value > 0
    group, labels = _labels(connection, selection, thread[has_weight], name_id[has_weight])
    return Weights(labels, group, stack[has_weight], value[has_weight])


def _value(metric: Metric) -> str:
    if metric.counts_samples:
        return "count(*)"
    # A level (bytes in use) is what it was last; adding up its readings would mean nothing.
    return "arg_max(value, coalesce(ts, 0))" if metric.aggregation == "last" else "sum(value)"


def _samples(connection: duckdb.DuckDBPyConnection, selection: Selection, metric: Metric) -> str:
    """Common table expressions up to `named`: the samples with the name their thread had at the time.

    Only threads that took another name after their first sample are looked up by time, since that costs a sort.
    """
    chosen = " OR ".join(f"(capture_id = {capture} AND metric_id = {metric_id})" for capture, metric_id in metric.ids)
    times = time_condition(connection, selection)
    return f"""
        {_names(selection)},
        chosen AS (
            SELECT capture_id, ts, cpu, utid, stack_id, value FROM sample
            WHERE ({chosen}) {f"AND {times}" if times else ""}
        ),
        renamed AS (
            SELECT DISTINCT capture_id, utid FROM thread_name
            JOIN (SELECT capture_id, utid, min(ts) AS first_ts FROM chosen GROUP BY ALL) USING (capture_id, utid)
            WHERE ts > first_ts
        ),
        taken AS (
            SELECT capture_id, utid, coalesce(ts, {-(2**63) + 1}) AS ts, name_id
            FROM thread_name JOIN names USING (name) SEMI JOIN renamed USING (capture_id, utid)
        ),
        last_taken AS (SELECT capture_id, utid, name_id FROM thread JOIN names USING (name)),
        named AS (
            SELECT c.*, l.name_id FROM (FROM chosen ANTI JOIN renamed USING (capture_id, utid)) AS c
            LEFT JOIN last_taken AS l USING (capture_id, utid)
            UNION ALL
            SELECT c.*, t.name_id FROM (FROM chosen SEMI JOIN renamed USING (capture_id, utid)) AS c
            ASOF LEFT JOIN taken AS t ON c.capture_id = t.capture_id AND c.utid = t.utid AND c.ts >= t.ts
        )"""


def _names(selection: Selection) -> str:
    ids = ", ".join(str(int(capture)) for capture in selection.captures)
    return f"""
        names AS (
            SELECT name, (row_number() OVER (ORDER BY name) - 1)::INTEGER AS name_id FROM (
                SELECT name FROM thread WHERE capture_id IN ({ids}) AND name IS NOT NULL
                UNION SELECT name FROM thread_name WHERE capture_id IN ({ids})
            )
        )"""


def _filtered(selection: Selection) -> str:
    """`named`, or what of it `where` lets through. The condition sees only the columns of `WHERE_COLUMNS`."""
    if not selection.where:
        return "named"
    return f"""(
        SELECT * FROM (
            SELECT n.capture_id, n.ts, (n.ts - coalesce(c.start_ts, 0)) / 1e9 AS seconds, n.cpu, n.utid, n.stack_id,
                n.value, n.name_id, names.name AS thread, t.tid, p.name AS process, p.pid, p.upid,
                f.function, f.module, f.kind, f.source_file, s.depth
            FROM named AS n
            JOIN capture AS c USING (capture_id)
            LEFT JOIN names USING (name_id)
            LEFT JOIN thread AS t ON t.capture_id = n.capture_id AND t.utid = n.utid
            LEFT JOIN process AS p ON p.capture_id = n.capture_id AND p.upid = t.upid
            LEFT JOIN stack AS s ON s.capture_id = n.capture_id AND s.stack_id = n.stack_id
            LEFT JOIN frame AS f ON f.capture_id = n.capture_id AND f.frame_id = s.frame_id
        ) AS sample WHERE ({selection.where}
        )
    ) AS named"""


def _thread_key(table: str) -> str:
    return f"({table}.capture_id::BIGINT << {KEY_BITS} | {table}.utid)"


def _labels(
    connection: duckdb.DuckDBPyConnection, selection: Selection, thread: Ints, name_id: Ints
) -> tuple[Ints, list[str]]:
    """For each row the index of its group, and the groups' labels."""
    if selection.by is Grouping.NONE:
        return np.zeros(len(thread), dtype=np.int64), ["[no stack]"]
    names = [row[0] for row in connection.execute(f"WITH {_names(selection)} FROM names ORDER BY name_id").fetchall()]
    if selection.by is Grouping.COMM:
        # An id of -1 (a thread without a name) takes the entry at the end.
        return name_id % (len(names) + 1), [*names, "[unknown]"]
    pairs, inverse = np.unique(np.stack([thread, name_id], axis=1), axis=0, return_inverse=True)
    threads = _threads(connection, selection)
    labels: dict[str, int] = {}
    index = []
    for thread_key, name in pairs.tolist():
        process, pid, tid = threads.get(thread_key, (None, None, None))
        comm = names[name] if name >= 0 else "[unknown]"
        # FlameGraph writes `?` for a pid that the recording does not tell.
        shown_pid = "?" if pid is None or pid < 0 else pid
        label = (
            f"{process or comm}-{shown_pid}"
            if selection.by is Grouping.PROCESS
            else f"{comm}-{shown_pid}/{'?' if tid is None else tid}"
        )
        index.append(labels.setdefault(label, len(labels)))
    return np.array(index, dtype=np.int64)[inverse.reshape(-1)], list(labels)


def _threads(
    connection: duckdb.DuckDBPyConnection, selection: Selection
) -> dict[int, tuple[str | None, int | None, int | None]]:
    ids = ", ".join(str(int(capture)) for capture in selection.captures)
    rows = connection.execute(
        f"SELECT {_thread_key('t')}, p.name, p.pid, t.tid FROM thread AS t "
        f"LEFT JOIN process AS p ON p.capture_id = t.capture_id AND p.upid = t.upid WHERE t.capture_id IN ({ids})"
    ).fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}
