"""The samples as columns, and what is derived from all of them: order, metrics, names that threads took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.perf_script.header import Rate
from perfkit.adapters.perf_script.threads import Threads, name_changes

_BATCH_ROWS = 1 << 20
_CLOCKS = ("cpu-clock", "task-clock")  # their periods are nanoseconds (kernel/events/core.c, perf_swevent_hrtimer)


@dataclass(slots=True)
class Records:
    """Records as columns of one length, those of the side-band too."""

    ts: NDArray[np.int64]
    has_ts: NDArray[np.bool_]
    label: NDArray[np.int32]
    """See `Threads`; -1 for side-band records that name nobody."""
    cpu: NDArray[np.int32]
    """-1 where not printed."""
    leaf: NDArray[np.int32]
    """Node of the call tree; -1 for none."""
    event: NDArray[np.int32]
    value: NDArray[np.int64]
    """Period; -1 where not printed."""

    def take(self, order: NDArray[np.int64]) -> Records:
        """The records at these positions."""
        return Records(**{item.name: getattr(self, item.name)[order] for item in fields(self)})

    def ts_column(self, at: NDArray[np.int64]) -> pa.Array:
        """Times of the records at these positions, null where not printed."""
        return pa.array(self.ts[at], mask=~self.has_ts[at])


def concatenate(parts: list[Records]) -> Records:
    """All records in one; at least one part is needed."""
    return Records(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Records)})


def nullable(column: NDArray[np.int32]) -> pa.Array:
    """A column in which -1 stands for null."""
    return pa.array(column, mask=column < 0)


class Samples:
    """Takes in records, those of the side-band too; `sort` closes it, and the rest is asked after that."""

    def __init__(self) -> None:
        self._parts: list[Records] = []
        self._all: Records
        self._is_sample: NDArray[np.bool_]
        self._metric: NDArray[np.int32]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._parts

    def add(self, records: Records) -> None:
        """Add the records of a block."""
        self._parts.append(records)

    def sort(self, metric_of_event: NDArray[np.int32]) -> None:
        """Put all records in time order; those of one instant stay as they came. Text without times keeps its order."""
        self._all = concatenate(self._parts)
        self._parts.clear()
        if self._all.has_ts.all() and (np.diff(self._all.ts) < 0).any():
            self._all = self._all.take(np.argsort(self._all.ts, kind="stable"))
        self._metric = metric_of_event[self._all.event]
        self._is_sample = self._metric >= 0

    def span(self) -> tuple[int, int] | None:
        """First and last time of a sample."""
        ts = self._all.ts[self._is_sample & self._all.has_ts]
        return (int(ts.min()), int(ts.max())) if len(ts) else None

    def metrics(self, names: list[str], rates: dict[str, Rate], issues: IssueLog) -> Batch:
        """Rows of `metric`. Samples that print no period count 1 each; their metric's unit is `sample` then."""
        samples = self._all.value[self._is_sample]
        metric = self._metric[self._is_sample]
        counts = np.bincount(metric, minlength=len(names))
        printed = np.bincount(metric[samples >= 0], minlength=len(names))
        for name, count, known in zip(names, counts.tolist(), printed.tolist(), strict=True):
            if 0 < known < count:
                detail = f"{count - known} of {count} samples of {name} print no period and count 1 each"
                issues.add("period_missing", "warning", detail, count=count - known, subject=name)
        rate = [rates.get(name, Rate()) for name in names]
        return batch(
            "metric",
            metric_id=np.arange(len(names), dtype=np.int32),
            name=[name or "samples" for name in names],
            unit=[_unit(name) if known else "sample" for name, known in zip(names, printed.tolist(), strict=True)],
            period=pa.array([r.period for r in rate], pa.int64()),
            frequency=pa.array([r.frequency for r in rate], pa.int64()),
            aggregation=["sum"] * len(names),
            is_estimate=[False] * len(names),
        )

    def record_counts(self, metric_count: int, others: dict[str, int]) -> Batch:
        """Rows of `record_count`: samples by event, side-band records by type."""
        counts = np.bincount(self._metric[self._is_sample], minlength=metric_count).tolist()
        return batch(
            "record_count",
            record=["SAMPLE"] * metric_count + list(others),
            metric_id=pa.array([*range(metric_count), *[None] * len(others)], pa.int32()),
            count=[*counts, *others.values()],
        )

    def thread_names(self, threads: Threads, exec_labels: set[tuple[int, int]]) -> tuple[list[str | None], Batch]:
        """The last name of each thread, and the rows of `thread_name`."""
        named = self._all.label >= 0
        labels, ts, has_ts = self._all.label[named], self._all.ts[named], self._all.has_ts[named]
        utids = np.array(threads.label_utid, np.int32)[labels]
        last: list[str | None] = [None] * threads.count
        rows: list[tuple[int, int | None, str, bool | None]] = []
        for position in name_changes(utids, labels).tolist():
            utid, label = int(utids[position]), int(labels[position])
            when = int(ts[position]) if has_ts[position] else None
            is_first = last[utid] is None
            last[utid] = threads.label_name[label]
            rows.append(
                (
                    utid,
                    threads.start_of(utid) if is_first else when,
                    threads.label_name[label],
                    True if when is not None and (label, when) in exec_labels else None,
                )
            )
        utid_column, ts_column, name_column, exec_column = zip(*rows, strict=True) if rows else ((), (), (), ())
        return last, batch(
            "thread_name",
            utid=pa.array(utid_column, pa.int32()),
            ts=pa.array(ts_column, pa.int64()),
            name=pa.array(name_column, pa.string()),
            is_exec=pa.array(exec_column, pa.bool_()),
        )

    def to_batches(self, threads: Threads) -> Iterator[Batch]:
        """Rows of `sample`, in time order."""
        utids = np.array(threads.label_utid, np.int32)
        at = np.flatnonzero(self._is_sample)
        for start in range(0, len(at), _BATCH_ROWS):
            rows = at[start : start + _BATCH_ROWS]
            value = self._all.value[rows]
            yield batch(
                "sample",
                ts=self._all.ts_column(rows),
                utid=utids[self._all.label[rows]],
                cpu=nullable(self._all.cpu[rows]),
                stack_id=nullable(self._all.leaf[rows]),
                metric_id=self._metric[rows],
                value=np.where(value < 0, 1, value),
            )


def _unit(event: str) -> str:
    return "ns" if event.partition(":")[0] in _CLOCKS else "event"
