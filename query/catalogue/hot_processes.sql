-- The processes that cost most.
--
-- group: threads
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column value: weight of the samples of all its threads, in the metric's unit
-- column threads: threads that were sampled
-- column unit: unit of the weights
-- example: FROM hot_processes() LIMIT 10
CREATE OR REPLACE MACRO hot_processes(capture := NULL, metric := NULL) AS TABLE
SELECT
    any_value(h.process) AS process,
    any_value(h.pid) AS pid,
    sum(h.value)::BIGINT AS value,
    round(100.0 * sum(h.value) / nullif(sum(sum(h.value)) OVER (), 0), 2) AS percent,
    sum(h.samples)::BIGINT AS samples,
    count(*) AS threads,
    t.upid,
    any_value(h.unit) AS unit
FROM hot_threads(capture := capture, metric := metric) AS h
LEFT JOIN (SELECT r.* FROM thread AS r WHERE r.capture_id = capture_id_of(capture)) AS t ON t.utid = h.utid
GROUP BY t.upid
ORDER BY value DESC, t.upid
