SELECT pid, tid, thread.name, thread.is_main, thread.start_ts, thread.end_ts, count(sample.utid) AS samples
FROM thread
JOIN process USING (capture_id, upid)
LEFT JOIN sample USING (capture_id, utid)
WHERE capture_id = $id
GROUP BY ALL ORDER BY pid, tid, thread.start_ts NULLS FIRST
