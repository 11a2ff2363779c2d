-- The stacks that cost most, outermost function first, joined with `;`.
--
-- This is the way flame graph tools write stacks; `perfkit flamegraph -o out.folded` writes all of them.
--
-- group: functions
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- param top = 100: how many stacks
-- column value: weight of the samples with exactly this stack, in the metric's unit
-- column unit: unit of the weights
-- example: FROM hot_stacks(top := 5)
CREATE OR REPLACE MACRO hot_stacks(capture := NULL, metric := NULL, top := 100) AS TABLE
WITH weight AS MATERIALIZED (FROM stack_weights(capture := capture, metric := metric)),
whole AS (
    SELECT nullif(sum(w.self), 0) AS value, any_value(m.unit) AS unit
    FROM weight AS w
    JOIN (SELECT r.* FROM metric AS r WHERE r.capture_id = capture_id_of(capture)) AS m ON m.metric_id = w.metric_id
),
hot AS MATERIALIZED (
    SELECT
        p.path,
        sum(w.self)::BIGINT AS value,
        sum(w.self_samples)::BIGINT AS samples,
        min(w.tree_enter) AS tree_enter
    FROM stack_paths(capture := capture) AS p
    JOIN weight AS w ON w.stack_id = p.stack_id
    WHERE w.self_samples > 0
    GROUP BY p.path
    ORDER BY value DESC, p.path
    LIMIT top
)
SELECT
    string_agg(function_label(f.function, f.module), ';' ORDER BY a.depth) AS stack,
    any_value(h.value) AS value,
    round(100.0 * any_value(h.value) / any_value(w.value), 2) AS percent,
    any_value(h.samples) AS samples,
    any_value(w.unit) AS unit
FROM hot AS h
JOIN weight AS a ON a.tree_enter <= h.tree_enter AND a.tree_leave >= h.tree_enter
JOIN (SELECT r.* FROM frame AS r WHERE r.capture_id = capture_id_of(capture)) AS f ON f.frame_id = a.frame_id
CROSS JOIN whole AS w
GROUP BY h.path
ORDER BY value DESC, stack
