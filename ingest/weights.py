"""Adds the samples up over the call tree once, when a capture is added, so that no question need do it again."""

from __future__ import annotations

import duckdb

_FILL = """
INSERT INTO stack_weight
WITH leaf AS MATERIALIZED (
    SELECT metric_id, stack_id, sum(value)::BIGINT AS self, count(*) AS samples
    FROM sample
    WHERE capture_id = $capture
    GROUP BY ALL
),
node AS MATERIALIZED (
    SELECT
        m.metric_id, k.stack_id, k.tree_enter, k.tree_leave,
        coalesce(l.self, 0) AS self,
        coalesce(l.samples, 0) AS samples,
        sum(coalesce(l.self, 0)) OVER walk AS running,
        sum(coalesce(l.samples, 0)) OVER walk AS running_samples
    FROM stack AS k
    CROSS JOIN (SELECT DISTINCT metric_id FROM leaf WHERE stack_id IS NOT NULL) AS m
    LEFT JOIN leaf AS l ON l.metric_id = m.metric_id AND l.stack_id = k.stack_id
    WHERE k.capture_id = $capture
    WINDOW walk AS (PARTITION BY m.metric_id ORDER BY k.tree_enter ROWS UNBOUNDED PRECEDING)
)
SELECT
    $capture, n.metric_id, n.stack_id,
    n.self,
    (e.running - n.running + n.self)::BIGINT AS total,
    n.samples,
    (e.running_samples - n.running_samples + n.samples)::BIGINT AS total_samples
FROM node AS n
JOIN node AS e ON e.metric_id = n.metric_id AND e.tree_enter = n.tree_leave
WHERE e.running_samples - n.running_samples + n.samples > 0
UNION ALL
SELECT $capture, metric_id, NULL, self, self, samples, samples FROM leaf WHERE stack_id IS NULL
ORDER BY metric_id, stack_id
"""


def fill_stack_weights(connection: duckdb.DuckDBPyConnection, capture_id: int) -> None:
    """Fill `stack_weight` for a capture whose samples and stacks are in the database.

    A node's total is the sum over the nodes whose `tree_enter` lies in its range: the difference of two running sums.
    """
    connection.execute(_FILL, {"capture": capture_id}).fetchall()
