-- What each function costs by itself and with all it calls, apart for each source file its code comes from: the table
-- that callgrind_annotate and cg_annotate print.
--
-- Code inlined from another file stands under that file. Inclusive cost is callgrind_annotate's: a function that is called
-- costs what its calls cost, those by itself and in cycles too, so that recursion may exceed the whole; one that nobody
-- calls costs its own and that of its calls. `function_cost` handles recursion.
--
-- group: functions
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column source_file: file the code comes from; null where debug information does not say
-- column self: cost of the function's code in the file, in the metric's unit
-- column inclusive: that and the cost of what it calls
-- column calls: calls of the function that were counted
-- column unit: unit of the costs
-- example: FROM file_function_cost() LIMIT 10
CREATE OR REPLACE MACRO file_function_cost(capture := NULL, metric := NULL) AS TABLE
WITH chosen AS (SELECT capture_id_of(capture) AS capture_id, metric_id_of(capture, metric) AS metric_id),
label AS MATERIALIZED (
    SELECT f.frame_id, function_label(f.function, f.module) AS name, f.source_file
    FROM frame AS f, chosen AS c
    WHERE f.capture_id = c.capture_id
),
edge AS MATERIALIZED (
    SELECT e.*
    FROM call_edge AS e
    JOIN chosen AS c ON c.capture_id = e.capture_id AND c.metric_id = e.metric_id
),
side AS (
    SELECT
        k.frame_id, s.value AS self,
        0 AS calls, 0 AS called, 0 AS outward, false AS is_called
    FROM sample AS s
    JOIN chosen AS c ON c.capture_id = s.capture_id AND c.metric_id = s.metric_id
    JOIN stack AS k ON k.capture_id = s.capture_id AND k.stack_id = s.stack_id
    UNION ALL
    SELECT callee_frame_id, 0, call_count, value, 0, true
    FROM edge
    UNION ALL
    SELECT caller_frame_id, 0, 0, 0, value, false
    FROM edge
)
SELECT
    l.name AS function,
    l.source_file,
    sum(s.self)::BIGINT AS self,
    CASE WHEN bool_or(s.is_called) THEN sum(s.called) ELSE sum(s.self) + sum(s.outward) END::BIGINT AS inclusive,
    sum(s.calls)::BIGINT AS calls,
    any_value(m.unit) AS unit
FROM side AS s
JOIN label AS l ON l.frame_id = s.frame_id
CROSS JOIN chosen AS c
JOIN metric AS m ON m.capture_id = c.capture_id AND m.metric_id = c.metric_id
GROUP BY l.name, l.source_file
ORDER BY self DESC, inclusive DESC, function, l.source_file
