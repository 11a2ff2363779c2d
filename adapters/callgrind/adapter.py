"""Reads callgrind's output, and that of other programs that write its format (xdebug, gungraun, …).

    header          version: creator: pid: cmd: part: thread: positions: events: …   (header.py)
    body            names and costs                                                  (context.py, numbers.py)
    part, part, …   each with a header and a body, where dumps or threads are in one file

How it lands in the tables:

- `metric`: an event each, those derived by a formula (`event: Sum = Ir + Dr`) too.
- `frame`, `stack`, `sample`: each (function, file, object, line) with self cost is a frame, a stack of one frame, and
  a sample an event. The file is the one the code comes from (`fi=`, `fe=`), the function the one it was inlined into.
- `instruction_cost`: with --dump-instr, the same cost by instruction. Addresses are callgrind's: virtual addresses of
  the object file, not offsets in it.
- `call_edge`: from the frame of the call to the function's own frame, which has no line.
- `metric` with `(estimated stacks)` in its name: the same cost on call stacks guessed from the call graph; see
  `estimate`. Its frames are functions without lines.

Parts are added up; threads are kept apart. Function names are as callgrind writes them, with `'2` for recursion levels
and `'caller` for --separate-callers.

Lossy: jumps (--collect-jumps) are counted and not kept; so are the first line of a callee, `desc:` lines and the long
names of events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from perfkit.adapters.callgrind.estimate import build_graph, estimate_stacks
from perfkit.adapters.callgrind.header import Event
from perfkit.adapters.callgrind.reading import Reading
from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source, batch
from perfkit.adapters.stack_tree import depth_first_ranks, find_recursive
from perfkit.adapters.text import looks_like_text, plain_lines, read_blocks
from perfkit.schema.errors import FormatError
from perfkit.schema.names import ESTIMATED_STACKS

_MAGIC = b"# callgrind format"
_EVENTS = re.compile(rb"^events:[ \t]*\S", re.MULTILINE)
_BODY = re.compile(rb"^(?:fl|fn|ob|cfn|cfl|cfi|cob)=|^(?:version|creator|positions|summary|totals):", re.MULTILINE)
_BLOCK_BYTES = 1 << 20  # all that is computed of a block stays in the cache


class Callgrind:
    """`callgrind.out` files."""

    info = AdapterInfo(
        name="callgrind.out",
        tool="callgrind",
        formats=(
            "callgrind.out of any options: --dump-instr, --separate-threads, --combine-dumps, --compress-…=no …",
            "the same format by xdebug, gungraun and others",
        ),
        yields=("capture", "process", "thread", "frame", "stack", "metric", "sample", "call_edge", "instruction_cost"),
        clock="none",
        specification="https://valgrind.org/docs/manual/cl-format.html",
    )

    def sniff(self, source: Source) -> bool:
        """Whether the text says so in its first line, or has an `events:` line and others of the format."""
        if source.is_dir or not looks_like_text(source.head):
            return False
        head = plain_lines(source.head)
        return head.startswith(_MAGIC) or bool(_EVENTS.search(head) and _BODY.search(head))

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows.

        Raises:
            FormatError: no line says which events the costs are of.
        """
        yield from read_costs(source, issues, self.info.name)


def read_costs(source: Source, issues: IssueLog, format_name: str, tool: str | None = None) -> Iterator[Batch]:
    """Rows of a file of callgrind's or cachegrind's format; `tool` where the file itself cannot say.

    Raises:
        FormatError: no line says which events the costs are of.
    """
    reading = Reading(issues, file_ends_function=tool == "cachegrind")
    with source.open() as stream:
        for block in read_blocks(stream, lambda _data, end: end, size=_BLOCK_BYTES):
            yield from reading.take(block)
            source.report(block.offset + len(block.data))
    yield from reading.finish()
    header = reading.header
    if not header.metrics:
        raise FormatError(source.path, None, "a line `events: …`", "none")
    yield from _metrics(header.metrics, 0, "", is_estimate=False)
    if reading.graph.calls:
        yield from _call_graph(reading)
    else:
        yield from reading.places.take_batches()
    yield from reading.threads.batches(header.command)
    program, version = header.tool
    yield batch(
        "capture",
        name=[""],
        tool=[tool or program],
        tool_version=[version],
        format=[format_name],
        command=[header.command],
    )


def _metrics(events: list[Event], first_id: int, suffix: str, *, is_estimate: bool) -> Iterator[Batch]:
    yield batch(
        "metric",
        metric_id=list(range(first_id, first_id + len(events))),
        name=[event.name + suffix for event in events],
        unit=[event.unit for event in events],
        aggregation=["sum"] * len(events),
        is_estimate=[is_estimate] * len(events),
    )


def _call_graph(reading: Reading) -> Iterator[Batch]:
    """Edges, and stacks estimated from them."""
    metrics, places = reading.header.metrics, reading.places
    frames = places.add_function_frames()
    yield from places.take_batches()
    cycles = reading.graph.cycles(len(frames))
    yield from reading.graph.edge_batches(len(metrics), frames, cycles)
    nodes, weights = estimate_stacks(build_graph(reading.graph, len(metrics)), cycles)
    if not len(weights.node):
        return
    first = places.place_count  # stacks of single frames come before
    enter, leave = depth_first_ranks(nodes.parent, nodes.depth)
    order = np.empty(len(enter), np.int64)
    order[enter] = np.arange(len(enter))
    parent = nodes.parent[order]
    yield batch(
        "stack",
        stack_id=(order + first).astype(np.int32),
        parent_id=pa.array(parent + np.int32(first), pa.int32(), mask=parent < 0),
        depth=nodes.depth[order],
        frame_id=frames[nodes.function[order]],
        tree_enter=enter[order] + np.int32(first),
        tree_leave=leave[order] + np.int32(first),
        is_recursive=find_recursive(nodes.parent, nodes.function)[order],
        truncated=np.zeros(len(order), bool),
    )
    yield from _metrics(metrics, len(metrics), ESTIMATED_STACKS, is_estimate=True)
    for metric_id, values in enumerate(weights.values):
        at = np.flatnonzero(values)
        yield batch(
            "sample",
            utid=weights.utid[at],
            stack_id=(weights.node[at] + first).astype(np.int32),
            metric_id=np.full(len(at), len(metrics) + metric_id, np.int32),
            value=values[at],
        )
