-- How far the names can be trusted: the share of each module's frames without one.
--
-- Frames are counted as often as samples run through them, over all metrics; the modules with the most unnamed come
-- first.
--
-- group: trust
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- column frames: frames of the module on the stacks of all samples
-- column unnamed: those of them without a function's name
-- column unnamed_percent: their share in the module
-- column lost_percent: their share of all frames of the capture
-- example: FROM trust() LIMIT 10
CREATE OR REPLACE MACRO trust(capture := NULL) AS TABLE
WITH by_frame AS (
    SELECT k.frame_id, sum(w.total_samples)::BIGINT AS frames
    FROM (SELECT r.* FROM stack_weight AS r WHERE r.capture_id = capture_id_of(capture)) AS w
    JOIN (SELECT r.* FROM stack AS r WHERE r.capture_id = capture_id_of(capture)) AS k ON k.stack_id = w.stack_id
    GROUP BY k.frame_id
),
by_module AS (
    SELECT
        coalesce(f.module, '[unknown]') AS module,
        sum(b.frames)::BIGINT AS frames,
        coalesce(sum(b.frames) FILTER (NOT is_named(f.function)), 0)::BIGINT AS unnamed
    FROM by_frame AS b
    JOIN (SELECT r.* FROM frame AS r WHERE r.capture_id = capture_id_of(capture)) AS f ON f.frame_id = b.frame_id
    GROUP BY ALL
    HAVING sum(b.frames) > 0
)
SELECT
    m.module,
    m.frames,
    m.unnamed,
    round(100.0 * m.unnamed / m.frames, 2) AS unnamed_percent,
    round(100.0 * m.unnamed / sum(m.frames) OVER (), 2) AS lost_percent
FROM by_module AS m
ORDER BY m.unnamed DESC, m.frames DESC, m.module
