"""Frames of `perf script` text: one line each, parsed once however often it is printed.

ffffffff815ec03c do_anonymous_page+0x4ac ([kernel.kallsyms])      address, symbol, offset, module
            112a lib2_leaf (/tmp/libwork2.so)                     before Linux 4.8, or without symoff
            112a inner (inlined)                                  an inlined call has no module of its own
            112a                                                  -F ip
  libwork2.c:8                                                    srcline: the line below its frame
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, batch
from perfkit.adapters.text import to_text

_HEX = re.compile(rb"(?:0x)?([0-9a-fA-F]{1,16})\Z")
_OFFSET = re.compile(r"\+0x[0-9a-f]+\Z")
_JIT_MODULE = re.compile(r"/perf-\d+\.map\Z|/jitted-\d+-\d+\.so\Z|\A//anon\Z|\A\[JIT\] |\Ajitted-\d+-")
_KERNEL_MODULE = re.compile(r"(?:\A|/)vmlinux[^/]*\Z|\.ko(?:\.(?:gz|xz|zst|bz2))?\Z|\Abpf_prog_|\Abpf_trampoline_")
_USER_BRACKETS = re.compile(r"\[(?:vdso|vdso32|vdsox32|vsyscall|vectors|sigpage|heap|stack|anon|unknown|uprobes)\b")
_MODULE_OFFSET = re.compile(r"\+0x[0-9a-f]+\Z")
_SRCLINE = re.compile(rb"(.*):(\d{1,9})\Z")
_UNKNOWN = "[unknown]"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame line says. `function` is as printed, without `+0x…`."""

    address: int | None
    function: str
    module: str | None
    is_inlined: bool
    source_file: str | None = None
    line: int | None = None


def is_frame_line(line: bytes) -> bool:
    """Whether a line is surely a frame: an address, then a symbol with a module, or nothing."""
    text = line.strip()
    address, _, rest = text.partition(b" ")
    return bool(_HEX.match(address)) and (line.startswith(b"\t") or rest.endswith((b")", b"[unknown]")))


def parse_frame(line: bytes, source: bytes = b"") -> Frame | None:
    """The frame that a line prints, with the srcline below it; None where the line is something else."""
    text = line.strip()
    is_inlined = text.endswith(b" (inlined)")
    text = text.removesuffix(b" (inlined)")
    first, _, rest = text.partition(b" ")
    hexadecimal = _HEX.match(first)
    symbol, module = _split_module(rest.strip())
    if hexadecimal is None and module is None:
        return None
    source = source.strip()
    if source.endswith(b" (inlined)"):
        is_inlined, source = True, source.removesuffix(b" (inlined)")
    where = _SRCLINE.match(source)
    return Frame(
        address=int(hexadecimal.group(1), 16) if hexadecimal else None,
        function=_OFFSET.sub("", to_text(symbol)),
        module=None if module is None else _clean_module(to_text(module)),
        is_inlined=is_inlined,
        source_file=to_text(where.group(1)) if where else None,
        line=int(where.group(2)) if where else None,
    )


def _split_module(text: bytes) -> tuple[bytes, bytes | None]:
    """Split `symbol (module)`. Both may hold parentheses: `f(int) (/tmp/x (deleted))`."""
    if not text.endswith(b")"):
        return text, None
    depth = 0
    for position in range(len(text) - 1, -1, -1):
        byte = text[position]
        depth += (byte == 0x29) - (byte == 0x28)
        if depth == 0 and byte == 0x28 and (position == 0 or text[position - 1] == 0x20):
            return text[:position].rstrip(), text[position + 1 : -1]
    position = text.rfind(b" (")  # unbalanced
    return (text, None) if position < 0 else (text[:position].rstrip(), text[position + 2 : -1])


def _clean_module(module: str) -> str | None:
    module = _MODULE_OFFSET.sub("", module)  # -F +dsoff, since Linux 6.5
    return None if module in (_UNKNOWN, "") else module


def function_name(frame: Frame) -> str:
    """The name that the schema wants: `[module]` or `[unknown]` for what the tool could not name."""
    if frame.function not in (_UNKNOWN, ""):
        return frame.function
    if not frame.module:
        return _UNKNOWN
    name = frame.module.rpartition("/")[2] or frame.module
    return name if name.startswith("[") and name.endswith("]") else f"[{name}]"


def frame_kind(frame: Frame) -> str:
    """One of `schema.tables.FRAME_KINDS`, judged by module and address."""
    module = frame.module or ""
    if module.startswith("[guest.kernel"):
        return "guest_kernel"
    if _JIT_MODULE.search(module):
        return "jit"
    if _KERNEL_MODULE.search(module) or (module.startswith("[") and not _USER_BRACKETS.match(module)):
        return "kernel"
    if frame.address is None:
        return "user" if module else "unknown"
    # Linux's kernel half on every 64-bit machine; 32-bit kernels are known by their module's name.
    return "kernel" if frame.address >> 63 else "user"


class FrameTable:
    """Numbers distinct frames; `to_batch` gives the rows of `frame`."""

    def __init__(self) -> None:
        self._by_line: dict[bytes, int] = {}
        self._by_frame: dict[Frame, int] = {}

    def __len__(self) -> int:
        return len(self._by_frame)

    def find(self, line: bytes, source: bytes = b"") -> int:
        """The id of the frame on a line with its srcline; -1 where the line is no frame."""
        key = line + b"\n" + source if source else line
        known = self._by_line.get(key)
        if known is None:
            frame = parse_frame(line, source)
            known = -1 if frame is None else self._by_frame.setdefault(frame, len(self._by_frame))
            self._by_line[key] = known
        return known

    def functions(self) -> NDArray[np.int32]:
        """For each frame a number of its function: equal where `(function, module)` are, which is how the schema tells
        functions apart.
        """
        numbers: dict[tuple[str, str | None], int] = {}
        keys = ((function_name(frame), frame.module) for frame in self._by_frame)
        return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int32, len(self._by_frame))

    def to_batch(self) -> Batch:
        """Rows of `frame`."""
        frames = list(self._by_frame)
        return batch(
            "frame",
            frame_id=np.arange(len(frames), dtype=np.int32),
            function=[function_name(frame) for frame in frames],
            module=pa.array([frame.module for frame in frames], pa.string()),
            source_file=pa.array([frame.source_file for frame in frames], pa.string()),
            line=pa.array([frame.line for frame in frames], pa.int32()),
            address=pa.array([frame.address for frame in frames], pa.uint64()),
            kind=[frame_kind(frame) for frame in frames],
            inlined=[frame.is_inlined for frame in frames],
        )
