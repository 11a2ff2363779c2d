-- A function's name for people: `[module]` or `[unknown]` where it could not be named.
--
-- group: helpers
-- param name: `frame.function`
-- param module: `frame.module`
-- example: SELECT function_label(NULL, '/usr/lib/libc.so.6') AS function
CREATE OR REPLACE MACRO function_label(name, module) AS coalesce(
    name,
    CASE
        WHEN module IS NULL THEN '[unknown]'
        WHEN starts_with(module, '[') THEN module
        ELSE '[' || parse_filename(module) || ']'
    END
)
