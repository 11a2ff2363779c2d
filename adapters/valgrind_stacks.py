"""What the readers of Valgrind's heap profilers and checkers share: its frames as text, stacks, who ran, bounded lines.

    0x4019B9: leak_me (truth.c:138)                          with debug information
    0x48417B4: malloc (in /usr/lib/vgpreload_dhat.so)        without
    0x484C5D7: ??? (in /usr/lib/vgpreload_helgrind.so)       no symbol
    0x1B: ???                                                no object

(VG_(describe_IP) of coregrind/m_debuginfo/debuginfo.c; dhat-rs writes the same with `file:line:column`.) Addresses are
those of the process; Valgrind has moved those of callers back into the call already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, batch
from perfkit.adapters.stack_tree import StackTree

_FRAME = re.compile(
    r"(?:0x([0-9A-Fa-f]{1,16}): )?(.*?)(?: \((?:in (?P<module>.+)|(?P<file>[^()]*):(?P<line>\d{1,9})(?::\d+)?)\))?\Z",
    re.DOTALL,
)
_MAX_LINE_BYTES = 1 << 20
_INT64_MAX = (1 << 63) - 1
UNKNOWN = "[unknown]"


class Frame(NamedTuple):
    """What Valgrind says of a frame; equal frames are one row of `frame`."""

    address: int | None
    function: str
    """Its name, or `[module]` or `[unknown]` where Valgrind has none."""
    module: str | None = None
    source_file: str | None = None
    line: int | None = None
    inlined: bool = False


def name_of(function: str, module: str | None) -> str:
    """The name that the schema wants for a function; Valgrind writes `???` where it knows none."""
    if function not in ("???", ""):
        return function
    return f"[{module.rpartition('/')[2]}]" if module else UNKNOWN


def parse_frame(text: str) -> Frame:
    """The frame that a text describes."""
    found = _FRAME.match(text)
    assert found is not None  # every part is optional
    address, function, module, file, line = found.groups()
    return Frame(
        int(address, 16) if address else None,
        name_of(function, module),
        module,
        file,
        int(line) if line else None,
    )


def mark_inlined(frames: Sequence[Frame]) -> list[Frame]:
    """The frames, innermost first, with those marked that were inlined into the next: with --read-inline-info=yes
    Valgrind writes them at the same address. A function that calls itself stands there twice with the same name.
    """
    return [
        inner._replace(inlined=True) if is_inlined(inner, outer) else inner
        for inner, outer in zip(frames, [*frames[1:], None], strict=False)
    ]


def is_inlined(inner: Frame, outer: Frame | None) -> bool:
    """Whether `inner` was inlined into its caller `outer`."""
    return (
        outer is not None
        and inner.address is not None
        and inner.address == outer.address
        and inner.function != outer.function
    )


class Stacks:
    """Numbers distinct stacks in the order of first appearance; `nodes` are known at the end."""

    def __init__(self) -> None:
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}

    def __len__(self) -> int:
        return len(self._stacks)

    def add(self, frames: Iterable[Frame]) -> int:
        """The number of a stack, given from its innermost frame to the outermost."""
        known = self._frames
        ids = tuple(known.setdefault(frame, len(known)) for frame in frames)
        return self._stacks.setdefault(ids, len(self._stacks))

    def finish(self) -> tuple[NDArray[np.int32], list[Batch]]:
        """The innermost node of each stack (-1 where it has no frame), and the rows of `frame` and `stack`."""
        lengths = np.fromiter(map(len, self._stacks), np.int64, len(self._stacks))
        flat = np.fromiter((i for ids in self._stacks for i in reversed(ids)), np.int32, int(lengths.sum()))
        tree = StackTree()
        nodes = tree.add(flat, np.cumsum(lengths) - lengths, lengths)
        frames = list(self._frames)
        return nodes, [frame_batch(frames), tree.to_batch(functions(frames))]


def functions(frames: Sequence[Frame]) -> NDArray[np.int32]:
    """For each frame a number of its function: equal where `(function, module)` are."""
    numbers: dict[tuple[str, str | None], int] = {}
    keys = ((frame.function, frame.module) for frame in frames)
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int32, len(frames))


def frame_batch(frames: Sequence[Frame]) -> Batch:
    """Rows of `frame`, numbered in this order."""
    address, function, module, source_file, line, inlined = zip(*frames, strict=True) if frames else ((),) * 6
    is_known = [
        a is not None or m is not None or n[:1] != "[" for a, m, n in zip(address, module, function, strict=True)
    ]
    return batch(
        "frame",
        frame_id=np.arange(len(frames), dtype=np.int32),
        function=pa.array(function, pa.string()),
        module=pa.array(module, pa.string()),
        source_file=pa.array(source_file, pa.string()),
        line=pa.array(line, pa.int32()),
        address=pa.array(address, pa.uint64()),
        kind=np.where(is_known, "user", "unknown").tolist(),
        inlined=pa.array(inlined, pa.bool_()),
        is_caller=pa.array([False] * len(frames), pa.bool_()),
    )


def capture_batch(format_name: str, tool: str, version: str | None, command: str | None) -> Batch:
    """The row of `capture`."""
    return batch(
        "capture", name=[""], tool=[tool], tool_version=[version], format=[format_name], command=[command or None]
    )


def process_batch(pids: Sequence[int | None], commands: Sequence[str | None]) -> Batch:
    """Rows of `process`, `upid` in this order."""
    names = [command.split()[0].rpartition("/")[2] if command and command.split() else None for command in commands]
    return batch(
        "process",
        upid=np.arange(len(pids), dtype=np.int32),
        pid=pa.array(pids, pa.int32()),
        name=pa.array(names, pa.string()),
        command=pa.array([command or None for command in commands], pa.string()),
    )


def whole_process_batches(pid: int | None, command: str | None) -> list[Batch]:
    """Rows of `process` and `thread` for a tool that does not tell threads apart: one of each, numbered 0. The thread
    stands for all of the process, so it has no `tid`.
    """
    process = process_batch([pid], [command])
    thread = batch("thread", utid=[0], upid=[0], name=process.data.column("name"))
    return [process, thread]


def metric_batch(names: Sequence[str], units: Sequence[str], aggregations: Sequence[str] = ()) -> Batch:
    """Rows of `metric`, `metric_id` in this order; values add up unless `aggregations` says otherwise."""
    return batch(
        "metric",
        metric_id=np.arange(len(names), dtype=np.int32),
        name=pa.array(names, pa.string()),
        unit=pa.array(units, pa.string()),
        aggregation=pa.array(aggregations or ["sum"] * len(names), pa.string()),
        is_estimate=pa.array([False] * len(names), pa.bool_()),
    )


def lines_of(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(byte offset, line without its end) of each line; a line of more than 1 MiB comes in pieces."""
    offset = 0
    while raw := stream.readline(_MAX_LINE_BYTES):
        yield offset, raw.rstrip(b"\r\n")
        offset += len(raw)


def fit_int64(value: int) -> int:
    """The number, or the nearest that 64 bits with sign can hold."""
    return max(-_INT64_MAX - 1, min(value, _INT64_MAX))
