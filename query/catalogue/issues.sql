-- What went wrong while the capture was recorded or read.
--
-- These are reasons not to trust its numbers blindly, the gravest first.
--
-- group: trust
-- param capture = NULL: id or name of a capture; null for the default, the latest
-- column byte_offset: where in the input the first of them lies
-- example: FROM issues()
CREATE OR REPLACE MACRO issues(capture := NULL) AS TABLE
SELECT i.severity, i.code, i.count, i.detail, i."offset" AS byte_offset
FROM import_issue AS i
WHERE i.capture_id = capture_id_of(capture)
ORDER BY array_position(['error', 'warning', 'info'], i.severity), i.count DESC, i.code, i.detail
