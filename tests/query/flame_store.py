"""Makes small databases of stacks by hand, and folds the same rows in plain Python."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from perfkit.adapters.contract import Batch, batch
from perfkit.ingest.store import CaptureStamp, Store


@dataclass(frozen=True)
class Frame:
    function: str | None
    module: str | None = "/usr/bin/app"
    kind: str = "user"
    inlined: bool = False
    address: int = 0


@dataclass(frozen=True)
class Sample:
    """One sample; `stack` outermost first, empty for none; `tid` decides the thread, `comm` its name from `ts` on."""

    comm: str
    stack: tuple[Frame, ...]
    value: int = 1
    pid: int = 100
    tid: int = 100
    ts: int | None = 0
    metric: str = "cycles"
    cpu: int = 0


@dataclass
class _Tree:
    frames: dict[Frame, int] = field(default_factory=dict)
    nodes: dict[tuple[int | None, int], int] = field(default_factory=dict)

    def node(self, stack: tuple[Frame, ...]) -> int | None:
        parent = None
        for frame in stack:
            frame_id = self.frames.setdefault(frame, len(self.frames))
            parent = self.nodes.setdefault((parent, frame_id), len(self.nodes))
        return parent


def write_store(path: Path, *captures: list[Sample], **options: object) -> Path:
    """A database with the given captures. `issues` is a list of (code, count), `estimate` the metrics that are,
    `aggregation` that of all metrics, `units` the unit by metric.
    """
    path.write_bytes(_empty_store())
    with Store(path) as store:
        for number, samples in enumerate(captures):
            stamp = CaptureStamp(f"capture-{number}", f"/nowhere/{number}", f"digest-{number}", 0)
            store.add(_batches(samples, **options), stamp)  # type: ignore[arg-type]
    return path


@cache
def _empty_store() -> bytes:
    # Making the tables takes longer than all that the tests put into them.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.duckdb"
        Store(path).close()
        return path.read_bytes()


def fold_plainly(samples: list[Sample], metric: str = "cycles") -> list[str]:
    """What FlameGraph's collapser says of the same rows, by names that need no tidying."""
    lines: Counter[str] = Counter()
    for sample in samples:
        if sample.metric == metric:
            names = [sample.comm.replace(" ", "_"), *(str(frame.function) for frame in sample.stack)]
            lines[";".join(names)] += sample.value
    return [f"{stack} {value}" for stack, value in sorted(lines.items())]


def _batches(
    samples: list[Sample],
    *,
    issues: list[tuple[str, int]] = [],  # noqa: B006
    estimate: tuple[str, ...] = (),
    aggregation: str = "sum",
    units: dict[str, str] = {},  # noqa: B006
) -> list[Batch]:
    tree = _Tree()
    stacks = [tree.node(sample.stack) for sample in samples]
    metrics = list(dict.fromkeys(sample.metric for sample in samples))
    utids = {tid: utid for utid, tid in enumerate(dict.fromkeys(sample.tid for sample in samples))}
    times = [sample.ts for sample in samples if sample.ts is not None]
    result = [
        batch("capture", name=[""], tool=["test"], format=["test"], start_ts=[min(times, default=None)]),
        batch(
            "metric",
            metric_id=list(range(len(metrics))),
            name=metrics,
            unit=[units.get(name, "event") for name in metrics],
            aggregation=[aggregation] * len(metrics),
            is_estimate=[name in estimate for name in metrics],
        ),
        *_threads(samples),
        *_stacks(tree),
        batch(
            "sample",
            ts=[sample.ts for sample in samples],
            utid=[utids[sample.tid] for sample in samples],
            cpu=[sample.cpu for sample in samples],
            stack_id=stacks,
            metric_id=[metrics.index(sample.metric) for sample in samples],
            value=[sample.value for sample in samples],
        ),
    ]
    if issues:
        codes, counts = zip(*issues, strict=True)
        result.append(batch("import_issue", code=codes, severity=["warning"] * len(codes), count=counts))
    return result


def _threads(samples: list[Sample]) -> list[Batch]:
    tids = list(dict.fromkeys(sample.tid for sample in samples))
    pids = list(dict.fromkeys(sample.pid for sample in samples))
    pid_of = {sample.tid: sample.pid for sample in samples}
    last_comm = {sample.tid: sample.comm for sample in samples}
    names: list[tuple[int, int | None, str]] = []
    current: dict[int, str] = {}
    for sample in samples:
        known = current.get(sample.tid)
        if known != sample.comm:
            names.append((tids.index(sample.tid), sample.ts if known else None, sample.comm))
            current[sample.tid] = sample.comm
    return [
        batch(
            "process",
            upid=list(range(len(pids))),
            pid=pids,
            name=[next((last_comm[t] for t in tids if t == pid), "parent") for pid in pids],
        ),
        batch(
            "thread",
            utid=list(range(len(tids))),
            upid=[pids.index(pid_of[tid]) for tid in tids],
            tid=tids,
            name=[last_comm[tid] for tid in tids],
        ),
        batch("thread_name", utid=[n[0] for n in names], ts=[n[1] for n in names], name=[n[2] for n in names]),
    ]


def _stacks(tree: _Tree) -> list[Batch]:
    if not tree.nodes:
        return []
    depths: list[int] = []
    for parent, _ in tree.nodes:
        depths.append(0 if parent is None else depths[parent] + 1)
    frames = list(tree.frames)
    enter, leave = _walk([parent for parent, _ in tree.nodes])
    return [
        batch(
            "frame",
            frame_id=list(range(len(frames))),
            function=[frame.function for frame in frames],
            module=[frame.module for frame in frames],
            address=[frame.address for frame in frames],
            kind=[frame.kind for frame in frames],
            inlined=[frame.inlined for frame in frames],
        ),
        batch(
            "stack",
            stack_id=list(range(len(tree.nodes))),
            parent_id=[parent for parent, _ in tree.nodes],
            depth=depths,
            frame_id=[frame_id for _, frame_id in tree.nodes],
            tree_enter=enter,
            tree_leave=leave,
            is_recursive=[False] * len(tree.nodes),
        ),
    ]


def _walk(parents: list[int | None]) -> tuple[list[int], list[int]]:
    """Rank of each node in a depth-first walk, and the largest rank below it."""
    children: dict[int | None, list[int]] = {}
    for node, parent in enumerate(parents):
        children.setdefault(parent, []).append(node)
    order: list[int] = []
    waiting = children.get(None, [])[::-1]
    while waiting:
        order.append(waiting.pop())
        waiting += children.get(order[-1], [])[::-1]
    enter = [0] * len(parents)
    for rank, node in enumerate(order):
        enter[node] = rank
    leave = enter.copy()
    for node in reversed(order):
        parent = parents[node]
        if parent is not None:
            leave[parent] = max(leave[parent], leave[node])
    return enter, leave
