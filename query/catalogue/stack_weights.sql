-- What each node of the call tree costs for one metric: the ground of the other queries.
--
-- Samples without a stack are the row whose `stack_id` is null, so that `self` adds up to the whole capture. Nodes that
-- no sample of the metric runs through are left out.
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
SELECT
    w.capture_id, w.metric_id, w.stack_id, k.parent_id, k.depth, k.frame_id, k.tree_enter, k.tree_leave,
    coalesce(k.is_recursive, false) AS is_recursive,
    w.self, w.total, w.self_samples, w.total_samples
FROM stack_weight AS w
LEFT JOIN stack AS k ON k.capture_id = w.capture_id AND k.stack_id = w.stack_id
WHERE
    w.capture_id = capture_id_of(capture)
    AND w.metric_id = metric_id_of(capture, metric)
