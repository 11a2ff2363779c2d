-- The counters of a capture, such as those of perf stat, each series summed up.
--
-- group: time
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- column points: values that were recorded; those that could not be counted are left out
-- column total: sum of the values
-- example: FROM counters()
CREATE OR REPLACE MACRO counters(capture := NULL) AS TABLE
SELECT
    t.name, t.unit, t.scope, t.device, t.cpu,
    count(c.value) AS points,
    sum(c.value) AS total,
    min(c.value) AS low,
    max(c.value) AS high,
    min(c.running_share) AS running_share
FROM counter_track AS t
LEFT JOIN (SELECT r.* FROM counter AS r WHERE r.capture_id = capture_id_of(capture)) AS c ON c.track_id = t.track_id
WHERE t.capture_id = capture_id_of(capture)
GROUP BY t.track_id, t.name, t.unit, t.scope, t.device, t.cpu
ORDER BY t.track_id
