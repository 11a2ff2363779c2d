-- The id of a capture given by its id or name.
--
-- Null means the session's default: `SET VARIABLE capture = 3` sets it, `perfkit query --capture` does so too; without
-- it the latest capture. Of several captures with one name it is the latest. An unknown capture is an error.
--
-- group: helpers
-- param capture: id or name of a capture; null for the default
-- example: SELECT capture_id_of(NULL) AS capture_id
CREATE OR REPLACE MACRO capture_id_of(capture) AS coalesce(
    (
        SELECT max(c.capture_id)
        FROM capture AS c
        WHERE
            coalesce(capture::VARCHAR, getvariable('capture')::VARCHAR) IS NULL
            OR c.capture_id::VARCHAR = coalesce(capture::VARCHAR, getvariable('capture')::VARCHAR)
            OR c.name = coalesce(capture::VARCHAR, getvariable('capture')::VARCHAR)
    ),
    error('no capture ' || coalesce(capture::VARCHAR, getvariable('capture')::VARCHAR, '@latest') || ' in this database')
)
