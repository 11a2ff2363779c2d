-- The modules (program, libraries, kernel) that cost most, by themselves and in all.
--
-- A sample counts once for each module on its stack: below a node of the same module, a node adds nothing new.
--
-- group: functions
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column self: weight of the samples in the module itself, in the metric's unit
-- column total: weight of the samples in the module or in what it calls
-- column samples: samples in the module itself
-- column unit: unit of the weights
-- example: FROM hot_modules() LIMIT 10
CREATE OR REPLACE MACRO hot_modules(capture := NULL, metric := NULL) AS TABLE
WITH node AS MATERIALIZED (
    SELECT
        CASE WHEN w.stack_id IS NULL THEN '[no stack]' ELSE coalesce(f.module, '[unknown]') END AS name,
        w.self, w.total, w.self_samples, w.tree_enter, w.tree_leave, w.metric_id
    FROM stack_weights(capture := capture, metric := metric) AS w
    LEFT JOIN (SELECT r.* FROM frame AS r WHERE r.capture_id = capture_id_of(capture)) AS f ON f.frame_id = w.frame_id
    WHERE w.total <> 0 OR w.self_samples > 0
),
outermost AS (
    SELECT
        n.*,
        -- An earlier node in depth-first order that ends no sooner is a caller.
        coalesce(
            max(n.tree_leave) OVER (
                PARTITION BY n.name ORDER BY n.tree_enter ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) < n.tree_enter,
            true
        ) AS is_outermost
    FROM node AS n
),
whole AS (
    SELECT nullif(sum(n.self), 0) AS value, any_value(m.unit) AS unit
    FROM node AS n
    JOIN (SELECT r.* FROM metric AS r WHERE r.capture_id = capture_id_of(capture)) AS m ON m.metric_id = n.metric_id
)
SELECT
    o.name AS module,
    sum(o.self)::BIGINT AS self,
    round(100.0 * sum(o.self) / any_value(w.value), 2) AS self_percent,
    (sum(o.total) FILTER (o.is_outermost))::BIGINT AS total,
    round(100.0 * sum(o.total) FILTER (o.is_outermost) / any_value(w.value), 2) AS total_percent,
    sum(o.self_samples)::BIGINT AS samples,
    any_value(w.unit) AS unit
FROM outermost AS o, whole AS w
GROUP BY o.name
ORDER BY self DESC, total DESC, o.name
