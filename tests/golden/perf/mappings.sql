SELECT pid, ts, printf('%x', start) AS start, printf('%x', "end") AS "end", file_offset, path, build_id
FROM mapping LEFT JOIN process USING (capture_id, upid)
WHERE capture_id = $id ORDER BY mapping_id
