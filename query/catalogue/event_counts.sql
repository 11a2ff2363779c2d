-- How many events of each name the capture holds, and how many a second.
--
-- group: time
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- column source: `sample` for the rows of `sample`, `event` for those of an `event.<name>` table
-- column per_second: count over the time between the capture's first and last record
-- example: FROM event_counts()
CREATE OR REPLACE MACRO event_counts(capture := NULL) AS TABLE
WITH span AS (
    SELECT nullif(c.end_ts - c.start_ts, 0) / 1e9 AS seconds
    FROM capture AS c
    WHERE c.capture_id = capture_id_of(capture)
),
counted AS (
    SELECT m.name, 'sample' AS source, s.count
    FROM (
        SELECT r.metric_id, sum(r.self_samples)::BIGINT AS count
        FROM function_weight AS r
        WHERE r.capture_id = capture_id_of(capture)
        GROUP BY r.metric_id
    ) AS s
    JOIN (SELECT r.* FROM metric AS r WHERE r.capture_id = capture_id_of(capture)) AS m ON m.metric_id = s.metric_id
    UNION ALL
    SELECT e.name, 'event', count(*)
    FROM event AS e
    WHERE e.capture_id = capture_id_of(capture)
    GROUP BY e.name
)
SELECT c.name, c.source, c.count, round(c.count / p.seconds, 1) AS per_second
FROM counted AS c, span AS p
ORDER BY c.count DESC, c.name, c.source
