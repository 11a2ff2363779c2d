-- Every capture at a glance: what `perfkit captures` lists.
--
-- group: trust
-- column metrics: names of what its samples and counters count
-- column span_ns: time between its first and last record
-- column named_percent: share of the frames on the stacks of all samples that have a function's name
-- column issues: rows of `import_issue` that are more than information
-- example: SELECT capture_id, name, samples, named_percent FROM capture_summary
CREATE OR REPLACE VIEW capture_summary AS
WITH named AS (
    SELECT
        w.capture_id,
        round(
            100.0 * sum(w.frame_samples) FILTER (is_named(w.function)) / nullif(sum(w.frame_samples), 0), 2
        ) AS percent,
        sum(w.frame_samples) AS frames,
        sum(w.self_samples) AS samples
    FROM function_weight AS w
    GROUP BY w.capture_id
)
SELECT
    c.capture_id, c.name, c.tool, c.format,
    coalesce(
        list_sort(list_distinct(list_concat(
            coalesce((SELECT list(m.name) FROM metric AS m WHERE m.capture_id = c.capture_id), []),
            coalesce((SELECT list(t.name) FROM counter_track AS t WHERE t.capture_id = c.capture_id), [])
        ))),
        []
    ) AS metrics,
    coalesce(n.samples, 0)::BIGINT AS samples,
    (SELECT count(*) FROM thread AS t WHERE t.capture_id = c.capture_id) AS threads,
    c.end_ts - c.start_ts AS span_ns,
    CASE WHEN n.frames > 0 THEN coalesce(n.percent, 0) END AS named_percent,
    (
        SELECT count(*)
        FROM import_issue AS i
        WHERE i.capture_id = c.capture_id AND i.severity <> 'info'
    ) AS issues,
    c.labels,
    c.ingested_at
FROM capture AS c
LEFT JOIN named AS n ON n.capture_id = c.capture_id
ORDER BY c.capture_id
