"""Times whole commands in turn and compares their medians."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(os.environ.get("PERFKIT_BENCH_DATA") or Path(__file__).parent / "data")


@dataclass
class Contender:
    """A command to time; `before` runs untimed ahead of each run."""

    name: str
    command: Sequence[str]
    before: Sequence[str] | None = None
    shell: bool = False
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


def race(title: str, contenders: Sequence[Contender], runs: int) -> None:
    """Run the contenders in turn, `runs` times after one warm-up, pinned to one core; the first is what the others are
    measured against.
    """
    print(f"\n## {title}\n")
    for number in range(runs + 1):
        for contender in contenders:
            _run(contender, counted=number > 0)
    first = contenders[0]
    print(f"| program | median s | CPU s | peak MB | times {first.name} |")
    print("|---|---:|---:|---:|---:|")
    for contender in contenders:
        seconds, cpu = statistics.median(contender.seconds), statistics.median(contender.cpu_seconds)
        ratio = seconds / statistics.median(first.seconds)
        print(f"| {contender.name} | {seconds:.2f} | {cpu:.2f} | {contender.peak_mb:.0f} | {ratio:.1f} |", flush=True)


def _run(contender: Contender, *, counted: bool) -> None:
    if contender.before:
        subprocess.run(contender.before, check=True)
    command = ["sh", "-c", contender.command[0]] if contender.shell else list(contender.command)
    before = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_pin_to_one_core,  # noqa: PLW1509
    )
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{contender.name} failed with exit code {process.returncode}: {' '.join(command)}")
    if counted:
        contender.seconds.append(elapsed)
        contender.cpu_seconds.append(usage.ru_utime + usage.ru_stime)
        contender.peak_mb = max(contender.peak_mb, usage.ru_maxrss / 1024)


def _pin_to_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
