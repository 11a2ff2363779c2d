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
WITH weight AS MATERIALIZED (
    SELECT w.*
    FROM function_weight AS w
    WHERE w.capture_id = capture_id_of(capture) AND w.metric_id = metric_id_of(capture, metric)
),
whole AS (
    SELECT nullif(sum(w.self), 0) AS value, any_value(m.unit) AS unit
    FROM weight AS w
    JOIN metric AS m ON m.capture_id = w.capture_id AND m.metric_id = w.metric_id
)
SELECT
    CASE WHEN w.frame_samples = 0 THEN '[no stack]' ELSE function_label(w.function, w.module) END AS function,
    w.module,
    min(w.kind) AS kind,
    sum(w.self)::BIGINT AS self,
    round(100.0 * sum(w.self) / any_value(t.value), 2) AS self_percent,
    sum(w.total)::BIGINT AS total,
    coalesce(round(100.0 * sum(w.total) / any_value(t.value), 2), 0) AS total_percent,
    sum(w.self_samples)::BIGINT AS samples,
    any_value(t.unit) AS unit
FROM weight AS w, whole AS t
GROUP BY ALL
HAVING sum(w.total) <> 0 OR sum(w.self_samples) > 0
ORDER BY self DESC, total DESC, function, w.module
