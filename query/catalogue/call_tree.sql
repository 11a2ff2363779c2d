-- The call tree from the outermost functions inwards, the costliest branch first.
--
-- The function column is indented by depth. Nodes that differ only in the address of a call are one; branches that are
-- thinner than `min_percent` are cut.
--
-- group: functions
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- param min_percent = 1: leave out branches whose share of the whole is smaller
-- column total: weight of the samples in this function on this path and below, in the metric's unit
-- column self: weight of the samples that end here
-- column unit: unit of the weights
-- example: FROM call_tree(min_percent := 5)
CREATE OR REPLACE MACRO call_tree(capture := NULL, metric := NULL, min_percent := 1) AS TABLE
WITH RECURSIVE merged AS MATERIALIZED (
    SELECT
        p.path, p.parent_path, p.depth,
        any_value(w.frame_id) AS frame_id,
        sum(w.total)::BIGINT AS total,
        sum(w.self)::BIGINT AS self,
        any_value(w.metric_id) AS metric_id
    FROM stack_paths(capture := capture) AS p
    JOIN stack_weights(capture := capture, metric := metric) AS w ON w.stack_id = p.stack_id
    GROUP BY ALL
),
whole AS MATERIALIZED (
    SELECT nullif(sum(n.self), 0) AS value, any_value(m.unit) AS unit
    FROM merged AS n
    JOIN (SELECT r.* FROM metric AS r WHERE r.capture_id = capture_id_of(capture)) AS m ON m.metric_id = n.metric_id
),
thick AS MATERIALIZED (
    SELECT m.*, f.module, function_label(f.function, f.module) AS name, 100.0 * m.total / w.value AS percent
    FROM merged AS m
    CROSS JOIN whole AS w
    JOIN (SELECT r.* FROM frame AS r WHERE r.capture_id = capture_id_of(capture)) AS f ON f.frame_id = m.frame_id
    WHERE 100.0 * m.total / w.value >= min_percent
),
walk AS (
    SELECT t.*, [(-t.total, t.name, t.path)] AS place
    FROM thick AS t
    WHERE t.parent_path IS NULL
    UNION ALL
    SELECT t.*, list_append(w.place, (-t.total, t.name, t.path))
    FROM walk AS w
    JOIN thick AS t ON t.parent_path = w.path
)
SELECT
    repeat('  ', w.depth) || w.name AS function,
    w.module,
    w.depth,
    w.total,
    round(w.percent, 2) AS total_percent,
    w.self,
    round(100.0 * w.self / h.value, 2) AS self_percent,
    h.unit
FROM walk AS w, whole AS h
ORDER BY w.place
