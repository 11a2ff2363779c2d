"""What memcheck, helgrind and DRD find, as rows: the same for their XML and their plain text.

- `finding`: an error each, `count` times. A leak's `bytes` are its direct ones, so that they add up to the leak
  summary; what it says of indirect ones stays in `message`.
- `finding_stack`: `error` is where it happened; the others are named by what the checker says of them.
- `metric`, `sample`: the same on stacks, for flame graphs and for joining with other captures: `errors`, and the bytes
  of each kind of leak under the kind's name.
- `thread`: as the checker numbers threads, which is not as the kernel does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from perfkit.adapters.contract import Batch, batch
from perfkit.adapters.valgrind_stacks import Frame, Stacks, fit_int64, mark_inlined, metric_batch, process_batch

LEAK = re.compile(
    r"([\d,]+) (?:\(([\d,]+) direct, [\d,]+ indirect\) )?bytes in ([\d,]+) blocks? "
    r"(?:are|is) (definitely lost|indirectly lost|possibly lost|still reachable)"
)
LEAK_KINDS = {
    "definitely lost": "Leak_DefinitelyLost",
    "indirectly lost": "Leak_IndirectlyLost",
    "possibly lost": "Leak_PossiblyLost",
    "still reachable": "Leak_StillReachable",
}
_ROLES = (  # what an auxiliary text says, and the role of the stack below it
    ("was created by a", "origin"),
    ("first observed", "first_observed"),
    ("was created", "created"),
    ("conflicts with a previous", "conflict"),
    ("alloc'd", "allocated"),
    ("allocated at", "allocated"),
    ("free'd", "freed"),
    ("Other segment start", "other_segment_start"),
    ("Other segment end", "other_segment_end"),
    ("followed by a later acquisition", "later_acquisition"),
    ("order was established by", "required_order"),
    ("before at", "earlier"),
)


def role_of(text: str) -> str:
    """The role of a stack, by the text above it; `auxiliary` where that says nothing known."""
    return next((role for key, role in _ROLES if key in text), "auxiliary")


def number_of(text: str) -> int:
    """A number with thousands separators."""
    return fit_int64(int(text.replace(",", "")[:20]))


@dataclass(slots=True)
class Finding:
    """An error; `stacks` are (role, number in `Stacks`, what was said of it)."""

    kind: str
    message: str
    utid: int | None
    bytes: int | None = None
    blocks: int | None = None
    count: int = 1
    stacks: list[tuple[str, int, str | None]] = field(default_factory=list)

    def measure_leak(self) -> None:
        """Take bytes and blocks of a leak from the message."""
        if found := LEAK.search(self.message):
            self.bytes, self.blocks = number_of(found[2] or found[1]), number_of(found[3])


class Findings:
    """All rows of a checker's capture but `capture`."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.stacks = Stacks()
        self.record_counts: dict[str, int] = {}
        self.pids: list[int | None] = []
        self.commands: list[str | None] = []
        self._threads: dict[tuple[int, int], int] = {}
        self._thread_names: list[str] = []
        self._counters: dict[tuple[int, str, str], int] = {}

    def begin_process(self, pid: int | None, command: str | None = None) -> int:
        """The upid of a process that is seen for the first time."""
        self.pids.append(pid)
        self.commands.append(command)
        return len(self.pids) - 1

    def thread(self, upid: int, number: int, name: str | None = None) -> int:
        """The utid of the checker's thread `number`."""
        utid = self._threads.setdefault((upid, number), len(self._threads))
        if utid == len(self._thread_names):
            self._thread_names.append(f"thread {number}")
        if name:
            self._thread_names[utid] = name
        return utid

    def add_stack(self, frames: Sequence[Frame]) -> int:
        """The number of a stack, given from its innermost frame."""
        return self.stacks.add(mark_inlined(frames))

    def add_counter(self, upid: int, name: str, unit: str, value: int) -> None:
        """Set a number that the checker sums up."""
        self._counters[upid, name, unit] = value

    def count_record(self, record: str, count: int) -> None:
        """Add to what the tool counts."""
        self.record_counts[record] = fit_int64(self.record_counts.get(record, 0) + count)

    def to_batches(self) -> Iterator[Batch]:
        """All rows."""
        yield process_batch(self.pids, self.commands)
        yield self._thread_batch()
        nodes, batches = self.stacks.finish()
        yield from batches
        found = self.findings
        yield batch(
            "finding",
            finding_id=np.arange(len(found), dtype=np.int32),
            kind=pa.array([f.kind for f in found], pa.string()),
            message=pa.array([f.message for f in found], pa.string()),
            utid=pa.array([f.utid for f in found], pa.int32()),
            bytes=pa.array([f.bytes for f in found], pa.int64()),
            blocks=pa.array([f.blocks for f in found], pa.int64()),
            count=pa.array([f.count for f in found], pa.int64()),
        )
        rows = [(i, *stack) for i, finding in enumerate(found) for stack in finding.stacks if nodes[stack[1]] >= 0]
        yield batch(
            "finding_stack",
            finding_id=pa.array([row[0] for row in rows], pa.int32()),
            role=pa.array([row[1] for row in rows], pa.string()),
            stack_id=pa.array([nodes[row[2]] for row in rows], pa.int32()),
            detail=pa.array([row[3] for row in rows], pa.string()),
        )
        yield from self._sample_batches(nodes.tolist())
        yield from self._counter_batches()
        yield batch(
            "record_count",
            record=pa.array(list(self.record_counts), pa.string()),
            count=pa.array(list(self.record_counts.values()), pa.int64()),
        )

    def _thread_batch(self) -> Batch:
        keys = list(self._threads)
        return batch(
            "thread",
            utid=np.arange(len(keys), dtype=np.int32),
            upid=pa.array([upid for upid, _ in keys], pa.int32()),
            # The kernel's number is known of the first thread only: it is the process's.
            tid=pa.array([self.pids[upid] if number == 1 else None for upid, number in keys], pa.int32()),
            name=pa.array(self._thread_names, pa.string()),
            is_main=pa.array([number == 1 for _, number in keys], pa.bool_()),
        )

    def _sample_batches(self, nodes: list[int]) -> Iterator[Batch]:
        leaks = sorted({f.kind for f in self.findings if f.bytes is not None})
        has_errors = any(f.bytes is None for f in self.findings)
        names = [*(["errors"] if has_errors else []), *leaks]
        yield metric_batch(names, ["byte" if name in leaks else "error" for name in names])
        found = self.findings
        where = [next((nodes[number] for role, number, _ in f.stacks if role == "error"), -1) for f in found]
        yield batch(
            "sample",
            utid=pa.array([f.utid for f in found], pa.int32()),
            stack_id=pa.array([node if node >= 0 else None for node in where], pa.int32()),
            metric_id=pa.array([names.index(f.kind) if f.bytes is not None else 0 for f in found], pa.int32()),
            value=pa.array([f.count if f.bytes is None else f.bytes for f in found], pa.int64()),
        )

    def _counter_batches(self) -> Iterator[Batch]:
        keys = list(self._counters)
        yield batch(
            "counter_track",
            track_id=np.arange(len(keys), dtype=np.int32),
            name=pa.array([name for _, name, _ in keys], pa.string()),
            unit=pa.array([unit for _, _, unit in keys], pa.string()),
            scope=pa.array(["process"] * len(keys), pa.string()),
            upid=pa.array([upid for upid, _, _ in keys], pa.int32()),
        )
        yield batch(
            "counter",
            track_id=np.arange(len(keys), dtype=np.int32),
            value=pa.array(list(self._counters.values()), pa.int64()).cast(pa.float64(), safe=False),
        )
