"""What follows an event's name on its line: a tracepoint's payload, or the frame of a sample without callchain.

    sched:sched_switch: prev_comm=a prev_pid=1 ==> next_comm=b next_pid=2     payload; a callchain may follow below
    block:block_rq_issue: 259,76 R 4096 () 57622160 + 8 [fio] ffffffff8beead90 blk_mq_start ([kernel.kallsyms])
    page-faults:  ffffffff817554ea elf_load+0x28a ([kernel.kallsyms])         frame, side by side
    branches:uH:  jcc   411077 f+0xc7 (foo.so) =>  411064 f+0xb4 (foo.so)     a branch: the frame it left, where it went

Whatever is no frame goes to `event.<name>` as `detail`, with a column for each `key=value` in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from perfkit.adapters.contract import Batch, batch
from perfkit.adapters.text import to_text
from perfkit.schema.tables import EVENT_COLUMNS, EVENT_PREFIX

_WORD = re.compile(rb"\S+")
_HEX = re.compile(rb"[0-9a-f]{1,16}\Z")
_KEY = re.compile(r"(?:^|(?<=[\s({,]))([A-Za-z_]\w*)=")
_INTEGER = re.compile(r"-?(?:0x[0-9a-fA-F]{1,15}|\d{1,18})\Z")
_COMMON = {column.name for column in EVENT_COLUMNS} | {"detail", "capture_id"}
_MODIFIERS = frozenset("ukhIGHpPSDWebR")

# PERF_BR_* of include/uapi/linux/perf_event.h, by the words of perf's own flags (tools/perf/util/event.h).
_BRANCH_TYPES = {
    "jcc": 1,
    "jmp": 2,
    "call": 4,
    "return": 6,
    "syscall": 7,
    "sysret": 8,
    "iret": 11,
    "hw int": 12,
    "int": 12,
}


@dataclass(frozen=True, slots=True)
class Rest:
    """The rest of a header line, taken apart."""

    frame: bytes | None = None
    detail: bytes | None = None
    branch: tuple[int, int, int | None] | None = None
    """From, to (virtual addresses), PERF_BR_* type where the flags name one."""


_NOTHING = Rest()


def parse_rest(text: bytes) -> Rest:
    """Take the text behind `event:` apart.

    perf prints the address of a frame side by side as a blank and 16 right-aligned columns, after the blank that
    follows the colon. This width tells it from a data address or a weight, which have no blank of their own.
    """
    stripped = text.strip()
    if not stripped:
        return _NOTHING
    left, arrow, right = stripped.partition(b" => ")
    if arrow and (found := _parse_branch(left, right)):
        return Rest(found[0], stripped, found[1])
    first = stripped.split(None, 1)[0]
    if _HEX.match(first) and text.index(first) + len(first) >= 18:
        return Rest(frame=stripped)
    start = _find_trailing_frame(stripped)
    if start:
        return Rest(frame=stripped[start:], detail=stripped[:start].rstrip())
    return Rest(detail=stripped)


def _parse_branch(left: bytes, right: bytes) -> tuple[bytes, tuple[int, int, int | None]] | None:
    """`flags ip symbol (module)` and `ip symbol (module)` of a branch: the frame it left, and the branch."""
    source = next((word for word in _WORD.finditer(left) if _HEX.match(word[0])), None)
    target = _WORD.search(right)
    if source is None or target is None or not _HEX.match(target[0]):
        return None
    flags = b" ".join(left[: source.start()].split()).decode("ascii", "replace")
    return left[source.start() :], (int(source[0], 16), int(target[0], 16), _BRANCH_TYPES.get(flags))


def _find_trailing_frame(text: bytes) -> int:
    """Where the frame begins that ends a line behind a payload; 0 where none does."""
    if not text.endswith((b")", b"[unknown]")):
        return 0
    start = previous_end = 0
    for word in _WORD.finditer(text):
        if previous_end and _HEX.match(word[0]) and word.end() - previous_end >= 17 and word.end() < len(text):
            start = word.start()
        previous_end = word.end()
    return start


def event_name(event: str) -> str:
    """The name of an event's table: a tracepoint's without its subsystem, as other tools print it; modifiers off."""
    parts = event.split(":")
    if len(parts) > 1 and parts[0] and parts[1] and not set(parts[1]) <= _MODIFIERS:
        return parts[1]
    return parts[0] or event


class EventTable:
    """Turns payloads of one event into columns; a column's type is settled by the first payloads seen."""

    def __init__(self, event: str) -> None:
        self.table = EVENT_PREFIX + (event_name(event) or "unknown")
        self._types: dict[str, pa.DataType] = {}

    def to_batch(
        self, ts: pa.Array, cpu: pa.Array, utid: pa.Array, stack_id: pa.Array, details: Sequence[bytes]
    ) -> Batch:
        """Rows of `event.<name>`: a `detail` as printed, and its `key=value` pairs. A value that does not fit its
        column's type stays in `detail` alone.
        """
        lines = [to_text(detail) for detail in details]
        payloads = [_parse_payload(line) for line in lines]
        for key in dict.fromkeys(key for payload in payloads for key in payload):
            if key not in self._types:
                is_integer = all(_INTEGER.match(p[key]) for p in payloads if key in p)
                self._types[key] = pa.int64() if is_integer else pa.string()
        columns = {key: self._column(key, payloads) for key in self._types}
        return batch(self.table, ts=ts, cpu=cpu, utid=utid, stack_id=stack_id, detail=lines, **columns)

    def _column(self, key: str, payloads: list[dict[str, str]]) -> pa.Array:
        kind = self._types[key]
        texts = [payload.get(key) for payload in payloads]
        if kind == pa.string():
            return pa.array(texts, kind)
        return pa.array([_integer(text) for text in texts], kind)


def _integer(text: str | None) -> int | None:
    """A number in decimal (`target_cpu=031` too) or, after `0x`, in hexadecimal."""
    if not text or not _INTEGER.match(text):
        return None
    return int(text, 16 if "0x" in text else 10)


def _parse_payload(line: str) -> dict[str, str]:
    """The `key=value` pairs of a payload. A value reaches to the next key, as names may hold spaces."""
    found = list(_KEY.finditer(line))
    ends = [*(match.start() for match in found[1:]), len(line)]
    pairs: dict[str, str] = {}
    folded: set[str] = set()
    for match, end in zip(found, ends, strict=False):
        key = match.group(1)
        key = key + "_" if key.lower() in _COMMON else key
        if key.lower() in folded:
            continue  # a second field of that name stays in `detail`; SQL names ignore case
        folded.add(key.lower())
        pairs[key] = line[match.end() : end].strip().removesuffix("==>").rstrip(" ,")
    return pairs
