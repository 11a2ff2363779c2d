-- What each node of the call tree cost, by itself and with all below it: the ground of the other queries.
--
-- A node's total is the sum over the nodes whose `tree_enter` lies in its range, read off a running sum. Samples
-- without a stack are the one row whose `stack_id` is null, so that `self` adds up to the whole capture.
--
-- group: helpers
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the one with the most samples
-- column self: weight of the samples that end here, in the metric's unit
-- column total: weight of the samples that end here or below
-- column self_samples: samples that end here
-- column metric_id: metric of the weights
-- example: FROM stack_weights() WHERE self > 0 ORDER BY self DESC LIMIT 5
CREATE OR REPLACE MACRO stack_weights(capture := NULL, metric := NULL) AS TABLE
WITH weighted AS MATERIALIZED (
    SELECT s.metric_id, s.stack_id, sum(s.value)::BIGINT AS self, count(*) AS samples
    FROM sample AS s
    WHERE s.capture_id = capture_id_of(capture)
    GROUP BY ALL
),
chosen AS (
    SELECT w.metric_id
    FROM weighted AS w
    WHERE metric IS NULL OR w.metric_id = metric_id_of(capture, metric)
    GROUP BY w.metric_id
    ORDER BY sum(w.samples) DESC, w.metric_id
    LIMIT 1
),
leaf AS MATERIALIZED (
    SELECT w.stack_id, w.self, w.samples FROM weighted AS w WHERE w.metric_id = (SELECT c.metric_id FROM chosen AS c)
),
node AS MATERIALIZED (
    SELECT
        k.stack_id, k.parent_id, k.depth, k.frame_id, k.tree_enter, k.tree_leave, k.is_recursive,
        coalesce(l.self, 0) AS self,
        coalesce(l.samples, 0) AS samples,
        sum(coalesce(l.self, 0)) OVER (ORDER BY k.tree_enter ROWS UNBOUNDED PRECEDING) AS running
    FROM stack AS k
    LEFT JOIN leaf AS l ON l.stack_id = k.stack_id
    WHERE k.capture_id = capture_id_of(capture)
)
SELECT
    n.stack_id, n.parent_id, n.depth, n.frame_id, n.tree_enter, n.tree_leave, n.is_recursive,
    n.self,
    (e.running - n.running + n.self)::BIGINT AS total,
    n.samples AS self_samples,
    (SELECT c.metric_id FROM chosen AS c) AS metric_id
FROM node AS n
JOIN node AS e ON e.tree_enter = n.tree_leave
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, false, l.self, l.self, l.samples, (SELECT c.metric_id FROM chosen AS c)
FROM leaf AS l
WHERE l.stack_id IS NULL
