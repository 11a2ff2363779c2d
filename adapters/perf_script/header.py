"""The comment block that `perf script --header` prints first, and what other comments say.

    # ========
    # captured on    : Mon Nov 23 02:23:49 2026
    # hostname : vm
    # cmdline : /usr/bin/perf record -F 499 -g -- ./multi
    # event : name = cpu-clock:ppp, , id = { 1204 }, …, { sample_period, sample_freq } = 499, …, freq = 1, …
    # ========

Keys are those of tools/perf/util/header.c (print_* of each feature).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.ctime import parse_ctime
from perfkit.adapters.text import to_text

_FIELD = re.compile(
    r"# (captured on|hostname|os release|perf version|arch|nrcpus online|cpudesc|total memory|cmdline)\s*:(.*)"
)
_EVENT = re.compile(r"# event : name = (.+?), ")
_RATE = re.compile(r"\{ sample_period, sample_freq \} = (\d+)")
_CLOCK = re.compile(r"# clockid: (\w+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """How an event was sampled: each `period` of it, or `frequency` times a second."""

    period: int | None = None
    frequency: int | None = None


@dataclass(slots=True)
class Header:
    """What the comments told; empty where there were none."""

    fields: dict[str, str] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    clock: str = "perf"

    def read(self, text: bytes) -> list[bytes]:
        """Take in comment lines, and give back the lines that are neither comments nor empty."""
        others = []
        for line in text.split(b"\n"):
            if line.startswith(b"#"):
                self._read_comment(to_text(line))
            elif line.strip():
                others.append(line)
        return others

    def _read_comment(self, line: str) -> None:
        if found := _FIELD.match(line):
            self.fields.setdefault(found.group(1), found.group(2).strip())
        elif found := _EVENT.match(line):
            rate = _RATE.search(line)
            if rate:
                # perf 4.12 and older print `freq = 1` only where it is set, as newer ones do.
                is_frequency = "freq = 1," in line
                number = int(rate.group(1))
                self.rates[found.group(1)] = Rate(frequency=number) if is_frequency else Rate(period=number)
        elif found := _CLOCK.match(line):
            self.clock = "CLOCK_" + found.group(1).upper()

    def to_batch(self, span: tuple[int, int] | None, issues: IssueLog) -> Batch:
        """The row of `capture`; `span` is the first and last time of a sample, in ns."""
        get = self.fields.get
        memory = re.match(r"(\d+) kB", get("total memory", ""))
        cpus = get("nrcpus online", "")
        return batch(
            "capture",
            name=[""],
            tool=["perf"],
            tool_version=[get("perf version")],
            format=["perf.script"],
            hostname=[get("hostname")],
            os_release=[get("os release")],
            arch=[get("arch")],
            cpu_count=[int(cpus) if cpus.isdecimal() and len(cpus) < 7 else None],
            cpu_model=[get("cpudesc")],
            memory_bytes=[int(memory.group(1)) * 1024 if memory and len(memory.group(1)) < 16 else None],
            command=[get("cmdline")],
            started_at=[parse_ctime(get("captured on", ""), issues)],
            start_ts=[span[0] if span else None],
            end_ts=[span[1] if span else None],
            clock=[self.clock],
        )
