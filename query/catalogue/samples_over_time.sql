-- How many samples, and how much weight, fell in each stretch of the capture.
--
-- The time from the first sample to the last is cut into equal stretches; those without a sample are there too.
--
-- group: time
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- param metric = NULL: name of the metric to weigh by; null for the first that has samples
-- param buckets = 50: how many stretches
-- column start_ns: where the stretch begins, counted from the first sample
-- column dur_ns: how long it is
-- column value: weight of its samples, in the metric's unit
-- column chart: the value as a bar
-- column unit: unit of the weights
-- example: FROM samples_over_time(buckets := 10)
CREATE OR REPLACE MACRO samples_over_time(capture := NULL, metric := NULL, buckets := 50) AS TABLE
WITH timed AS (
    SELECT s.ts, s.value
    FROM sample AS s
    WHERE
        s.capture_id = capture_id_of(capture)
        AND s.metric_id = metric_id_of(capture, metric)
        AND s.ts IS NOT NULL
),
span AS MATERIALIZED (
    SELECT
        min(t.ts) AS start_ts,
        -- Rounded up, so that the last sample falls in the last bucket.
        ((max(t.ts) - min(t.ts)) // greatest(buckets, 1)::BIGINT + 1)::BIGINT AS dur_ns
    FROM timed AS t
    HAVING count(*) > 0
),
counted AS (
    SELECT (t.ts - p.start_ts) // p.dur_ns AS bucket, count(*) AS samples, sum(t.value)::BIGINT AS value
    FROM timed AS t, span AS p
    GROUP BY ALL
),
filled AS (
    SELECT b.bucket, p.dur_ns, coalesce(c.samples, 0) AS samples, coalesce(c.value, 0) AS value
    FROM span AS p
    CROSS JOIN (SELECT unnest(range(greatest(buckets, 1)::BIGINT)) AS bucket) AS b
    LEFT JOIN counted AS c ON c.bucket = b.bucket
)
SELECT
    f.bucket,
    f.bucket * f.dur_ns AS start_ns,
    f.dur_ns,
    f.samples,
    f.value,
    bar(f.value, 0, greatest(max(f.value) OVER (), 1), 30) AS chart,
    (
        SELECT any_value(m.unit)
        FROM metric AS m
        WHERE m.capture_id = capture_id_of(capture) AND m.metric_id = metric_id_of(capture, metric)
    ) AS unit
FROM filled AS f
ORDER BY f.bucket
