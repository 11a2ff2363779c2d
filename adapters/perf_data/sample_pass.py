"""The second pass: samples become rows of `sample`, `memory_access` and `branch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.columns import ragged_indices
from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.attributes import EventAttr
from perfkit.adapters.perf_data.capture import Capture, event_index
from perfkit.adapters.perf_data.chains import ChainTable
from perfkit.adapters.perf_data.ordering import Columns, TimeOrder
from perfkit.adapters.perf_data.samples import BRANCH_WORDS, Samples, decode_samples
from perfkit.adapters.perf_data.stream import Records
from perfkit.adapters.perf_data.walk import Block

type_int64 = NDArray[np.int64]
type_int32 = NDArray[np.int32]

_DEFAULT_MAX_STACK = 127  # PERF_MAX_STACK_DEPTH, the default of kernel.perf_event_max_stack
_WAITING_WORDS = 2 << 20
_DETAILS = ("addr", "phys_addr", "data_page_size", "code_page_size", "weight", "data_src", "transaction", "cgroup")
_STACK_FIELDS = abi.SAMPLE_STACK_USER | abi.SAMPLE_REGS_USER


class SamplePass:
    """Decodes all samples of a capture; afterwards it knows how many there were of each event, and when."""

    def __init__(self, capture: Capture, issues: IssueLog, report: Callable[[int], None]) -> None:
        self._report = report
        self._capture = capture
        self._issues = issues
        self._ids, self._attr_of_id = event_index(capture.attrs)
        self._layout_of_attr = _group_layouts(capture.attrs)
        self._id_word = _id_word(capture.attrs)
        max_stack = max((attr.sample_max_stack for attr in capture.attrs), default=0) or _DEFAULT_MAX_STACK
        self.chains = ChainTable(capture.timeline.spaces, issues, max_stack)
        self._order = TimeOrder()
        self._last_value: dict[int, int] = {}
        self._details = self._wanted_details()
        self.counts: Counter[int] = Counter()
        """SAMPLE records by attribute index"""
        self.cgroups: dict[int, int] = {}
        """last control group id seen, by upid"""
        self.first_ts: int | None = None
        self.last_ts: int | None = None

    def run(self) -> Iterator[Batch]:
        """All rows that samples yield, then `frame` and `stack`."""
        for records in self._capture.records(self._issues):
            for run, ends_round in _split_rounds(records):
                yield from self._read_samples(records, run)
                if ends_round:
                    self._end_round(records)
            if self.chains.waiting_words > _WAITING_WORDS:
                self.chains.leaves(np.empty(0, np.int32))
            for columns in self._order.take():
                yield from self._emit(columns)
            self._report(records.offset)
        for columns in self._order.take(everything=True):
            yield from self._emit(columns)
        self._issues.add("out_of_order_samples", "info", "samples that came later than perf's rounds promise; they "
                         "stand behind newer ones", count=self._order.late)  # fmt: skip
        yield from self.chains.to_batches()

    def _end_round(self, records: Records) -> None:
        if len(self._capture.segments) > 1:
            return  # the rounds of one file say nothing of the samples in another: all wait to the end
        if records.is_aside:
            self._order.end_round_somewhere()
        else:
            self._order.end_round()

    def _read_samples(self, records: Records, starts: type_int64) -> Iterator[Batch]:
        block = records.block
        attrs = self._identify(block, starts, records.offset)
        layouts = self._layout_of_attr[attrs]  # -1 finds the last entry: samples of no known event
        for layout in np.flatnonzero(np.bincount(layouts + 1)[1:]).tolist():
            rows = layouts == layout
            of_layout, attr_index = (starts, attrs) if rows.all() else (starts[rows], attrs[rows])
            samples = decode_samples(block, of_layout, self._capture.attrs[layout], attr_index)
            if samples.damaged.any():
                bad = samples.damaged
                self._issues.add("damaged_sample", "error", "samples whose fields reach past their record's end",
                                 offset=records.offset + int(of_layout[bad][0]) * 8, count=int(bad.sum()))  # fmt: skip
                samples = decode_samples(block, of_layout[~bad], self._capture.attrs[layout], attr_index[~bad])
            yield from self._add(samples)

    def _add(self, samples: Samples) -> Iterator[Batch]:
        count = len(samples)
        if not count:
            return
        for index, number in zip(*np.unique(samples.attr_index, return_counts=True), strict=True):
            self.counts[int(index)] += int(number)
        times = samples.time if samples.time is not None else np.zeros(count, np.int64)
        unknown = np.full(count, -1, np.int32)
        timeline = self._capture.timeline
        if samples.tid is None or samples.pid is None:
            utids, spaces = unknown, unknown
        else:
            utids = timeline.utids(samples.pid, samples.tid, times)
            spaces = timeline.spaces_of(utids, times)
        columns: Columns = {
            "time": times,
            "utid": utids,
            "cpu": samples.cpu if samples.cpu is not None else unknown,
            "chain": self.chains.intern(samples, spaces),
            "metric": samples.attr_index,
            "value": self._values(samples),
        }
        for name in self._details:
            values = getattr(samples, name)
            columns[name] = values if values is not None else np.zeros(count, np.uint64)
        self._note_stacks(samples)
        if samples.branch_start is not None:
            yield self._branches(samples, columns)
        if samples.read is not None:
            columns = self._expand_group(samples, columns)
        self._order.add(columns)

    def _values(self, samples: Samples) -> type_int64:
        """A sample's weight: its recorded period, else the event's fixed one, else 1."""
        if samples.period is not None:
            return samples.period
        fixed = [1 if a.by_frequency else min(a.period_or_frequency, 2**63 - 1) or 1 for a in self._capture.attrs]
        return np.array(fixed, np.int64)[samples.attr_index]

    def _expand_group(self, samples: Samples, columns: Columns) -> Columns:
        """With PERF_SAMPLE_READ a sample carries counter values; each counter that moved since its last reading gets
        a row of its own, with the difference as its weight (perf: deliver_sample_value).
        """
        read = samples.read
        assert read is not None
        at = np.searchsorted(self._ids, read.id)
        known = (
            (at < len(self._ids)) & (self._ids[np.minimum(at, len(self._ids) - 1)] == read.id)
            if len(self._ids)
            else np.zeros(len(read.id), bool)
        )
        if not known.any():
            return columns
        order = np.argsort(read.id, kind="stable")
        order = order[known[order]]
        ids, values = read.id[order], read.value[order].view(np.int64)
        first = np.ones(len(ids), bool)
        first[1:] = ids[1:] != ids[:-1]
        before = np.empty_like(values)
        before[1:] = values[:-1]
        before[first] = [self._last_value.get(i, 0) for i in ids[first].tolist()]
        last = np.append(np.flatnonzero(first)[1:] - 1, len(ids) - 1)
        self._last_value.update(zip(ids[last].tolist(), values[last].tolist(), strict=True))
        moved = values != before
        rows = np.sort(order[moved])
        delta = np.zeros(len(read.id), np.int64)
        delta[order] = values - before
        out = {name: column[read.sample[rows]] for name, column in columns.items()}
        out["value"] = delta[rows]
        out["metric"] = self._attr_of_id[at[rows]]
        return out

    def _branches(self, samples: Samples, columns: Columns) -> Batch:
        # struct perf_branch_entry { u64 from, to; mispred:1 predicted:1 in_tx:1 abort:1 cycles:16 type:4 … }
        assert samples.branch_start is not None and samples.branch_count is not None  # noqa: PT018
        counts = samples.branch_count
        sample = np.repeat(np.arange(len(samples)), counts)
        at = ragged_indices(samples.branch_start, counts * BRANCH_WORDS)[::BRANCH_WORDS]
        flags = samples.block.take(at + 2)
        if self._capture.order == ">":
            flags = _reverse_bits(flags)
        metric = columns["metric"][sample]
        return batch(
            "branch",
            ts=_or_null(columns["time"][sample], self._has_time),
            utid=_nullable(columns["utid"][sample]),
            cpu=_nullable(columns["cpu"][sample]),
            metric_id=metric,
            position=(np.arange(len(sample)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.int32),
            from_address=samples.block.take(at),
            to_address=samples.block.take(at + 1),
            mispredicted=(flags & np.uint64(1)) != 0,
            predicted=(flags >> np.uint64(1) & np.uint64(1)) != 0,
            in_transaction=(flags >> np.uint64(2) & np.uint64(1)) != 0,
            aborted=(flags >> np.uint64(3) & np.uint64(1)) != 0,
            cycles=(flags >> np.uint64(4) & np.uint64(0xFFFF)).astype(np.int32),
            branch_type=(flags >> np.uint64(20) & np.uint64(0xF)).astype(np.int32),
        )

    def _emit(self, columns: Columns) -> Iterator[Batch]:
        leaves, named = self.chains.leaves(columns["chain"])
        times = columns["time"]
        if self._has_time:
            self.first_ts = int(times[0]) if self.first_ts is None else min(self.first_ts, int(times[0]))
            self.last_ts = int(times[-1]) if self.last_ts is None else max(self.last_ts, int(times[-1]))
        common = {
            "ts": _or_null(times, self._has_time),
            "utid": _nullable(columns["utid"]),
            "cpu": _nullable(columns["cpu"]),
            "stack_id": pa.array(leaves, pa.int32(), mask=~named),
            "metric_id": columns["metric"],
        }
        yield batch("sample", **common, value=columns["value"])
        if self._details:
            yield self._emit_details(columns, common)

    def _emit_details(self, columns: Columns, common: dict[str, object]) -> Batch:
        present = {name: columns[name] for name in self._details}
        if "cgroup" in present:
            owners = self._capture.timeline.threads.owner
            pairs = np.unique(np.stack([columns["utid"].astype(np.uint64), present["cgroup"]]), axis=1)
            self.cgroups.update({owners[int(u)]: int(g) for u, g in pairs.T.tolist() if u < len(owners)})
        weight = present.pop("weight", None)
        names = {"addr": "address", "phys_addr": "physical_address", "data_src": "data_source", "cgroup": "cgroup_id"}
        out: dict[str, object] = {names.get(name, name): values for name, values in present.items()}
        if weight is not None:
            structured = any(attr.sample_type & abi.SAMPLE_WEIGHT_STRUCT for attr in self._capture.attrs)
            # union perf_sample_weight { u64 full; { u32 var1; u16 var2; u16 var3; } }
            if structured:
                out["weight"] = weight & np.uint64(0xFFFFFFFF)
                out["instruction_latency"] = (weight >> np.uint64(32) & np.uint64(0xFFFF)).astype(np.int32)
                out["retire_latency"] = (weight >> np.uint64(48)).astype(np.int32)
            else:
                out["weight"] = weight
        return batch("memory_access", **common, **out)

    def _identify(self, block: Block, starts: type_int64, offset: int) -> type_int32:
        """The attribute of each sample, by the id it carries; -1 where no attribute has it."""
        if len(self._capture.attrs) == 1 or self._id_word is None or not len(self._ids):
            return np.zeros(len(starts), np.int32)
        inside = block.sizes(starts) > self._id_word
        ids = block.take(np.where(inside, starts + self._id_word, starts))
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        found = np.where(self._ids[at] == ids, self._attr_of_id[at], np.where(ids == 0, 0, -1)).astype(np.int32)
        unknown = np.flatnonzero((found < 0) | ~inside)
        if len(unknown):
            found[unknown] = -1
            self._issues.add("unknown_event_id", "warning", "samples of an event that no attribute describes",
                             offset=offset + int(starts[unknown[0]]) * 8, count=len(unknown))  # fmt: skip
        return found

    def _note_stacks(self, samples: Samples) -> None:
        if samples.stack_user_size is not None:
            self._issues.add("user_stack_not_unwound", "warning", "samples that carry a copy of the user stack "
                             "(--call-graph dwarf), of which only the innermost user frame is shown",
                             count=int((samples.stack_user_size > 0).sum()))  # fmt: skip

    @property
    def _has_time(self) -> bool:
        return any(attr.sample_type & abi.SAMPLE_TIME for attr in self._capture.attrs)

    def _wanted_details(self) -> tuple[str, ...]:
        bits = {
            "addr": abi.SAMPLE_ADDR, "phys_addr": abi.SAMPLE_PHYS_ADDR, "data_page_size": abi.SAMPLE_DATA_PAGE_SIZE,
            "code_page_size": abi.SAMPLE_CODE_PAGE_SIZE, "data_src": abi.SAMPLE_DATA_SRC,
            "weight": abi.SAMPLE_WEIGHT | abi.SAMPLE_WEIGHT_STRUCT, "transaction": abi.SAMPLE_TRANSACTION,
            "cgroup": abi.SAMPLE_CGROUP,
        }  # fmt: skip
        recorded = 0
        for attr in self._capture.attrs:
            recorded |= attr.sample_type
        return tuple(name for name in _DETAILS if recorded & bits[name])


def _split_rounds(records: Records) -> Iterator[tuple[type_int64, bool]]:
    """The samples of a block, cut where FINISHED_ROUND records stand. Only the last two cuts of a block matter: what
    is complete is handed on block by block.
    """
    kinds = records.block.types(records.starts)
    is_sample = kinds == abi.RECORD["SAMPLE"]
    rounds = np.flatnonzero(kinds == abi.RECORD["FINISHED_ROUND"])[-2:]
    begin = 0
    for end in rounds.tolist():
        yield records.starts[begin:end][is_sample[begin:end]], True
        begin = end
    yield records.starts[begin:][is_sample[begin:]], False


def _group_layouts(attrs: list[EventAttr]) -> type_int32:
    """By attribute, the first attribute whose samples have the same fields; at the end -1."""
    firsts: dict[tuple[int, ...], int] = {}
    found = [
        firsts.setdefault(
            (a.sample_type, a.read_format, a.branch_sample_type, a.sample_regs_user, a.sample_regs_intr), index
        )
        for index, a in enumerate(attrs)
    ]
    return np.array([*found, -1], np.int32)


def _id_word(attrs: list[EventAttr]) -> int | None:
    """Word of a sample record that holds the event's id; None where samples carry none."""
    kinds = [attr.sample_type for attr in attrs]
    if all(kind & abi.SAMPLE_IDENTIFIER for kind in kinds):
        return 1
    kind = kinds[0]
    if not kind & abi.SAMPLE_ID:
        return None
    before = (abi.SAMPLE_IDENTIFIER, abi.SAMPLE_IP, abi.SAMPLE_TID, abi.SAMPLE_TIME, abi.SAMPLE_ADDR)
    return 1 + sum(bool(kind & bit) for bit in before)


def _nullable(values: NDArray[Any]) -> pa.Array:
    return pa.array(values, pa.int32(), mask=values < 0)


def _or_null(times: NDArray[Any], has_time: bool) -> pa.Array:
    return pa.array(times, pa.int64()) if has_time else pa.nulls(len(times), pa.int64())


def _reverse_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = np.unpackbits(values.astype(">u8").view(np.uint8)).reshape(-1, 64)
    return np.packbits(bits[:, ::-1], axis=1).view(">u8").ravel().astype(np.uint64)
