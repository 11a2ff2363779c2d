SELECT record, metric.name AS event, count
FROM record_count LEFT JOIN metric USING (capture_id, metric_id) WHERE capture_id = $id
ORDER BY record, event NULLS FIRST
