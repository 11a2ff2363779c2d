-- The threads that cost most.
--
-- group: threads
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column value: weight of the thread's samples, in the metric's unit
-- column cpus: CPUs it was sampled on
-- column unit: unit of the weights
-- example: FROM hot_threads() LIMIT 10
CREATE OR REPLACE MACRO hot_threads(capture := NULL, metric := NULL) AS TABLE
WITH by_thread AS MATERIALIZED (
    SELECT
        s.utid,
        any_value(s.metric_id) AS metric_id,
        sum(s.value)::BIGINT AS value,
        count(*) AS samples,
        count(DISTINCT s.cpu) AS cpus
    FROM sample AS s
    WHERE s.capture_id = capture_id_of(capture) AND s.metric_id = metric_id_of(capture, metric)
    GROUP BY s.utid
)
SELECT
    p.name AS process,
    p.pid,
    t.name AS thread,
    t.tid,
    b.value,
    round(100.0 * b.value / nullif(sum(b.value) OVER (), 0), 2) AS percent,
    b.samples,
    b.cpus,
    b.utid,
    m.unit
FROM by_thread AS b
LEFT JOIN (SELECT r.* FROM thread AS r WHERE r.capture_id = capture_id_of(capture)) AS t ON t.utid = b.utid
LEFT JOIN (SELECT r.* FROM process AS r WHERE r.capture_id = capture_id_of(capture)) AS p ON p.upid = t.upid
LEFT JOIN (SELECT r.* FROM metric AS r WHERE r.capture_id = capture_id_of(capture)) AS m ON m.metric_id = b.metric_id
ORDER BY b.value DESC, b.utid
