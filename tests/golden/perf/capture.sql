SELECT tool, tool_version, format, hostname, os_release, arch, cpu_count, command, started_at, start_ts, end_ts, clock
FROM capture WHERE capture_id = $id
