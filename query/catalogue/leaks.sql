-- What was leaked, by kind of leak and allocation stack.
--
-- group: memory
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- column bytes: leaked directly; what only leaked blocks point to is `Leak_IndirectlyLost`, where that was asked for
-- column records: loss records put together
-- column stack: where it was allocated, outermost function first, joined with `;`
-- example: FROM leaks() WHERE kind = 'Leak_DefinitelyLost'
CREATE OR REPLACE MACRO leaks(capture := NULL) AS TABLE
SELECT
    f.kind,
    sum(f.bytes)::BIGINT AS bytes,
    sum(f.blocks)::BIGINT AS blocks,
    count(*) AS records,
    f.stack
FROM findings(capture := capture) AS f
WHERE starts_with(f.kind, 'Leak_')
GROUP BY f.kind, f.stack
ORDER BY bytes DESC, f.kind, f.stack
