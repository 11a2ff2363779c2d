SELECT ts, thread.tid, cpu, metric.name AS event, value, frame.module, printf('%x', frame.address) AS address
FROM sample
JOIN metric USING (capture_id, metric_id)
LEFT JOIN thread USING (capture_id, utid)
LEFT JOIN stack USING (capture_id, stack_id)
LEFT JOIN frame USING (capture_id, frame_id)
WHERE capture_id = $id
ORDER BY ts, event LIMIT 20
