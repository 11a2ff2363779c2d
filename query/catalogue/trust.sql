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
WITH by_module AS (
    SELECT
        coalesce(w.module, '[unknown]') AS module,
        sum(w.frame_samples)::BIGINT AS frames,
        coalesce(sum(w.frame_samples) FILTER (NOT is_named(w.function)), 0)::BIGINT AS unnamed
    FROM function_weight AS w
    WHERE w.capture_id = capture_id_of(capture)
    GROUP BY ALL
    HAVING sum(w.frame_samples) > 0
)
SELECT
    m.module,
    m.frames,
    m.unnamed,
    round(100.0 * m.unnamed / m.frames, 2) AS unnamed_percent,
    round(100.0 * m.unnamed / sum(m.frames) OVER (), 2) AS lost_percent
FROM by_module AS m
ORDER BY m.unnamed DESC, m.frames DESC, m.module
