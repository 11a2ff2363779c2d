"""Reads DHAT's JSON (`dhat.out.<pid>`, version 2), Valgrind's and dhat-rs's.

    {"dhatFileVersion":2, "mode":"heap", "verb":"Allocated", "bklt":true, "bkacc":true, "tu":"instrs", …
     "pps":[{"tb":100000, "tbk":100,       program points: allocated bytes and blocks,
             "tl":4086490200,              lifetimes of all blocks together, in tu        (bklt)
             "mb":100000, "mbk":100,       most at one time for this point                (bklt)
             "gb":100000, "gbk":100,       at the time the heap was largest (t-gmax)      (bklt)
             "eb":100000, "ebk":100,       at the end                                     (bklt)
             "rb":0, "wb":100800,          bytes read and written                         (bkacc)
             "acc":[-992,100,-8,200],      accesses of each byte: 992 bytes 100 times …   (bkacc)
             "fs":[9,15,16,12]}, …],       frames in ftbl, innermost first
     "ftbl":["[root]", "0x48465EF: malloc (in …)", …]}

How it lands in the tables: a sample a program point and value that is not 0, on its stack. The metrics are named after
what DHAT counts: `allocated_bytes` (`copied_…`, `occurred_units` in the other modes), `lifetime`, `heap_at_peak`, ….
`max_bytes` and `max_blocks` are of different times and do not add up across stacks. Accesses go to `histogram`, with
the stack's id as key, offsets in the block as bounds, and `count` the accesses of all bytes of the bucket together, so
that buckets of a stack add up to the bytes it read and wrote. Times of the run are counters in DHAT's own unit.

The file is read value by value in pieces of bounded size: one that is cut short yields the program points before that.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source, batch
from perfkit.adapters.json_stream import END, JsonStream
from perfkit.adapters.stack_tree import StackTree
from perfkit.adapters.text import plain_lines
from perfkit.adapters.valgrind_stacks import (
    UNKNOWN,
    Frame,
    capture_batch,
    frame_batch,
    functions,
    metric_batch,
    parse_frame,
    whole_process_batches,
)
from perfkit.schema.errors import FormatError

_HEAD = re.compile(rb'\s*\{\s*"dhatFileVersion"\s*:\s*\d')
_VERSION = 2
_VALUES = ("tb", "tbk", "tl", "mb", "mbk", "gb", "gbk", "eb", "ebk", "rb", "wb")
_CHUNK = 1 << 14  # program points turned into columns at a time
_TIMES = {"te": "t_end", "tg": "t_gmax", "tuth": "short_lived_threshold"}
_INT64_MAX = (1 << 63) - 1


class _Points:
    """Program points as columns."""

    def __init__(self, issues: IssueLog) -> None:
        self._issues = issues
        self._rows: list[dict[str, Any]] = []
        self._values: dict[str, list[NDArray[np.int64]]] = {key: [] for key in _VALUES}
        self._ragged: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {"fs": [], "acc": []}

    def add(self, point: object) -> None:
        """Take a value of `pps`."""
        if not isinstance(point, dict):
            self._issues.add("bad_value", "warning", "a program point that is no object was skipped")
            return
        self._rows.append(point)
        if len(self._rows) == _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Turn the points that were taken into columns."""
        rows, self._rows = self._rows, []
        for key, parts in self._values.items():
            parts.append(self._integers(_column(rows, key)))
        for key, pairs in self._ragged.items():
            lists = [found if isinstance(found := row.get(key), list) else [] for row in rows]
            lengths = np.fromiter(map(len, lists), np.int64, len(lists))
            pairs.append((self._integers([value for values in lists for value in values]), lengths))

    def values(self, key: str) -> NDArray[np.int64]:
        """A number of each point, 0 where it has none."""
        return np.concatenate(self._values[key])

    def ragged(self, key: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All numbers of the points' lists, and how many each point has."""
        flat, lengths = zip(*self._ragged[key], strict=True)
        return np.concatenate(flat), np.concatenate(lengths)

    def _integers(self, values: list[Any]) -> NDArray[np.int64]:
        # The types are looked at first: numpy would take a string of digits or a fraction for a number.
        if set(map(type, values)) <= {int}:
            try:
                return np.array(values, np.int64)
            except OverflowError:
                pass
        sound = [v if type(v) is int and -_INT64_MAX <= v <= _INT64_MAX else None for v in values]
        detail = "values that are no integers of 64 bits count as 0"
        self._issues.add("bad_value", "warning", detail, count=sound.count(None))
        return np.array([value or 0 for value in sound], np.int64)


def _column(rows: list[dict[str, Any]], key: str) -> list[Any]:
    """The values of a key, 0 where a row has none. Most files have a key in all rows or in none."""
    if rows and key in rows[0]:
        with contextlib.suppress(KeyError):
            return list(map(itemgetter(key), rows))
    return [row.get(key, 0) for row in rows]


class Dhat:
    """`dhat.out` files."""

    info = AdapterInfo(
        name="dhat.out",
        tool="dhat",
        formats=("DHAT JSON version 2 in heap, copy and ad-hoc mode", "the same by dhat-rs"),
        yields=(
            "capture",
            "process",
            "thread",
            "frame",
            "stack",
            "metric",
            "sample",
            "histogram",
            "counter_track",
            "counter",
        ),
        clock="none; lifetimes are in instructions or in the unit that the file names",
        specification="https://sourceware.org/git/?p=valgrind.git;a=blob;f=dhat/dh_main.c;hb=VALGRIND_3_19_0",
    )

    def sniff(self, source: Source) -> bool:
        """Whether the text is an object whose first key is `dhatFileVersion`."""
        return not source.is_dir and bool(_HEAD.match(plain_lines(source.head)))

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows.

        Raises:
            FormatError: it is not version 2, or damaged before the first program point.
        """
        points = _Points(issues)
        frames: list[Frame] = []
        header: dict[str, Any] = {}
        has_points = False
        with source.open() as raw:
            stream = JsonStream(raw, issues)
            for key, value in stream.members({"pps", "ftbl"}):
                if key == "pps":
                    has_points = True
                    if value is not END:
                        points.add(value)
                elif key == "ftbl":
                    if value is not END:
                        frames.append(parse_frame(value) if isinstance(value, str) else Frame(None, UNKNOWN))
                else:
                    header[key] = value
        if header.get("dhatFileVersion") != _VERSION:
            raise FormatError(source.path, 0, f"dhatFileVersion {_VERSION}", str(header.get("dhatFileVersion")))
        if not has_points:
            raise FormatError(source.path, stream.offset, "program points (`pps`)", "none")
        points.flush()
        yield from _batches(header, points, frames, issues)


def _batches(header: dict[str, Any], points: _Points, frames: list[Frame], issues: IssueLog) -> Iterator[Batch]:
    command = _text(header, "cmd", "") or None
    pid = header.get("pid")
    yield capture_batch(Dhat.info.name, "dhat", None, command)
    yield from whole_process_batches(pid if type(pid) is int and 0 <= pid < 1 << 31 else None, command)
    nodes, stack_batches = _stacks(points, frames, issues)
    yield from stack_batches
    specs = _metrics(header, points)
    yield metric_batch(*zip(*((name, unit, how) for _, name, unit, how in specs), strict=True))
    for metric_id, (key, *_) in enumerate(specs):
        values = points.values(key)
        at = np.flatnonzero(values)
        yield batch(
            "sample",
            utid=np.zeros(len(at), np.int32),
            stack_id=_nullable(nodes[at]),
            metric_id=np.full(len(at), metric_id, np.int32),
            value=values[at],
        )
    yield from _histograms(points, nodes, issues)
    times = {name: value for key, name in _TIMES.items() if type(value := header.get(key)) is int}
    count = len(times)
    yield batch(
        "counter_track",
        track_id=np.arange(count, dtype=np.int32),
        name=pa.array(list(times), pa.string()),
        unit=pa.array([_text(header, "tu", "instrs")] * count, pa.string()),
        scope=pa.array(["process"] * count, pa.string()),
        upid=np.zeros(count, np.int32),
    )
    yield batch("counter", track_id=np.arange(count, dtype=np.int32), value=np.array([*times.values()], np.float64))


def _metrics(header: dict[str, Any], points: _Points) -> list[tuple[str, str, str, str]]:
    """(key, name, unit, aggregation) of each metric that the file has."""
    byte, block = _text(header, "bu", "byte"), _text(header, "bksu", "blocks").removesuffix("s")
    verb = _text(header, "verb", "Allocated").lower()
    specs = [
        ("tb", f"{verb}_{_text(header, 'bsu', 'bytes')}", byte, "sum"),
        ("tbk", f"{verb}_{_text(header, 'bksu', 'blocks')}", block, "sum"),
    ]
    if header.get("bklt") or points.values("gb").any():
        specs += [
            ("gb", "heap_at_peak", byte, "sum"),
            ("gbk", "heap_blocks_at_peak", block, "sum"),
            ("eb", "heap_at_end", byte, "sum"),
            ("ebk", "heap_blocks_at_end", block, "sum"),
            ("mb", "max_bytes", byte, "last"),
            ("mbk", "max_blocks", block, "last"),
            ("tl", "lifetime", _text(header, "tu", "instrs"), "sum"),
        ]
    if header.get("bkacc") or points.values("rb").any() or points.values("wb").any():
        specs += [("rb", "bytes_read", byte, "sum"), ("wb", "bytes_written", byte, "sum")]
    return specs


def _text(header: dict[str, Any], key: str, default: str) -> str:
    value = header.get(key)
    return value if isinstance(value, str) else default


def _stacks(points: _Points, frames: list[Frame], issues: IssueLog) -> tuple[NDArray[np.int32], list[Batch]]:
    """The innermost node of each point's stack, and the rows of `frame` and `stack`."""
    flat, lengths = points.ragged("fs")
    bad = (flat < 0) | (flat >= len(frames))
    detail = f"frames that are not in the table of {len(frames)} frames are {UNKNOWN}"
    issues.add("unknown_frame", "warning", detail, count=int(bad.sum()))
    frames = [*frames, Frame(None, UNKNOWN)]
    flat = np.where(bad, len(frames) - 1, flat)
    # Frames that were inlined into the next one of their stack are frames of their own.
    number = functions(frames)
    address = np.array([frame.address or 0 for frame in frames], np.uint64)
    ends = np.cumsum(lengths)
    inner, outer = flat[:-1], flat[1:]
    inlined = np.zeros(len(flat), bool)
    inlined[:-1] = (address[inner] == address[outer]) & (address[inner] != 0) & (number[inner] != number[outer])
    inlined[ends[lengths > 0] - 1] = False
    used, ids = np.unique(flat * 2 + inlined, return_inverse=True)
    table = [frames[key >> 1]._replace(inlined=bool(key & 1)) for key in used.tolist()]
    tree = StackTree()
    # DHAT's stacks are innermost first: read from the back, the stacks stand in reverse order too.
    nodes = tree.add(ids[::-1].astype(np.int32), (len(flat) - ends)[::-1], lengths[::-1])[::-1]
    return nodes, [frame_batch(table), tree.to_batch(functions(table))]


def _histograms(points: _Points, nodes: NDArray[np.int32], issues: IssueLog) -> Iterator[Batch]:
    """Accesses by offset in the block: runs of bytes that were accessed equally often are one bucket."""
    flat, lengths = points.ragged("acc")
    if not len(flat):
        return
    owner = np.repeat(np.arange(len(lengths)), lengths)
    is_run = flat < 0
    run = np.ones(len(flat), np.int64)
    run[1:] = np.where(is_run[:-1] & (owner[1:] == owner[:-1]), -flat[:-1], 1)
    at = np.flatnonzero(~is_run)
    owner, run, accesses = owner[at], run[at], flat[at]
    issues.add("bad_value", "warning", "runs of accesses do not pair up", count=int(is_run.sum() - (run > 1).sum()))
    high = np.cumsum(run.astype(np.float64))
    low = high - run
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    base = np.repeat(low[begins], np.diff(begins, append=len(owner)))
    yield batch(
        "histogram",
        name=pa.array(["accesses"] * len(at), pa.string()),
        key=pa.array(nodes).cast(pa.string()).take(pa.array(owner)),
        low=low - base,
        high=high - base,
        unit=pa.array(["byte"] * len(at), pa.string()),
        count=np.clip(accesses.astype(np.float64) * run, 0, 2.0**62).astype(np.int64),
    )


def _nullable(nodes: NDArray[np.int32]) -> pa.Array:
    return pa.array(nodes, pa.int32(), mask=nodes < 0)
