SELECT code, severity, "offset", count FROM import_issue
WHERE capture_id = $id
ORDER BY code, severity
