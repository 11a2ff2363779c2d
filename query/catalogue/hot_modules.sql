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
WITH own AS MATERIALIZED (
    SELECT
        CASE WHEN w.frame_samples = 0 THEN '[no stack]' ELSE coalesce(w.module, '[unknown]') END AS name,
        sum(w.self)::BIGINT AS self,
        sum(w.self_samples)::BIGINT AS samples,
        any_value(m.unit) AS unit
    FROM function_weight AS w
    JOIN metric AS m ON m.capture_id = w.capture_id AND m.metric_id = w.metric_id
    WHERE w.capture_id = capture_id_of(capture) AND w.metric_id = metric_id_of(capture, metric)
    GROUP BY ALL
),
node AS MATERIALIZED (
    SELECT
        w.stack_id, w.parent_id, w.total, w.tree_enter, w.tree_leave,
        CASE WHEN w.stack_id IS NULL THEN '[no stack]' ELSE coalesce(f.module, '[unknown]') END AS name
    FROM stack_weights(capture := capture, metric := metric) AS w
    LEFT JOIN frame AS f ON f.capture_id = w.capture_id AND f.frame_id = w.frame_id
),
entry AS (
    SELECT
        n.name, n.total,
        -- An earlier node in depth-first order that ends no sooner is a caller.
        coalesce(
            max(n.tree_leave) OVER (
                PARTITION BY n.name ORDER BY n.tree_enter ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) < n.tree_enter,
            true
        ) AS is_outermost
    FROM node AS n
    LEFT JOIN node AS p ON p.stack_id = n.parent_id
    WHERE p.name IS DISTINCT FROM n.name
),
whole AS (
    SELECT e.name, sum(e.total)::BIGINT AS total FROM entry AS e WHERE e.is_outermost GROUP BY e.name
)
SELECT
    o.name AS module,
    o.self,
    round(100.0 * o.self / nullif(sum(o.self) OVER (), 0), 2) AS self_percent,
    w.total,
    round(100.0 * w.total / nullif(sum(o.self) OVER (), 0), 2) AS total_percent,
    o.samples,
    o.unit
FROM own AS o
JOIN whole AS w ON w.name = o.name
ORDER BY o.self DESC, w.total DESC, o.name
