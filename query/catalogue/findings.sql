-- The errors that checkers (memcheck, helgrind, DRD) reported, each with the stack it happened on.
--
-- Leaks are findings too; `leaks` has them alone, put together by stack.
--
-- group: memory
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- column count: times it happened, as far as the tool said
-- column thread: thread it happened on, as the checker names it
-- column stack: where it happened, outermost function first, joined with `;`
-- column others: further stacks of it by role, such as where the block was allocated
-- example: SELECT kind, count(*) AS findings FROM findings() GROUP BY kind
CREATE OR REPLACE MACRO findings(capture := NULL) AS TABLE
WITH node AS MATERIALIZED (
    SELECT k.stack_id, k.depth, k.tree_enter, k.tree_leave, function_label(f.function, f.module) AS name
    FROM stack AS k
    JOIN (SELECT r.* FROM frame AS r WHERE r.capture_id = capture_id_of(capture)) AS f ON f.frame_id = k.frame_id
    WHERE k.capture_id = capture_id_of(capture)
),
shown AS MATERIALIZED (
    SELECT s.finding_id, s.role, s.stack_id FROM finding_stack AS s WHERE s.capture_id = capture_id_of(capture)
),
folded AS (
    SELECT l.stack_id, string_agg(a.name, ';' ORDER BY a.depth) AS stack
    FROM (SELECT DISTINCT stack_id FROM shown) AS u
    JOIN node AS l ON l.stack_id = u.stack_id
    JOIN node AS a ON a.tree_enter <= l.tree_enter AND a.tree_leave >= l.tree_enter
    GROUP BY l.stack_id
),
by_finding AS (
    SELECT
        s.finding_id,
        any_value(d.stack) FILTER (s.role = 'error') AS stack,
        list(s.role || ': ' || d.stack ORDER BY s.role, d.stack) FILTER (s.role <> 'error') AS others
    FROM shown AS s
    JOIN folded AS d ON d.stack_id = s.stack_id
    GROUP BY s.finding_id
)
SELECT f.finding_id, f.kind, f.count, f.bytes, f.blocks, t.name AS thread, f.message, b.stack, b.others
FROM finding AS f
LEFT JOIN by_finding AS b ON b.finding_id = f.finding_id
LEFT JOIN thread AS t ON t.capture_id = f.capture_id AND t.utid = f.utid
WHERE f.capture_id = capture_id_of(capture)
ORDER BY f.finding_id
