SELECT metric.name AS event, frame.module, frame.kind, count(*) AS samples, sum(value)::BIGINT AS weight
FROM sample
JOIN metric USING (capture_id, metric_id)
LEFT JOIN stack USING (capture_id, stack_id)
LEFT JOIN frame USING (capture_id, frame_id)
WHERE capture_id = $id
GROUP BY ALL ORDER BY event, samples DESC, module
