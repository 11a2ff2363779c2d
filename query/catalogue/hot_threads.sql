-- The threads that cost most.
--
-- group: threads
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the one with the most samples
-- column value: weight of the thread's samples, in the metric's unit
-- column cpus: CPUs it was sampled on
-- column unit: unit of the weights
-- example: FROM hot_threads() LIMIT 10
CREATE OR REPLACE MACRO hot_threads(capture := NULL, metric := NULL) AS TABLE
WITH weighted AS MATERIALIZED (
    SELECT s.metric_id, s.utid, s.cpu, sum(s.value)::BIGINT AS value, count(*) AS samples
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
by_thread AS MATERIALIZED (
    SELECT w.utid, sum(w.value)::BIGINT AS value, sum(w.samples)::BIGINT AS samples, count(DISTINCT w.cpu) AS cpus
    FROM weighted AS w
    WHERE w.metric_id = (SELECT c.metric_id FROM chosen AS c)
    GROUP BY w.utid
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
    (
        SELECT any_value(m.unit)
        FROM metric AS m
        WHERE m.capture_id = capture_id_of(capture) AND m.metric_id = (SELECT c.metric_id FROM chosen AS c)
    ) AS unit
FROM by_thread AS b
LEFT JOIN (SELECT r.* FROM thread AS r WHERE r.capture_id = capture_id_of(capture)) AS t ON t.utid = b.utid
LEFT JOIN (SELECT r.* FROM process AS r WHERE r.capture_id = capture_id_of(capture)) AS p ON p.upid = t.upid
ORDER BY b.value DESC, b.utid
