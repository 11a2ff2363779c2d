"""What is known while a `perf script` text is read: blocks go in, batches come out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.perf_script import sideband
from perfkit.adapters.perf_script.events import EventTable, Rest, parse_rest
from perfkit.adapters.perf_script.frames import FrameTable
from perfkit.adapters.perf_script.header import Header
from perfkit.adapters.perf_script.layout import Layout
from perfkit.adapters.perf_script.samples import Records, Samples, nullable
from perfkit.adapters.perf_script.stacks import Stacks
from perfkit.adapters.perf_script.threads import Threads
from perfkit.adapters.stack_tree import StackTree
from perfkit.adapters.text import Block, Interner, integers, nanoseconds, to_text

_GROUPS = 7
_ANY_EVENT = b""  # the text names no events


class Reading:
    """Takes blocks in, and keeps what later ones need."""

    def __init__(self, layout: Layout, issues: IssueLog) -> None:
        self._layout = layout
        self._issues = issues
        self._header = Header()
        self._threads = Threads(has_ids=layout.has_ids)
        self._sideband = sideband.Sideband(self._threads, issues)
        self._frames = FrameTable()
        self._tree = StackTree()
        self._stacks = Stacks(self._frames, self._tree, issues)
        self._events = Interner()
        self._tables: dict[int, EventTable] = {}
        self._samples = Samples()

    @property
    def is_empty(self) -> bool:
        """Whether no record was found."""
        return self._samples.is_empty

    def take(self, block: Block) -> Iterator[Batch]:
        """Read a block; yields the rows of event tables and of `branch` in it."""
        parts = self._layout.pattern.split(b"\n" + block.data)
        self._take_lead(parts[0], block)
        if len(parts) == 1:
            return
        whos, cpus, seconds, fractions, periods, events, lines, chains = (
            parts[1 + group :: _GROUPS + 1] for group in range(_GROUPS + 1)
        )
        rests = self._parse_rests(lines)
        times = nanoseconds(seconds, fractions)
        event = np.array([self._events[name or _ANY_EVENT] for name in events], np.int32)
        records = Records(
            ts=times.fill_null(0).to_numpy(),
            has_ts=times.is_valid().to_numpy(zero_copy_only=False),
            label=self._label(whos, event, lines, times, block),
            cpu=integers(cpus).fill_null(-1).to_numpy().astype(np.int32),
            leaf=self._find_leaves(event, rests, chains, block),
            event=event,
            value=integers(periods).fill_null(-1).to_numpy(),
        )
        self._samples.add(records)
        if any(rest.detail for rest in rests):
            yield from self._event_batches(records, rests)
            yield from self._branch_batches(records, rests)

    def _take_lead(self, lead: bytes, block: Block) -> None:
        """Text before the first record: comments, or lines of no use."""
        odd = self._header.read(lead)
        if odd:
            self._issues.add(
                "unparsed_line",
                "warning",
                f"a line that is neither header nor frame was skipped; the first is {to_text(odd[0].strip()[:120])!r}",
                offset=block.offset_of(max(0, block.data.find(odd[0]))),
                count=len(odd),
            )

    def _parse_rests(self, texts: list[bytes]) -> list[Rest]:
        known: dict[bytes, Rest] = {text: parse_rest(text) for text in set(texts)}
        return [known[text] for text in texts]

    def _find_leaves(
        self, events: NDArray[np.int32], rests: list[Rest], chains: list[bytes], block: Block
    ) -> NDArray[np.int32]:
        """The stack of each record: the callchain below it, or the frame beside it."""
        texts = [rest.frame + chain if rest.frame else chain for rest, chain in zip(rests, chains, strict=True)]
        for index in self._find_sideband(events):
            texts[index] = b""  # what stands below it is more of the record (NAMESPACES takes three lines)
        return np.array(self._stacks.leaves(texts, block), np.int32)

    def _find_sideband(self, events: NDArray[np.int32]) -> list[int]:
        """Positions of side-band records."""
        special = [n for n, name in enumerate(self._events.texts) if name.startswith(sideband.PREFIX)]
        return np.flatnonzero(np.isin(events, special)).tolist() if special else []

    def _label(
        self, whos: list[bytes], events: NDArray[np.int32], lines: list[bytes], times: pa.Array, block: Block
    ) -> NDArray[np.int32]:
        """Labels of the records. Those of the side-band are applied in their turn, as they change who a tid is; they
        have the label -1, but for the name that a COMM gives.
        """
        labels: list[int] = []
        for index in self._find_sideband(events):
            labels += self._threads.labels(whos[len(labels) : index])
            record = self._events.texts[events[index]]
            labels.append(self._sideband.apply(record, lines[index], times[index].as_py(), block))
        labels += self._threads.labels(whos[len(labels) :])
        return np.array(labels, np.int32)

    def _event_batches(self, records: Records, rests: list[Rest]) -> Iterator[Batch]:
        """Rows of `event.<name>`, an event at a time."""
        with_detail = np.fromiter((rest.detail is not None for rest in rests), bool, len(rests))
        utids = np.array(self._threads.label_utid, np.int32)
        for event in np.unique(records.event[with_detail]).tolist():
            name = self._events.texts[event]
            if name.startswith(sideband.PREFIX):
                continue
            at = np.flatnonzero(with_detail & (records.event == event))
            table = self._tables.setdefault(event, EventTable(to_text(name)))
            yield table.to_batch(
                ts=records.ts_column(at),
                cpu=nullable(records.cpu[at]),
                utid=pa.array(utids[records.label[at]]),
                stack_id=nullable(records.leaf[at]),
                details=[rests[index].detail or b"" for index in at.tolist()],
            )

    def _branch_batches(self, records: Records, rests: list[Rest]) -> Iterator[Batch]:
        found = [(index, rest.branch) for index, rest in enumerate(rests) if rest.branch is not None]
        if not found:
            return
        at = np.array([index for index, _ in found])
        sources, targets, kinds = zip(*(branch for _, branch in found), strict=True)
        metrics = np.array([self._metric_ids()[event] for event in records.event[at].tolist()], np.int32)
        yield batch(
            "branch",
            ts=records.ts_column(at),
            utid=np.array(self._threads.label_utid, np.int32)[records.label[at]],
            cpu=nullable(records.cpu[at]),
            metric_id=metrics,
            position=np.zeros(len(at), np.int32),
            from_address=pa.array(sources, pa.uint64()),
            to_address=pa.array(targets, pa.uint64()),
            branch_type=pa.array(kinds, pa.int32()),
        )

    def _metric_ids(self) -> list[int]:
        """For each event its metric; -1 for side-band records."""
        is_sideband = [name.startswith(sideband.PREFIX) for name in self._events.texts]
        ids = np.cumsum([not flag for flag in is_sideband]) - 1
        return [-1 if flag else int(number) for flag, number in zip(is_sideband, ids, strict=True)]

    def finish(self) -> Iterator[Batch]:
        """Everything that is known only at the end."""
        metric_of_event = np.array(self._metric_ids() or [-1], np.int32)
        self._samples.sort(metric_of_event)
        names = [to_text(name) for name in self._events.texts if not name.startswith(sideband.PREFIX)]
        yield self._header.to_batch(self._samples.span(), self._issues)
        yield self._samples.metrics(names, self._header.rates, self._issues)
        yield self._samples.record_counts(len(names), self._sideband.counts)
        last_names, name_batch = self._samples.thread_names(self._threads, self._sideband.exec_labels)
        yield name_batch
        yield from self._threads.to_batches(last_names)
        yield self._sideband.to_batch()
        yield self._frames.to_batch()
        yield self._tree.to_batch(self._frames.functions())
        yield from self._samples.to_batches(self._threads)
        if self._threads.threads_without_pid:
            self._issues.add(
                "pid_unknown",
                "info",
                "the text prints thread ids without process ids (choose `-F +pid`); each thread stands as a process",
                count=self._threads.threads_without_pid,
            )
