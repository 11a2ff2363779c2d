"""Reads callgrind and cachegrind text block by block.

    block ──split_lines──▶ lines of kinds ──▶ names in effect at each cost line (what was said last)
                                         ──▶ positions and costs (numbers.py)
    cost line ──▶ place ──▶ frame, stack, cost added to it        the line after `calls=` ──▶ call_edge

Costs are added up by place over a part of the file (one thread, one dump) and become samples at its end.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.callgrind.context import Context, State
from perfkit.adapters.callgrind.graph import CallGraph, Calls, SelfCost
from perfkit.adapters.callgrind.header import Header
from perfkit.adapters.callgrind.instructions import Instructions
from perfkit.adapters.callgrind.lines import COST, JUMP, OTHER, Lines, split_lines
from perfkit.adapters.callgrind.numbers import parse_cost_lines, resolve
from perfkit.adapters.callgrind.places import Grown, Places
from perfkit.adapters.callgrind.threads import Threads
from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.text import Block, to_text

type_int32 = NDArray[np.int32]
type_int64 = NDArray[np.int64]
type_uint64 = NDArray[np.uint64]

_ROUNDING = 2
"""Events by which a part's total may differ from the sum of its lines: callgrind itself is that much off."""


class Reading:
    """Takes blocks; what is gathered for the end is in `graph`, `header`, `places` and `threads`."""

    def __init__(self, issues: IssueLog, *, file_ends_function: bool = False) -> None:
        self.header = Header(issues)
        self.places = Places(issues)
        self.threads = Threads()
        self.graph = CallGraph()
        self._issues = issues
        self._state = State(file_ends_function=file_ends_function)
        self._positions: dict[str, int] = {}
        self._instructions = Instructions()
        self._by_place: list[Grown] = []
        self._by_function: list[Grown] = []
        self._part_has_costs = False

    def take(self, block: Block) -> Iterator[Batch]:
        """Rows of the lines of a block, as far as they can be said already."""
        lines = split_lines(block)
        begin = 0
        for index in np.flatnonzero(lines.kinds == OTHER).tolist():
            text = lines.text(index)
            if self.header.is_boundary(text):
                yield from self._take_run(lines.between(begin, index))
                yield from self.end_part()
                begin = index
            if not self.header.add(text):
                detail = f"a line that is none of the format's was skipped; the first is {to_text(text[:120])!r}"
                self._issues.add("unparsed_line", "warning", detail, offset=lines.offset(index))
        yield from self._take_run(lines.between(begin, len(lines)))

    def end_part(self) -> Iterator[Batch]:
        """Samples of the part that ends here."""
        if not self._part_has_costs:
            return
        self._part_has_costs = False
        utid = self.threads.find(self.header.pid, self.header.thread)
        totals = []
        for metric_id, costs in enumerate(self._by_place):
            places = np.flatnonzero(costs.values)
            values = costs.values[places]
            totals.append(int(values.sum()))
            if len(places):
                yield batch(
                    "sample",
                    utid=np.full(len(places), utid, np.int32),
                    stack_id=places.astype(np.int32),
                    metric_id=np.full(len(places), metric_id, np.int32),
                    value=values,
                )
            costs.values[:] = 0
        self._check_totals(totals)
        functions = np.flatnonzero(np.any([costs.values for costs in self._by_function], axis=0))
        values = np.array([costs.values[functions] for costs in self._by_function], np.int64)
        self.graph.self_costs.append(SelfCost(utid, functions.astype(np.int32), values))
        for costs in self._by_function:
            costs.values[:] = 0

    def finish(self) -> Iterator[Batch]:
        """The last part's samples, and what is still open."""
        yield from self.end_part()
        yield from self._instructions.take_batches(least=1)
        if self._state.call_count is not None:
            detail = "the input ends before the cost of a call; the call is not counted"
            self._issues.add("truncated", "warning", detail)

    def _check_totals(self, totals: list[int]) -> None:
        for key, said in self.header.said.items():
            for metric_id, value in said.items():
                if value and abs(totals[metric_id] - value) > _ROUNDING:
                    name = self.header.metrics[metric_id].name
                    detail = (
                        f"the file's `{key}:` gives {value} of {name}, but its lines add up to {totals[metric_id]}; "
                        "the lines are kept"
                    )
                    self._issues.add("totals_differ", "warning", detail, subject=name)
        self.header.said = {}

    def _take_run(self, lines: Lines) -> Iterator[Batch]:
        """Lines between which nothing changes how they are read."""
        if not np.any(lines.kinds):
            return
        context = Context(lines, self.places, self._state)
        rows = np.flatnonzero(lines.kinds == COST)
        if len(rows) and not self.header.columns:
            detail = "costs stand before any `events:` line and are not counted"
            offset = lines.offset(int(rows[0]))
            self._issues.add("costs_without_events", "error", detail, offset=offset, count=len(rows))
        else:
            self._add_costs(lines, rows, context)
        context.leave()
        yield from self._instructions.take_batches()

    def _add_costs(self, lines: Lines, rows: type_int64, context: Context) -> None:
        calls, jumps = context.calls(rows), context.jumps(rows)
        jump_count = int(np.count_nonzero(lines.kinds == JUMP))
        if jump_count:
            detail = "counts of jumps (`jump=`, `jcnd=`) are not kept"
            self._issues.add("jumps_not_kept", "info", detail, count=jump_count)
        if not len(rows):
            return
        self._part_has_costs = True
        line, address, values = self._read_costs(lines)
        runs = find_runs(rows, line, np.concatenate([calls.row, jumps]))
        sums = np.add.reduceat(values, runs, axis=1)
        code, functions = context.code_at(rows[runs]), context.function.at(rows[runs])
        places = self.places.number_places(code, line[runs])
        frames: type_int32 = self.places.frame_of_place[places]
        utid = self.threads.find(self.header.pid, self.header.thread)
        is_own = np.ones(len(runs), bool)
        called = np.searchsorted(runs, calls.row)
        is_own[np.searchsorted(runs, jumps)] = is_own[called] = False
        self._add_own(places[is_own], functions[is_own], sums[:, is_own])
        if address is not None:
            lengths = np.diff(runs, append=len(rows))
            self._instructions.add(
                np.repeat(frames, lengths), address, utid, np.where(np.repeat(is_own, lengths), values, 0)
            )
        if len(called):
            self.graph.calls.append(
                Calls(
                    utid=utid,
                    caller=functions[called],
                    callee=calls.callee,
                    frame=frames[called],
                    address=None if address is None else address[calls.row],
                    count=calls.count,
                    values=sums[:, called],
                )
            )

    def _add_own(self, places: type_int32, functions: type_int32, values: type_int64) -> None:
        while len(self._by_place) < len(values):
            self._by_place.append(Grown(np.int64))
            self._by_function.append(Grown(np.int64))
        for costs in self._by_place:
            costs.resize(self.places.place_count)
        for costs in self._by_function:
            costs.resize(self.places.function_count)
        for metric_id, costs_of_metric in enumerate(values):
            np.add.at(self._by_place[metric_id].values, places, costs_of_metric)
            np.add.at(self._by_function[metric_id].values, functions, costs_of_metric)

    def _read_costs(self, lines: Lines) -> tuple[type_int64, type_uint64 | None, type_int64]:
        """Line (0 for none) and address of the cost lines, and their values, int64 [metrics, cost lines]."""
        header = self.header
        read = parse_cost_lines(lines, len(header.positions), len(header.columns))
        if len(read.bad_lines):
            first = int(read.bad_lines[0])
            detail = (
                "a cost line has other than its positions and numbers; what could be read of it is kept; the first is "
                f"{to_text(lines.text(first)[:120])!r}"
            )
            offset = lines.offset(first)
            self._issues.add("malformed_cost", "warning", detail, offset=offset, count=len(read.bad_lines))
        resolved = {}
        for name, numbers in zip(header.positions, read.positions, strict=True):
            resolved[name] = resolve(numbers, self._positions.get(name, 0))
            self._positions[name] = int(resolved[name][-1])
        count = read.costs.shape[1]
        line = resolved["line"].view(np.int64) if "line" in resolved else np.zeros(count, np.int64)
        return line, resolved.get("instr", resolved.get("addr")), _to_metrics(header.coefficients(), read.costs)


def find_runs(rows: type_int64, line: type_int64, alone: type_int64) -> type_int64:
    """Where runs of cost lines begin of which one can be said to stand for all: no other line lies between them, and
    they give the same line of source. `rows` are the cost lines, `alone` ranks of those that are runs of their own.
    """
    begins = np.ones(len(rows) + 1, bool)
    begins[1:-1] = (rows[1:] - rows[:-1] != 1) | (line[1:] != line[:-1])
    begins[alone] = begins[alone + 1] = True
    return np.flatnonzero(begins[:-1])


def _to_metrics(coefficients: type_int64, costs: type_int64) -> type_int64:
    if coefficients.shape == (len(costs), len(costs)) and np.array_equal(coefficients, np.eye(len(costs))):
        return costs
    return coefficients @ costs
