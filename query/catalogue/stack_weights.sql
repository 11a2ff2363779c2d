-- What each node of the call tree costs for one metric: the ground of the other queries.
--
-- Samples without a stack are the row whose `stack_id` is null, so that `self` adds up to the whole capture. Nodes that
-- weigh nothing are left out.
--
-- group: helpers
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column self: weight of the samples that end here, in the metric's unit
-- column total: weight of the samples that end here or below
-- column self_samples: samples that end here
-- column metric_id: metric of the weights
-- example: FROM stack_weights() WHERE self > 0 ORDER BY self DESC LIMIT 5
CREATE OR REPLACE MACRO stack_weights(capture := NULL, metric := NULL) AS TABLE
WITH leaf AS MATERIALIZED (
    SELECT s.stack_id, sum(s.value)::BIGINT AS self, count(*) AS samples
    FROM sample AS s
    WHERE s.capture_id = capture_id_of(capture) AND s.metric_id = metric_id_of(capture, metric)
    GROUP BY s.stack_id
),
node AS MATERIALIZED (
    SELECT
        k.*,
        coalesce(l.self, 0) AS self,
        coalesce(l.samples, 0) AS samples,
        sum(coalesce(l.self, 0)) OVER (ORDER BY k.tree_enter ROWS UNBOUNDED PRECEDING) AS running
    FROM stack AS k
    LEFT JOIN leaf AS l ON l.stack_id = k.stack_id
    WHERE k.capture_id = capture_id_of(capture)
)
SELECT
    n.capture_id, metric_id_of(capture, metric) AS metric_id,
    n.stack_id, n.parent_id, n.depth, n.frame_id, n.tree_enter, n.tree_leave, n.is_recursive,
    n.self,
    (e.running - n.running + n.self)::BIGINT AS total,
    n.samples AS self_samples
FROM node AS n
JOIN node AS e ON e.tree_enter = n.tree_leave
WHERE e.running - n.running + n.self <> 0 OR n.samples > 0
UNION ALL
SELECT
    capture_id_of(capture), metric_id_of(capture, metric),
    NULL, NULL, NULL, NULL, NULL, NULL, false, l.self, l.self, l.samples
FROM leaf AS l
WHERE l.stack_id IS NULL
