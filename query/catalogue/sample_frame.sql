-- Every sample with the function it was taken in.
--
-- group: views
-- column function: innermost function of the stack; null where the sample has no stack
-- example: SELECT function, line, count(*) AS samples FROM sample_frame GROUP BY ALL ORDER BY samples DESC LIMIT 5
CREATE OR REPLACE VIEW sample_frame AS
SELECT
    s.capture_id, s.ts, s.cpu, s.utid, s.metric_id, s.value, s.stack_id,
    k.depth, k.function, k.module, k.kind, k.inlined, k.source_file, k.line, k.address
FROM sample AS s
LEFT JOIN stack_frame AS k ON k.capture_id = s.capture_id AND k.stack_id = s.stack_id
