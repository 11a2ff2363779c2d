-- What a function calls, and what each callee costs when called from it.
--
-- The function's own share is the row whose callee reads `[self]`.
--
-- The function is found by its exact name, else by a LIKE pattern (`%` any text, `_` any character), which may match
-- several. A sample counts once for each pair of function and callee, however often recursion repeats the pair on its stack.
--
-- group: functions
-- param function: name of a function as hot_functions() shows it, else a LIKE pattern
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column total: weight of the samples in the callee when called from the function, in the metric's unit
-- column percent: share of the function's own total
-- column total_percent: share of the whole capture
-- column unit: unit of the weights
-- example: FROM callees('%main%')
CREATE OR REPLACE MACRO callees(function, capture := NULL, metric := NULL) AS TABLE
WITH label AS MATERIALIZED (
    SELECT f.frame_id, function_label(f.function, f.module) AS name, f.module
    FROM frame AS f
    WHERE f.capture_id = capture_id_of(capture)
),
wanted AS MATERIALIZED (
    SELECT l.*
    FROM label AS l
    WHERE l.name = function OR (l.name LIKE function AND NOT EXISTS (SELECT 1 FROM label AS x WHERE x.name = function))
),
node AS MATERIALIZED (FROM stack_weights(capture := capture, metric := metric)),
whole AS (
    SELECT nullif(sum(n.self), 0) AS value, any_value(m.unit) AS unit
    FROM node AS n
    JOIN (SELECT r.* FROM metric AS r WHERE r.capture_id = capture_id_of(capture)) AS m ON m.metric_id = n.metric_id
),
own AS (
    SELECT w.name, w.module, nullif(sum(n.total) FILTER (NOT n.is_recursive), 0) AS total
    FROM node AS n
    JOIN wanted AS w ON w.frame_id = n.frame_id
    GROUP BY ALL
),
pair AS (
    SELECT w.name, w.module, l.name AS other, l.module AS other_module, c.total, c.tree_enter, c.tree_leave
    FROM node AS n
    JOIN wanted AS w ON w.frame_id = n.frame_id
    JOIN node AS c ON c.parent_id = n.stack_id
    JOIN label AS l ON l.frame_id = c.frame_id
    UNION ALL
    -- A sample ends in one node only, so its own pair cannot repeat: the range is empty.
    SELECT w.name, w.module, '[self]', NULL, n.self, n.tree_enter, -1
    FROM node AS n
    JOIN wanted AS w ON w.frame_id = n.frame_id
),
edge AS (
    SELECT
        p.*,
        -- An earlier pair in depth-first order that ends no sooner stands above this one.
        coalesce(
            max(p.tree_leave) OVER (
                PARTITION BY p.name, p.module, p.other, p.other_module
                ORDER BY p.tree_enter
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) < p.tree_enter,
            true
        ) AS is_outermost
    FROM pair AS p
)
SELECT
    e.name AS function,
    e.module,
    e.other AS callee,
    e.other_module AS callee_module,
    sum(e.total)::BIGINT AS total,
    round(100.0 * sum(e.total) / any_value(o.total), 2) AS percent,
    round(100.0 * sum(e.total) / any_value(w.value), 2) AS total_percent,
    any_value(w.unit) AS unit
FROM edge AS e
JOIN own AS o ON o.name = e.name AND o.module IS NOT DISTINCT FROM e.module
CROSS JOIN whole AS w
WHERE e.is_outermost AND e.total <> 0
GROUP BY e.name, e.module, e.other, e.other_module
ORDER BY total DESC, e.name, e.other, e.other_module
