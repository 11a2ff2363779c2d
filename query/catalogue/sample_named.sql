-- Every sample with its thread and process, and the name the thread had at that moment.
--
-- group: views
-- column thread: name (`comm`) the thread had when the sample was taken
-- column process: last name of the process
-- example: SELECT thread, count(*) AS samples FROM sample_named GROUP BY thread ORDER BY samples DESC LIMIT 5
CREATE OR REPLACE VIEW sample_named AS
SELECT
    s.capture_id, s.ts, s.cpu, s.utid, t.upid, t.tid, p.pid,
    coalesce(n.name, t.name) AS thread,
    p.name AS process,
    s.stack_id, s.metric_id, m.name AS metric, m.unit, s.value
FROM sample AS s
LEFT JOIN thread AS t ON t.capture_id = s.capture_id AND t.utid = s.utid
LEFT JOIN process AS p ON p.capture_id = s.capture_id AND p.upid = t.upid
LEFT JOIN metric AS m ON m.capture_id = s.capture_id AND m.metric_id = s.metric_id
-- A null `ts` is the name from before the capture.
ASOF LEFT JOIN (SELECT r.* REPLACE (coalesce(r.ts, -9223372036854775808) AS ts) FROM thread_name AS r) AS n
    ON n.capture_id = s.capture_id AND n.utid = s.utid AND n.ts <= s.ts
