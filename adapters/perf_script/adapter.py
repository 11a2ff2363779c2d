"""Reads `perf script` text block by block.

    block ──Layout.pattern.split──▶ who │ cpu │ seconds │ fraction │ period │ event │ rest of line + callchain
             Threads ◀──────────────┘                                  │        │           │
             Rows (ts, label, cpu, leaf, metric, value) ◀──────────────┴────────┘           │
             Stacks ◀──FrameTable◀──────────────────────────────────────────────────────────┘

Samples are held as columns, 32 bytes each, until the end, when they are put in time order; texts are not held.

Lossy: registers, branch stacks and raw instructions that `-F` can print behind a callchain are counted, not kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source
from perfkit.adapters.perf_script.layout import choose_layout
from perfkit.adapters.perf_script.reading import Reading
from perfkit.adapters.text import read_blocks
from perfkit.schema.errors import FormatError


class PerfScript:
    """`perf script` text."""

    info = AdapterInfo(
        name="perf.script",
        tool="perf",
        formats=("perf script text, with and without callchains, any usual -F", "simpleperf's report_sample text"),
        yields=(
            "capture",
            "process",
            "thread",
            "thread_name",
            "mapping",
            "frame",
            "stack",
            "metric",
            "sample",
            "branch",
            "event.*",
            "record_count",
        ),
        clock="perf's, as printed (the clock of `perf record -k` where the header names it)",
        specification="https://github.com/torvalds/linux/blob/v6.12/tools/perf/Documentation/perf-script.txt",
    )

    def sniff(self, source: Source) -> bool:
        """Whether header lines of samples stand in the first bytes."""
        return not source.is_dir and choose_layout(source.head) is not None

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows. Events are streamed; samples come last, in time order.

        Raises:
            FormatError: the text holds no record.
        """
        layout = choose_layout(source.head)
        if layout is None:
            raise FormatError(source.path, 0, "header lines of `perf script`", "none in the first 64 KiB")
        reading = Reading(layout, issues)
        with source.open() as stream:
            for block in read_blocks(stream, layout.find_last_begin):
                yield from reading.take(block)
        if reading.is_empty:
            raise FormatError(source.path, 0, "records of `perf script`", "none")
        yield from reading.finish()
