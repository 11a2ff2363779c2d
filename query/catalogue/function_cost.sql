-- What each function costs by itself and with all it calls, from the recorded calls between functions (callgrind).
--
-- Inclusive cost is what KCachegrind shows with its cycle detection on. A function that others call costs what its
-- calls cost, calls of itself left out; one that nobody calls costs its own and that of its calls. In a cycle, where
-- functions lead back to each other, the cost of a call holds cost of its caller too; there a function costs its own and
-- that of its calls out of the cycle. Captures without recorded calls yield self cost alone; `hot_functions` has their
-- totals.
--
-- group: functions
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- column self: cost of the function itself, in the metric's unit
-- column inclusive: cost of the function and of what it calls
-- column calls: calls of the function that were counted
-- column in_cycle: whether the function and others call each other
-- column unit: unit of the costs
-- example: FROM function_cost() ORDER BY inclusive DESC LIMIT 10
CREATE OR REPLACE MACRO function_cost(capture := NULL, metric := NULL) AS TABLE
WITH chosen AS (SELECT capture_id_of(capture) AS capture_id, metric_id_of(capture, metric) AS metric_id),
label AS MATERIALIZED (
    SELECT f.frame_id, function_label(f.function, f.module) AS name, f.module
    FROM frame AS f, chosen AS c
    WHERE f.capture_id = c.capture_id
),
own AS (
    SELECT l.name, l.module, sum(s.value) AS self
    FROM sample AS s
    JOIN chosen AS c ON c.capture_id = s.capture_id AND c.metric_id = s.metric_id
    JOIN stack AS k ON k.capture_id = s.capture_id AND k.stack_id = s.stack_id
    JOIN label AS l ON l.frame_id = k.frame_id
    GROUP BY ALL
),
edge AS MATERIALIZED (
    SELECT
        a.name, a.module, b.name AS other, b.module AS other_module,
        sum(e.call_count) AS calls,
        sum(e.value) AS value,
        bool_or(coalesce(e.is_recursive, false)) AS is_recursive,
        a.name = b.name AND a.module IS NOT DISTINCT FROM b.module AS is_own
    FROM call_edge AS e
    JOIN chosen AS c ON c.capture_id = e.capture_id AND c.metric_id = e.metric_id
    JOIN label AS a ON a.frame_id = e.caller_frame_id
    JOIN label AS b ON b.frame_id = e.callee_frame_id
    GROUP BY ALL
),
side AS (
    SELECT
        name, module, self,
        0 AS calls, 0 AS called, 0 AS outward, false AS in_cycle
    FROM own
    UNION ALL
    SELECT
        other, other_module, 0,
        calls, CASE WHEN is_own THEN 0 ELSE value END, 0, is_recursive AND NOT is_own
    FROM edge
    UNION ALL
    SELECT
        name, module, 0,
        0, 0, CASE WHEN is_recursive OR is_own THEN 0 ELSE value END, is_recursive AND NOT is_own
    FROM edge
)
SELECT
    s.name AS function,
    s.module,
    sum(s.self)::BIGINT AS self,
    CASE
        WHEN NOT bool_or(s.in_cycle) AND sum(s.calls) > 0 THEN sum(s.called)
        ELSE sum(s.self) + sum(s.outward)
    END::BIGINT AS inclusive,
    sum(s.calls)::BIGINT AS calls,
    bool_or(s.in_cycle) AS in_cycle,
    any_value(m.unit) AS unit
FROM side AS s, chosen AS c
JOIN metric AS m ON m.capture_id = c.capture_id AND m.metric_id = c.metric_id
GROUP BY s.name, s.module
ORDER BY self DESC, inclusive DESC, function, s.module
