"""What a person may choose about a flame graph. Imports nothing heavy, so that `--help` can name it all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """What a flame graph is written as."""

    HTML = "html"
    SVG = "svg"
    FOLDED = "folded"


class Grouping(StrEnum):
    """What stands under the stacks."""

    COMM = "comm"
    """The name the thread had at the time (perf's `comm`), all threads of one name together."""
    PROCESS = "process"
    """Each process on its own, as `name-pid`."""
    THREAD = "thread"
    """Each thread on its own, as `comm-pid/tid`."""
    NONE = "none"
    """Nothing: all stacks are merged."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a picture is drawn. `min_width` is the share of the whole (0 to 1) below which a frame is left out; None
    leaves the choice to the renderer. Folded lines know only `annotate`.
    """

    title: str | None = None
    icicle: bool = False
    min_width: float | None = None
    root: str | None = None
    annotate: bool = False


WHERE_COLUMNS: dict[str, str] = {
    "ts": "time of the sample in the capture's clock, ns",
    "seconds": "time of the sample after the capture's start, s",
    "cpu": "CPU it was taken on",
    "value": "its weight",
    "thread": "name its thread had at the time",
    "tid": "thread id",
    "process": "last name of its process",
    "pid": "process id",
    "function": "innermost function of its stack",
    "module": "module of that function",
    "kind": "kind of that function: user, kernel, jit …",
    "source_file": "source file of that function",
    "depth": "frames above the innermost",
    "capture_id": "capture it belongs to",
    "utid": "its thread, as `thread.utid`",
    "upid": "its process, as `process.upid`",
    "stack_id": "innermost node of its stack, as `stack.stack_id`",
}
"""Names that `--where` may use, and what they mean."""
