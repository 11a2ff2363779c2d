"""Small profiles as plain Python rows, their batches, and what they cost by plain Python's reckoning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perfkit.adapters.contract import Batch, batch

Function = tuple[str | None, str | None]
"""Name and module."""


@dataclass(frozen=True)
class Sample:
    """One sample; frames are `(name, module, address)`, outermost first; an empty stack is none."""

    stack: tuple[tuple[str | None, str | None, int], ...]
    value: int = 1
    metric: int = 0
    utid: int = 0
    ts: int | None = 0
    cpu: int = 0


def label(function: Function) -> str:
    name, module = function
    if name is not None:
        return name
    if module is None:
        return "[unknown]"
    return module if module.startswith("[") else f"[{module.rsplit('/', 1)[-1]}]"


def batches(samples: list[Sample], *, units: tuple[str, ...] = ("ns", "event"), threads: int = 3) -> Iterator[Batch]:
    """The rows of a capture with these samples: threads 0 and 1 belong to process 0, the others to process 1."""
    nodes: list[tuple[int | None, tuple[str | None, str | None, int]]] = []
    ids: dict[tuple[int | None, tuple[str | None, str | None, int]], int] = {}
    leaves: list[int | None] = []
    for sample in samples:
        parent: int | None = None
        for frame in sample.stack:
            key = (parent, frame)
            if key not in ids:
                ids[key] = len(nodes)
                nodes.append(key)
            parent = ids[key]
        leaves.append(parent)
    frames = list(dict.fromkeys(frame for _, frame in nodes))
    times = [sample.ts for sample in samples if sample.ts is not None]
    yield batch(
        "capture",
        name=[""],
        tool=["test"],
        format=["test"],
        start_ts=[min(times, default=None)],
        end_ts=[max(times, default=None)],
    )
    yield batch(
        "metric",
        metric_id=list(range(len(units))),
        name=[f"metric-{number}:u" for number in range(len(units))],
        unit=list(units),
        aggregation=["sum"] * len(units),
        is_estimate=[False] * len(units),
    )
    yield batch("process", upid=[0, 1], pid=[100, 200], name=["app", "other"])
    yield batch(
        "thread",
        utid=list(range(threads)),
        upid=[0 if utid < 2 else 1 for utid in range(threads)],
        tid=[100 + utid for utid in range(threads)],
        name=[f"thread-{utid}" for utid in range(threads)],
    )
    if frames:
        yield batch(
            "frame",
            frame_id=list(range(len(frames))),
            function=[name for name, _, _ in frames],
            module=[module for _, module, _ in frames],
            address=[address for _, _, address in frames],
            kind=["user"] * len(frames),
            inlined=[False] * len(frames),
        )
        yield _stack_batch(nodes, frames)
    yield batch(
        "sample",
        ts=[sample.ts for sample in samples],
        utid=[sample.utid for sample in samples],
        cpu=[sample.cpu for sample in samples],
        stack_id=leaves,
        metric_id=[sample.metric for sample in samples],
        value=[sample.value for sample in samples],
    )


def _stack_batch(
    nodes: list[tuple[int | None, tuple[str | None, str | None, int]]],
    frames: list[tuple[str | None, str | None, int]],
) -> Batch:
    children: dict[int | None, list[int]] = {}
    for number, (parent, _) in enumerate(nodes):
        children.setdefault(parent, []).append(number)
    enter, leave, depth, recursive = {}, {}, {}, {}

    def walk(node: int, level: int, above: tuple[Function, ...]) -> None:
        enter[node] = len(enter)
        depth[node] = level
        function = nodes[node][1][:2]
        recursive[node] = function in above
        for child in children.get(node, []):
            walk(child, level + 1, (*above, function))
        leave[node] = len(enter) - 1

    for root in children.get(None, []):
        walk(root, 0, ())
    order = range(len(nodes))
    return batch(
        "stack",
        stack_id=list(order),
        parent_id=[parent for parent, _ in nodes],
        depth=[depth[node] for node in order],
        frame_id=[frames.index(frame) for _, frame in nodes],
        tree_enter=[enter[node] for node in order],
        tree_leave=[leave[node] for node in order],
        is_recursive=[recursive[node] for node in order],
    )


def reckon(
    samples: list[Sample], metric: int, keys: Callable[[tuple[Function, ...]], set[tuple[object, ...]]]
) -> Counter[tuple[object, ...]]:
    """The weight of the samples of a metric by each key that their stack has, once a sample."""
    out: Counter[tuple[object, ...]] = Counter()
    for sample in samples:
        if sample.metric == metric:
            for key in keys(tuple((name, module) for name, module, _ in sample.stack)):
                out[key] += sample.value
    return out
