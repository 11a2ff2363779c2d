-- How far the names can be trusted: for each module, the share of its frames that could not be named.
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
WITH leaf AS MATERIALIZED (
    SELECT s.stack_id, count(*) AS samples
    FROM sample AS s
    WHERE s.capture_id = capture_id_of(capture)
    GROUP BY s.stack_id
),
node AS MATERIALIZED (
    SELECT
        k.frame_id, k.tree_enter, k.tree_leave,
        coalesce(l.samples, 0) AS samples,
        sum(coalesce(l.samples, 0)) OVER (ORDER BY k.tree_enter ROWS UNBOUNDED PRECEDING) AS running
    FROM stack AS k
    LEFT JOIN leaf AS l ON l.stack_id = k.stack_id
    WHERE k.capture_id = capture_id_of(capture)
),
by_frame AS (
    SELECT n.frame_id, sum(e.running - n.running + n.samples)::BIGINT AS frames
    FROM node AS n
    JOIN node AS e ON e.tree_enter = n.tree_leave
    GROUP BY n.frame_id
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
