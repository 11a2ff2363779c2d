-- Names the way from the outermost function to each node of the call tree.
--
-- Nodes that differ only in the address of a call have the same name, by which they can be put together.
--
-- group: helpers
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- column path: hash of the functions and modules from the outermost to this one
-- column parent_path: the same for its caller
-- example: SELECT path, count(*) AS nodes FROM stack_paths() GROUP BY path ORDER BY nodes DESC LIMIT 5
CREATE OR REPLACE MACRO stack_paths(capture := NULL) AS TABLE
WITH RECURSIVE node AS MATERIALIZED (
    SELECT k.stack_id, k.parent_id, k.depth, hash(function_label(f.function, f.module), f.module) AS name
    FROM stack AS k
    JOIN (SELECT r.* FROM frame AS r WHERE r.capture_id = capture_id_of(capture)) AS f ON f.frame_id = k.frame_id
    WHERE k.capture_id = capture_id_of(capture)
),
walk AS (
    SELECT n.stack_id, n.depth, n.name AS path, NULL::UBIGINT AS parent_path
    FROM node AS n
    WHERE n.parent_id IS NULL
    UNION ALL
    SELECT n.stack_id, n.depth, hash(w.path, n.name), w.path
    FROM walk AS w
    JOIN node AS n ON n.parent_id = w.stack_id
)
FROM walk
