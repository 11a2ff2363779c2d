"""What the perf tool itself says of a perf.data file: `perf report --stats` and `perf script`, live or as goldens."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

PIPE_HEADER_SIZE = (16).to_bytes(8, "little")
_FIELDS = ("comm", "pid", "tid", "cpu", "time", "period", "event", "ip")


class PerfError(Exception):
    """perf cannot read the capture."""


class ScriptSample(NamedTuple):
    """A sample as `perf script` prints it; a field that the capture lacks is None."""

    comm: str
    pid: int
    tid: int
    cpu: int | None
    time: int | None
    """ns"""
    event: str
    period: int | None
    ips: tuple[int, ...]
    """innermost first; offsets in the file for user addresses of a callchain, else absolute"""
    is_chain: bool


class Task(NamedTuple):
    """A COMM (`name:pid/tid`), FORK or EXIT (`pid:tid):(parent pid:parent tid`) record."""

    kind: str
    time: int
    text: str


@dataclass(frozen=True, slots=True)
class Stats:
    """`perf report --stats`: records by type, and samples by event."""

    records: Counter[str]
    samples: Counter[str]


def require_perf() -> str:
    """The perf tool; skips the test where there is none."""
    perf = shutil.which("perf")
    if perf is None:
        pytest.skip("perf is not installed (Debian: linux-perf)")
    return perf


def live_stats(path: Path) -> Stats:
    """`perf report --stats` of a capture."""
    return parse_stats(_run(path, "report", "--stats").decode("utf-8", "replace"))


def parse_stats(text: str) -> Stats:
    """The text of `perf report --stats`."""
    records: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    event: str | None = None
    for line in text.splitlines():
        if line.startswith("Aggregated stats"):
            event = None
        elif line.endswith(" stats:") and not line.startswith(" "):
            event = line.removesuffix(" stats:")
        elif found := re.match(r" *(\S+) events: +(\d+)", line):
            if event is None:
                records[found[1]] += int(found[2])
            elif found[1] == "SAMPLE":
                samples[event] += int(found[2])
    return Stats(records, samples)


def live_script(path: Path) -> list[ScriptSample]:
    """`perf script` of a capture, with as many of the fields as its events have."""
    fields = list(_FIELDS)
    while True:
        try:
            text = _run(path, "script", "--ns", "-F", ",".join(fields))
        except PerfError as error:
            complaint = re.search(r"Cannot print '(\w+)' field", str(error))
            if complaint is None:
                raise
            fields.remove(complaint[1])
        else:
            return list(parse_script(text.decode("utf-8", "replace"), fields))


def golden_script(path: Path) -> list[ScriptSample]:
    """A golden of `perf script`; its first line is the command that made it."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    command, _, text = text.partition("\n")
    fields = re.search(r"-F (\S+)", command)
    assert fields is not None
    return list(parse_script(text, fields[1].split(",")))


def parse_script(text: str, fields: list[str]) -> Iterator[ScriptSample]:
    """Samples of `perf script -F …`: a line each and, where events have callchains, a line for each address."""
    if text.startswith("CPU   THREAD"):
        return  # of `perf stat record`, which takes no samples
    cpu = r" +\[(?P<cpu>\d+)\]" if "cpu" in fields else ""
    time = r" +(?P<time>\d+\.\d{9}):" if "time" in fields else ""
    period = r" +(?P<period>\d+)" if "period" in fields else ""
    task = r" *(?P<comm>.*?) +(?P<pid>-?\d+)/(?P<tid>-?\d+) *"
    head = re.compile(rf"{task}{cpu}{time}{period} +(?P<event>\S.*?): (?P<ip>.*)")
    lines = iter(text.split("\n"))
    for line in lines:
        if not line or line.startswith("\t") or "PERF_RECORD_" in line:
            continue
        found = head.fullmatch(line)
        assert found is not None, repr(line)
        groups = found.groupdict()
        is_chain = not groups["ip"].strip()
        rows = iter(lines.__next__, "") if is_chain else [groups["ip"]]
        yield ScriptSample(
            groups["comm"],
            int(groups["pid"]),
            int(groups["tid"]),
            int(groups["cpu"]) if cpu else None,
            int(groups["time"].replace(".", "")) if time else None,
            groups["event"],
            int(groups["period"]) if period else None,
            tuple(int(row.split()[0], 16) for row in rows),
            is_chain,
        )


def _run(path: Path, command: str, *options: str) -> bytes:
    """Run perf on a capture. One that was recorded into a pipe is given through a pipe: perf reads it so only."""
    content = None if path.is_dir() else path.read_bytes()
    if content is not None and content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    is_pipe = content is not None and content[8:16] == PIPE_HEADER_SIZE
    done = subprocess.run(
        [require_perf(), command, "-f", *options, "-i", "-" if is_pipe else str(path)],
        input=content if is_pipe else b"", capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise PerfError(done.stderr.decode(errors="replace"))
    if b"failed to process" in done.stderr:  # yet perf returns 0
        raise PerfError(done.stderr.decode(errors="replace"))
    return done.stdout


def live_tasks(path: Path) -> list[Task]:
    """COMM, FORK and EXIT records in time order, as `perf script --show-task-events` prints them."""
    text = _run(path, "script", "--ns", "-F", "comm,pid,tid,time,event", "--show-task-events")
    return [
        Task(found["kind"].strip(), int(found["time"].replace(".", "")), found["rest"])
        for found in re.finditer(
            r"(?P<time>\d+\.\d{9}): PERF_RECORD_(?P<kind>COMM exec|COMM|FORK|EXIT)[:(](?P<rest>.*)",
            text.decode("utf-8", "replace"),
        )
    ]
