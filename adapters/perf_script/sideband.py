"""Side-band records that `perf script --show-task-events --show-mmap-events …` prints between samples.

    truth 1266 4757.060628: PERF_RECORD_COMM exec: truth:1266/1266
    truth 1266 4757.061279: PERF_RECORD_FORK(1266:1268):(1266:1266)           child, then parent: (pid:tid)
    truth 1266 4757.060662: PERF_RECORD_MMAP2 1266/1266: [0x401000(0x2000) @ 0x1000 fe:00 2269691 30979957]: r-xp /tmp/t
    multi 5281 4960.878796: PERF_RECORD_LOST lost 6

(tools/perf/util/event.c, perf_event__fprintf_*.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.perf_script.threads import Threads
from perfkit.adapters.text import Block, to_text

PREFIX = b"PERF_RECORD_"

_COMM = re.compile(rb"\s*(exec: )?(.*):(-?\d{1,10})/(-?\d{1,10})\s*\Z", re.DOTALL)
_TASK = re.compile(rb"\((-?\d{1,10}):(-?\d{1,10})\):\((-?\d{1,10}):(-?\d{1,10})\)")
_LOST = re.compile(rb"lost (\d{1,18})")
_MMAP = re.compile(
    rb"\s*(-?\d{1,10})/-?\d{1,10}: \[(?:0x)?([0-9a-f]{1,16})\((?:0x)?([0-9a-f]{1,16})\) @ (?:0x)?([0-9a-f]{1,16})"
    rb"[^\]<]*(?:<([0-9a-f]*)>)?\]: \S+ (.*)"
)


@dataclass(slots=True)
class Sideband:
    """Counts records by type, and applies those that tell of tasks and mappings."""

    threads: Threads
    issues: IssueLog
    counts: dict[str, int] = field(default_factory=dict)
    exec_labels: set[tuple[int, int]] = field(default_factory=set)
    """`(label, ts)` of the names that exec(2) gave."""
    _mappings: list[tuple[int | None, int | None, int, int, int, str, str | None]] = field(default_factory=list)

    def apply(self, record: bytes, text: bytes, ts: int | None, block: Block) -> int:
        """Take in one record of `block`. Returns the label that a COMM gives its thread, else -1."""
        name = record.removeprefix(PREFIX).decode()
        self.counts[name] = self.counts.get(name, 0) + 1
        if name == "COMM" and (found := _COMM.match(text)):
            label = self.threads.name(self.threads.find(int(found[3]), int(found[4])), to_text(found[2]))
            if found[1] and ts is not None:
                self.exec_labels.add((label, ts))
            return label
        if name in ("FORK", "EXIT") and (found := _TASK.search(text)):
            who, parent = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
            if name == "FORK":
                self.threads.fork(who, parent, ts)
            else:
                self.threads.exit(who, ts)
        elif name in ("MMAP", "MMAP2") and (found := _MMAP.match(text)):
            self._map(found, ts)
        elif name.startswith("LOST") and (found := _LOST.search(text)):
            self._count_lost(name, int(found[1]), block, record + text)
        return -1

    def _count_lost(self, name: str, count: int, block: Block, line: bytes) -> None:
        code = "lost_samples" if name == "LOST_SAMPLES" else "lost_records"
        # Only the first one's place is kept, and finding it costs a search.
        offset = None if self.issues.count(code) else block.offset_of(max(0, block.data.find(line)))
        self.issues.add(code, "warning", "the kernel dropped them as the buffer was full", offset=offset, count=count)

    def _map(self, found: re.Match[bytes], ts: int | None) -> None:
        pid = int(found[1])
        start = int(found[2], 16)
        self._mappings.append(
            (
                None if pid < 0 else self.threads.upid(pid),
                ts or None,  # what was mapped before the capture is printed with time 0
                start,
                min(start + int(found[3], 16), (1 << 64) - 1),
                int(found[4], 16),
                to_text(found[6]).strip(),
                found[5].decode() if found[5] else None,
            )
        )

    def to_batch(self) -> Batch:
        """Rows of `mapping`."""
        columns = list(zip(*self._mappings, strict=True)) or [()] * 7
        upid, ts, start, end, file_offset, path, build_id = columns
        return batch(
            "mapping",
            mapping_id=np.arange(len(self._mappings), dtype=np.int32),
            upid=pa.array(upid, pa.int32()),
            ts=pa.array(ts, pa.int64()),
            start=pa.array(start, pa.uint64()),
            end=pa.array(end, pa.uint64()),
            file_offset=pa.array(file_offset, pa.uint64()),
            path=pa.array(path, pa.string()),
            build_id=pa.array(build_id, pa.string()),
        )
