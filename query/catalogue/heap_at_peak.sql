-- Who held the heap when it was largest: bytes by allocation stack, outermost function first.
--
-- For massif and DHAT, whose metric `heap_at_peak` it is; another metric of theirs may be named, such as
-- `heap_at_snapshot_12` or `heap_at_end`. Without either there is no row.
--
-- group: memory
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of a metric; null for `heap_at_peak`
-- param top = 100: how many stacks
-- column bytes: held by the allocations of exactly this stack
-- column function: function that allocates: the innermost that is not an allocation function of Valgrind's
-- example: FROM heap_at_peak(top := 5)
CREATE OR REPLACE MACRO heap_at_peak(capture := NULL, metric := NULL, top := 100) AS TABLE
WITH node AS MATERIALIZED (
    SELECT
        k.stack_id, k.depth, k.tree_enter, k.tree_leave, function_label(f.function, f.module) AS name,
        f.source_file, f.line, coalesce(f.module, '') LIKE '%/vgpreload_%' AS is_allocator
    FROM stack AS k
    JOIN (SELECT r.* FROM frame AS r WHERE r.capture_id = capture_id_of(capture)) AS f ON f.frame_id = k.frame_id
    WHERE k.capture_id = capture_id_of(capture)
),
leaf AS (
    SELECT s.stack_id, sum(s.value)::BIGINT AS bytes
    FROM sample AS s
    WHERE
        s.capture_id = capture_id_of(capture)
        AND s.metric_id = CASE
            WHEN metric IS NULL THEN (
                SELECT min(m.metric_id)
                FROM metric AS m
                WHERE m.capture_id = capture_id_of(capture) AND m.name = 'heap_at_peak'
            )
            ELSE metric_id_of(capture, metric)
        END
    GROUP BY s.stack_id
),
hot AS MATERIALIZED (
    SELECT l.stack_id, l.bytes, n.tree_enter, sum(l.bytes) OVER () AS whole
    FROM leaf AS l
    LEFT JOIN node AS n ON n.stack_id = l.stack_id
    ORDER BY l.bytes DESC, l.stack_id
    LIMIT top
)
SELECT
    arg_max(a.name, a.depth) FILTER (NOT a.is_allocator) AS function,
    any_value(h.bytes) AS bytes,
    round(100.0 * any_value(h.bytes) / nullif(any_value(h.whole), 0), 2) AS percent,
    arg_max(a.source_file, a.depth) FILTER (NOT a.is_allocator) AS source_file,
    arg_max(a.line, a.depth) FILTER (NOT a.is_allocator) AS line,
    string_agg(a.name, ';' ORDER BY a.depth) AS stack
FROM hot AS h
LEFT JOIN node AS a ON a.tree_enter <= h.tree_enter AND a.tree_leave >= h.tree_enter
GROUP BY h.stack_id
ORDER BY bytes DESC, stack
