"""Reads massif's output (`massif.out.<pid>`), and what other tools write with --xtree-memory-file=….ms.

    desc: --threshold=0.1                  options
    cmd: ./program
    time_unit: i                           i instructions, ms milliseconds, B bytes allocated and freed
    #-----------
    snapshot=16
    #-----------
    time=5908246                           since the start, in time_unit
    mem_heap_B=5835111
    mem_heap_extra_B=1673
    mem_stacks_B=0
    heap_tree=peak                         empty, detailed or peak
    n2: 5835111 (heap allocation functions) malloc/new/new[], --alloc-fns, etc.
     n1: 5800000 0x401A9D: temp_peak (truth.c:159)         callers stand below their callees, one blank deeper;
      n0: 5800000 0x401F0E: main (truth.c:260)             n1: how many callers follow
     n0: 35111 in 7 places, all below massif's threshold (1.00%)

How it lands in the tables:

- `counter`: mem_heap_B, mem_heap_extra_B and mem_stacks_B of every snapshot. `ts` is nanoseconds since the start
  where massif counted milliseconds, else null: instructions and bytes are no time.
- `event.massif_snapshot`: every snapshot whole, with its time in massif's own unit and the metric of its tree.
- `metric`, `sample`: one metric a tree, `heap_at_peak` for the peak, `heap_at_snapshot_<n>` for the others, so that the
  samples of a metric add up to that snapshot's heap. A sample is what a line of the tree has beyond its children. The
  tree's first line, which no function stands for, is a frame only where it has bytes that no line below explains.
- A report of --xtree-memory has such trees too, which name what they count in their first line (`curB : …`): that is
  the metric's name, and blocks where it ends in `Bk`.
- Allocations that massif did not list go to a frame `[below threshold]` above the callee; how many places they are,
  and the threshold, is in `event.massif_below_threshold`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source, batch
from perfkit.adapters.text import looks_like_text, plain_lines, to_text
from perfkit.adapters.valgrind_stacks import (
    Frame,
    Stacks,
    capture_batch,
    fit_int64,
    lines_of,
    mark_inlined,
    metric_batch,
    parse_frame,
    whole_process_batches,
)
from perfkit.schema.errors import FormatError

_HEAD = re.compile(rb"(?:desc:[^\n]*\n)*cmd:[^\n]*\ntime_unit:")
_NODE = re.compile(rb"( *)n(\d{1,9}): (\d{1,20}) (.*)\Z", re.DOTALL)
_FIELD = re.compile(rb"(time|mem_heap_B|mem_heap_extra_B|mem_stacks_B)=(\d{1,20})\Z")
_SNAPSHOT = re.compile(rb"snapshot=(\d{1,9})\Z")
_BELOW = re.compile(r"in (\d{1,18}) places?, (?:all )?below massif's threshold \((\d+(?:\.\d+)?)%?\)")
_XTREE = re.compile(r"(\w+) : ")  # event of an execution tree (coregrind/m_xtree.c, VG_(XT_massif_print))
_SIZES = ("mem_heap_B", "mem_heap_extra_B", "mem_stacks_B")
_UNITS = {"i": "instruction", "B": "byte", "ms": "ms"}
_MAX_DEPTH = 10_000
BELOW = Frame(None, "[below threshold]")


@dataclass(slots=True)
class _Snapshot:
    number: int
    values: dict[str, int] = field(default_factory=dict)
    tree: str | None = None
    root: str | None = None
    """First line of the tree."""
    metric_id: int | None = None


@dataclass(slots=True)
class _Node:
    """A line of a tree whose children are being read."""

    frame: Frame
    missing: int
    """Children still to come."""
    rest: int
    """Bytes that the children so far do not explain."""
    is_below: bool
    offset: int


@dataclass(slots=True)
class _Weights:
    """Samples to be: number of the stack in `Stacks`, snapshot, bytes."""

    stack: list[int] = field(default_factory=list)
    snapshot: list[int] = field(default_factory=list)
    value: list[int] = field(default_factory=list)


class _Reading:
    """What is known while lines come in."""

    def __init__(self, issues: IssueLog) -> None:
        self.issues = issues
        self.header: dict[str, str] = {}
        self.snapshots: list[_Snapshot] = []
        self.stacks = Stacks()
        self.weights = _Weights()
        self.below: list[tuple[int, int, int, int, float]] = []
        self._frames: dict[bytes, Frame] = {}
        self._path: list[_Node] = []

    def take(self, offset: int, line: bytes) -> None:
        """Read a line, which begins at `offset`."""
        if (node := _NODE.match(line)) and self.snapshots:
            self._take_node(offset, len(node[1]), int(node[2]), int(node[3]), node[4])
            return
        self.end_tree()
        snapshot = self.snapshots[-1] if self.snapshots else None
        if not line.strip() or line.startswith(b"#"):
            return
        if begin := _SNAPSHOT.match(line):
            self.snapshots.append(_Snapshot(int(begin[1])))
        elif snapshot and (found := _FIELD.match(line)):
            snapshot.values[found[1].decode()] = fit_int64(int(found[2]))
        elif snapshot and line.startswith(b"heap_tree="):
            snapshot.tree = to_text(line[10:])
        elif snapshot is None and line.startswith((b"desc:", b"cmd:", b"time_unit:")):
            key, _, value = to_text(line).partition(":")
            self.header[key] = value.strip()
        else:
            shown = to_text(line[:120])
            self.issues.add("unparsed_line", "warning", f"a line was skipped; the first is {shown!r}", offset=offset)

    def _take_node(self, offset: int, depth: int, children: int, size: int, text: bytes) -> None:
        while len(self._path) > depth:
            self._close()
        if len(self._path) < depth or depth > _MAX_DEPTH:
            detail = "a line of an allocation tree stands deeper than below its parent and was skipped"
            self.issues.add("tree_damaged", "warning", detail, offset=offset)
            return
        size = fit_int64(size)
        if not depth and self.snapshots[-1].root is None:
            self.snapshots[-1].root = to_text(text)
        if self._path:
            self._path[-1].missing -= 1
            self._path[-1].rest -= size
        is_below = text.startswith(b"in ") and b" below massif's threshold" in text
        self._path.append(_Node(self._frame(text, is_below), children, size, is_below, offset))
        if is_below:
            self._add_below(to_text(text), size)

    def _frame(self, text: bytes, is_below: bool) -> Frame:
        if is_below:
            return BELOW
        frame = self._frames.get(text)
        if frame is None:
            frame = self._frames[text] = parse_frame(to_text(text))
        return frame

    def _stack(self) -> int:
        """The stack that the path stands for; the tree's first line is no function unless it stands alone."""
        return self.stacks.add(mark_inlined([node.frame for node in self._path[1:] or self._path]))

    def _add_below(self, text: str, size: int) -> None:
        found = _BELOW.match(text)
        places, percent = (int(found[1]), float(found[2])) if found else (0, 0.0)
        self.below.append((self._stack(), len(self.snapshots) - 1, size, places, percent))

    def _close(self) -> None:
        node = self._path[-1]
        if node.missing > 0 and not node.is_below:
            detail = "callers that a line of an allocation tree announces are missing; their bytes count for the callee"
            self.issues.add("tree_incomplete", "warning", detail, offset=node.offset, count=node.missing)
        if node.rest < 0:
            detail = "the callers of a line of an allocation tree have more bytes than it has itself"
            self.issues.add("tree_damaged", "warning", detail, offset=node.offset)
        elif node.rest:
            self.weights.stack.append(self._stack())
            self.weights.snapshot.append(len(self.snapshots) - 1)
            self.weights.value.append(node.rest)
        self._path.pop()

    def end_tree(self) -> None:
        """No more lines of this tree come."""
        while self._path:
            self._close()


class Massif:
    """`massif.out` files."""

    info = AdapterInfo(
        name="massif.out",
        tool="massif",
        formats=("massif.out of any options: --stacks, --pages-as-heap, --time-unit=i|ms|B …", "--xtree-memory-file"),
        yields=(
            "capture",
            "process",
            "thread",
            "frame",
            "stack",
            "metric",
            "sample",
            "counter_track",
            "counter",
            "event.massif_snapshot",
            "event.massif_below_threshold",
        ),
        clock="since the program's start with --time-unit=ms; else none",
        specification="https://sourceware.org/git/?p=valgrind.git;a=blob;f=massif/ms_main.c;hb=VALGRIND_3_19_0",
    )

    def sniff(self, source: Source) -> bool:
        """Whether the text begins with `desc:`, `cmd:` and `time_unit:` lines."""
        return (
            not source.is_dir and looks_like_text(source.head) and bool(_HEAD.match(plain_lines(source.head).lstrip()))
        )

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows.

        Raises:
            FormatError: there is no snapshot.
        """
        reading = _Reading(issues)
        with source.open() as stream:
            for offset, line in lines_of(stream):
                reading.take(offset, line.removeprefix(b"\xef\xbb\xbf") if not offset else line)
        reading.end_tree()
        if not reading.snapshots:
            raise FormatError(source.path, None, "a line `snapshot=…`", "none")
        last = reading.snapshots[-1]
        if last.tree is None or any(name not in last.values for name in ("time", *_SIZES)):
            detail = "the last snapshot lacks some of its lines: massif or a copy was cut short"
            issues.add("truncated", "warning", detail, offset=source.size)
        command = reading.header.get("cmd")
        yield capture_batch(self.info.name, "massif", None, command)
        yield from whole_process_batches(None, command)
        yield from _tree_batches(reading)
        yield from _counter_batches(reading)


def _tree_batches(reading: _Reading) -> Iterator[Batch]:
    """Frames, stacks, metrics and samples of all trees, the peak's metric first."""
    peaks = [index for index, snapshot in enumerate(reading.snapshots) if snapshot.tree == "peak"][-1:]
    others = [i for i, s in enumerate(reading.snapshots) if s.tree in ("detailed", "peak") and i not in peaks]
    others += sorted({*reading.weights.snapshot} - {*peaks, *others})  # a tree whose `heap_tree=` line is damaged
    for metric_id, index in enumerate(peaks + others):
        reading.snapshots[index].metric_id = metric_id
    names = ["heap_at_peak"] * len(peaks) + [_metric_name(reading.snapshots[index]) for index in others]
    yield metric_batch(names, ["block" if name.endswith("Bk") else "byte" for name in names])
    nodes, batches = reading.stacks.finish()
    yield from batches
    weights = reading.weights
    metric_of_snapshot = np.array([-1 if s.metric_id is None else s.metric_id for s in reading.snapshots], np.int32)
    yield batch(
        "sample",
        utid=np.zeros(len(weights.stack), np.int32),
        stack_id=nodes[np.array(weights.stack, np.int64)],
        metric_id=metric_of_snapshot[np.array(weights.snapshot, np.int64)],
        value=np.array(weights.value, np.int64),
    )
    if reading.below:
        stack, owner, sizes, places, percent = zip(*reading.below, strict=True)
        at = np.array(owner, np.int64)
        yield batch(
            "event.massif_below_threshold",
            ts=pa.nulls(len(stack), pa.int64()),
            stack_id=nodes[np.array(stack, np.int64)],
            snapshot=np.array([s.number for s in reading.snapshots], np.int32)[at],
            metric_id=metric_of_snapshot[at],
            bytes=np.array(sizes, np.int64),
            places=np.array(places, np.int64),
            threshold_percent=np.array(percent, np.float64),
        )


def _metric_name(snapshot: _Snapshot) -> str:
    found = _XTREE.match(snapshot.root or "")
    return found[1] if found else f"heap_at_snapshot_{snapshot.number}"


def _counter_batches(reading: _Reading) -> Iterator[Batch]:
    """The sizes as series, and each snapshot whole."""
    snapshots = reading.snapshots
    unit = reading.header.get("time_unit", "")
    ticks: list[int | None] = [s.values.get("time") for s in snapshots]
    in_ns = [None if t is None or unit != "ms" else fit_int64(t * 1_000_000) for t in ticks]
    ts = pa.array(in_ns, pa.int64())
    yield batch(
        "counter_track",
        track_id=list(range(len(_SIZES))),
        name=list(_SIZES),
        unit=["byte"] * len(_SIZES),
        scope=["process"] * len(_SIZES),
        upid=[0] * len(_SIZES),
    )
    for track_id, name in enumerate(_SIZES):
        yield batch(
            "counter",
            track_id=np.full(len(snapshots), track_id, np.int32),
            ts=ts,
            value=pa.array([s.values.get(name) for s in snapshots], pa.int64()).cast(pa.float64(), safe=False),
        )
    yield batch(
        "event.massif_snapshot",
        ts=ts,
        snapshot=pa.array([s.number for s in snapshots], pa.int32()),
        time=pa.array(ticks, pa.int64()),
        time_unit=pa.array([_UNITS.get(unit, unit)] * len(snapshots), pa.string()),
        **{name: pa.array([s.values.get(name) for s in snapshots], pa.int64()) for name in _SIZES},
        tree=pa.array([s.tree for s in snapshots], pa.string()),
        tree_root=pa.array([s.root for s in snapshots], pa.string()),
        metric_id=pa.array([s.metric_id for s in snapshots], pa.int32()),
    )
