-- Whether a frame could be named: its function is neither null nor a name in brackets.
--
-- group: helpers
-- param name: `frame.function`
-- example: SELECT is_named(function) AS named, count(*) AS frames FROM frame GROUP BY ALL ORDER BY ALL
CREATE OR REPLACE MACRO is_named(name) AS coalesce(NOT (starts_with(name, '[') AND ends_with(name, ']')), false)
