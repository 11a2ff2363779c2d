-- The functions that cost most, by themselves (self) and with all they call (total).
--
-- A sample counts once for each function on its stack, however often recursion repeats it there. Samples without a
-- stack are the function `[no stack]`.
--
-- group: functions
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column self: weight of the samples in the function itself, in the metric's unit
-- column total: weight of the samples in the function or in what it calls
-- column samples: samples in the function itself
-- column unit: unit of the weights
-- example: SELECT function, self_percent, total_percent FROM hot_functions() LIMIT 10
CREATE OR REPLACE MACRO hot_functions(capture := NULL, metric := NULL) AS TABLE
WITH by_frame AS MATERIALIZED (
    SELECT
        w.frame_id,
        any_value(w.capture_id) AS capture_id,
        any_value(w.metric_id) AS metric_id,
        sum(w.self)::BIGINT AS self,
        (sum(w.total) FILTER (NOT w.is_recursive))::BIGINT AS total,
        sum(w.self_samples)::BIGINT AS samples
    FROM stack_weights(capture := capture, metric := metric) AS w
    GROUP BY w.frame_id
),
named AS (
    SELECT
        CASE WHEN b.frame_id IS NULL THEN '[no stack]' ELSE function_label(f.function, f.module) END AS name,
        f.module, f.kind, b.self, b.total, b.samples
    FROM by_frame AS b
    LEFT JOIN frame AS f ON f.capture_id = b.capture_id AND f.frame_id = b.frame_id
),
whole AS (
    SELECT nullif(sum(b.self), 0) AS value, any_value(m.unit) AS unit
    FROM by_frame AS b
    JOIN metric AS m ON m.capture_id = b.capture_id AND m.metric_id = b.metric_id
)
SELECT
    n.name AS function,
    n.module,
    min(n.kind) AS kind,
    sum(n.self)::BIGINT AS self,
    round(100.0 * sum(n.self) / any_value(w.value), 2) AS self_percent,
    coalesce(sum(n.total), 0)::BIGINT AS total,
    coalesce(round(100.0 * sum(n.total) / any_value(w.value), 2), 0) AS total_percent,
    sum(n.samples)::BIGINT AS samples,
    any_value(w.unit) AS unit
FROM named AS n, whole AS w
GROUP BY n.name, n.module
HAVING sum(n.total) <> 0 OR sum(n.samples) > 0
ORDER BY self DESC, total DESC, function, n.module
