-- Every node of the call tree with the function it stands for.
--
-- group: views
-- column function: the function's name, `[module]` or `[unknown]` where it has none
-- example: SELECT function, count(*) AS nodes FROM stack_frame GROUP BY function ORDER BY nodes DESC LIMIT 5
CREATE OR REPLACE VIEW stack_frame AS
SELECT
    k.capture_id, k.stack_id, k.parent_id, k.depth, k.tree_enter, k.tree_leave, k.is_recursive, k.truncated,
    k.frame_id, function_label(f.function, f.module) AS function, f.module, f.kind, f.inlined,
    f.source_file, f.line, f.address
FROM stack AS k
JOIN frame AS f ON f.capture_id = k.capture_id AND f.frame_id = k.frame_id
