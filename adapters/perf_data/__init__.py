"""perf.data: what `perf record` and simpleperf write."""
