"""Captures that the tests record themselves, with the perf that is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support import tool

WORKLOAD = """
i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
(sleep 0.01; ls / > /dev/null) & ls /usr > /dev/null; wait
exec ls -R /usr/lib/python3 > /dev/null 2>&1
"""

RECORDINGS: dict[str, list[str]] = {
    "file": ["-F", "3000", "-g"],
    "pipe": ["-F", "3000", "-g", "-o", "-"],
    "compressed": ["-F", "2000", "-g", "-z", "-a"],
    "compressed-pipe": ["-F", "3000", "-g", "-z", "-o", "-"],
    "threads": ["-F", "1000", "-g", "--threads", "-a"],
    "threads-compressed": ["-F", "1000", "-g", "--threads", "-z", "-a"],
    "system-wide": ["-F", "1000", "-g", "-a"],
    "tracepoint": ["-e", "sched:sched_switch", "-a"],
    "tracepoint-pipe": ["-e", "sched:sched_switch", "-g", "-o", "-"],
    "two-events": ["-e", "cpu-clock,page-faults", "-c", "200000", "-g"],
    "group": ["-e", "{cpu-clock,page-faults,context-switches}:S", "-F", "3000", "-g"],
    "switch-events": ["-F", "999", "--switch-events", "-a"],
    "namespaces": ["-e", "cpu-clock", "-F", "999", "--namespaces", "-a"],
    "cgroups": ["-e", "cpu-clock", "-F", "999", "--all-cgroups", "-a"],
    "memory": ["-e", "page-faults", "-c", "1", "-d", "--phys-data", "--data-page-size", "--code-page-size", "-W"],
    "monotonic": ["-F", "3000", "-g", "-k", "CLOCK_MONOTONIC"],
    "dwarf": ["-F", "499", "--call-graph", "dwarf,4096"],
    "registers": ["-F", "999", "-g", "--user-regs=ip,sp", "--intr-regs=ip,sp"],
    "no-callchain": ["-F", "999", "-a"],
    "tail": ["-F", "999", "-g", "--overwrite", "--tail-synthesize"],
    "build-ids": ["-F", "3000", "-g", "--buildid-mmap"],
}


def record(name: str, folder: Path) -> Path:
    """Record the workload as `RECORDINGS[name]` says. Skips the test where this machine does not allow it."""
    options = RECORDINGS[name]
    target = folder / "perf.data"
    output = subprocess.PIPE if "-" in options else subprocess.DEVNULL
    done = subprocess.run(
        [tool("perf"), "record", "-q", *options, *([] if "-" in options else ["-o", str(target)]),
         "--", "sh", "-c", WORKLOAD],
        stdout=output, stderr=subprocess.PIPE, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode and not (done.stdout or target.exists()):
        pytest.skip(f"perf may not record {' '.join(options)} here: {done.stderr.decode(errors='replace')[:200]}")
    if output == subprocess.PIPE:
        target.write_bytes(done.stdout)
    return target
