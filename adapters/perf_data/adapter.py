"""Reads perf.data: two passes over the file, one for who and what was there, one for the samples.

    header ──▶ attributes, features
    pass 1 ──▶ COMM, FORK, EXIT, MMAP … ──▶ Timeline (threads, processes, address spaces)
    pass 2 ──▶ SAMPLE ──▶ thread, chain number ──▶ time order ──▶ `sample`
    end    ──▶ `frame`, `stack`, `process`, `thread`, `mapping` …

Specification: tools/perf/Documentation/perf.data-file-format.txt and include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

from collections.abc import Iterator

from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source
from perfkit.adapters.perf_data.capture import open_capture
from perfkit.adapters.perf_data.header import MAGICS
from perfkit.adapters.perf_data.report import mapping_batches, metadata_batches, side_band_batches
from perfkit.adapters.perf_data.sample_pass import SamplePass


class PerfData:
    """The perf.data adapter."""

    info = AdapterInfo(
        name="perf.data",
        tool="perf",
        formats=("file", "pipe (`perf record -o -`)", "folder (`perf record --threads`)", "simpleperf's perf.data"),
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
            "memory_access",
            "branch",
            "event.perf_*",
            "clock_snapshot",
            "record_count",
        ),
        clock="the one given to `perf record -k`, else the kernel's sched_clock (`perf`)",
        specification=(
            "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/tools/perf/Documentation/"
            "perf.data-file-format.txt?h=v6.11"
        ),
    )

    def sniff(self, source: Source) -> bool:
        """A magic at the start, or a folder with a file `data` beside numbered ones."""
        if source.is_dir:
            return "data" in source.names and _starts_with_magic(source)
        return source.head[:8] in MAGICS

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """See `Adapter.read`."""
        capture = open_capture(source, issues)
        samples = SamplePass(capture, issues, source.report)
        # The kernel's mapping comes before the frames: their naming needs to know where the kernel lay.
        yield from mapping_batches(capture)
        yield from samples.run()
        # Last come the threads: events may know of some that neither samples nor mappings do.
        yield from side_band_batches(capture, samples, issues)
        yield from metadata_batches(capture, samples)


def _starts_with_magic(source: Source) -> bool:
    try:
        with open(source.path / "data", "rb") as stream:
            return stream.read(8) in MAGICS
    except OSError:
        return False
