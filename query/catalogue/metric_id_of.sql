-- The id of a metric of a capture, given by its name.
--
-- `cycles` also finds `cycles:u` where no metric has exactly that name. Null means the first that has samples. An
-- unknown metric is an error.
--
-- group: helpers
-- param capture: id or name of a capture; null for the default
-- param metric: name of a metric; null for the first that has samples
-- example: SELECT metric_id_of(NULL, 'cycles') AS metric_id
CREATE OR REPLACE MACRO metric_id_of(capture, metric) AS
CASE
    WHEN metric IS NULL
        THEN (SELECT min(w.metric_id) FROM function_weight AS w WHERE w.capture_id = capture_id_of(capture))
    ELSE coalesce(
        (
            SELECT arg_min(m.metric_id, (m.name <> metric, m.metric_id))
            FROM metric AS m
            WHERE
                m.capture_id = capture_id_of(capture)
                AND (m.name = metric OR starts_with(m.name, metric || ':'))
        ),
        error('no metric ' || coalesce(metric::VARCHAR, 'NULL') || ' in this capture; FROM metric lists them')
    )
END
