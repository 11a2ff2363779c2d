WITH RECURSIVE hottest AS (
    SELECT metric_id, stack_id, count(*) AS samples FROM sample
    WHERE capture_id = $id AND stack_id IS NOT NULL
    GROUP BY ALL ORDER BY samples DESC, metric_id, stack_id LIMIT 8
), path AS (
    SELECT metric_id, stack_id AS leaf, samples, stack_id AS node, 0 AS step FROM hottest
    UNION ALL
    SELECT metric_id, leaf, samples, parent_id, step + 1 FROM path
    JOIN stack ON stack.capture_id = $id AND stack.stack_id = path.node WHERE parent_id IS NOT NULL
)
SELECT metric.name AS event, samples,
    string_agg(printf('%s+0x%x', coalesce(module, '?'), address), ' < ' ORDER BY step) AS stack
FROM path
JOIN stack ON stack.capture_id = $id AND stack.stack_id = path.node
JOIN frame ON frame.capture_id = $id AND frame.frame_id = stack.frame_id
JOIN metric ON metric.capture_id = $id AND metric.metric_id = path.metric_id
GROUP BY event, leaf, samples ORDER BY samples DESC, event, stack
