"""What the nodes of a call tree show: functions, each with its module and kind, and the groups under which they stand.

Stack nodes are by address; here frames are one symbol when function, module, kind and `inlined` agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from perfkit.query.flamegraph.weights import KEY_BITS

Ints = npt.NDArray[np.int64]

_SHARED_LIBRARY = re.compile(r"\.so(\.[\w.+-]+)?( \(deleted\))?$|^\[vdso\]$|^\[vsyscall\]$")


class Family(StrEnum):
    """Where code lies: the hue of a frame."""

    GROUP = "group"
    PROGRAM = "program"
    LIBRARY = "library"
    KERNEL = "kernel"
    JIT = "jit"
    INTERPRETED = "interpreted"
    VIRTUAL = "virtual"
    UNNAMED = "unnamed"


FAMILY_NAMES: dict[Family, str] = {
    Family.GROUP: "process or thread",
    Family.PROGRAM: "program",
    Family.LIBRARY: "shared library",
    Family.KERNEL: "kernel",
    Family.JIT: "run-time compiled",
    Family.INTERPRETED: "interpreted",
    Family.VIRTUAL: "guest or hypervisor",
    Family.UNNAMED: "no symbol",
}
_BY_KIND: dict[str, Family] = {
    "kernel": Family.KERNEL,
    "jit": Family.JIT,
    "interpreted": Family.INTERPRETED,
    "hypervisor": Family.VIRTUAL,
    "guest_user": Family.VIRTUAL,
    "guest_kernel": Family.VIRTUAL,
}
GROUP_KIND = "group"
"""Kind of the symbols that stand for a thread or process; all others are kinds of `schema.tables.FRAME_KINDS`."""


class Symbol(NamedTuple):
    """A function in a module, or the label of a group. `module` is a path or a name in brackets, or null."""

    function: str
    module: str | None
    kind: str
    inlined: bool

    @property
    def is_unnamed(self) -> bool:
        """Whether no symbol was found, so that the name only says where the code lies."""
        if self.kind == GROUP_KIND:
            return False
        return self.function == "[unknown]" or (self.module is not None and self.function == bracketed(self.module))

    @property
    def family(self) -> Family:
        """Where the code lies."""
        if self.kind == GROUP_KIND:
            return Family.GROUP
        if self.is_unnamed:
            return Family.UNNAMED
        if self.kind in _BY_KIND:
            return _BY_KIND[self.kind]
        return Family.LIBRARY if self.module and _SHARED_LIBRARY.search(self.module) else Family.PROGRAM


@dataclass(frozen=True)
class FrameSymbols:
    """The symbols of some captures' frames in alphabetical order, and which one each frame has: `frame` are the
    frames' keys in ascending order (see `KEY_BITS`), `symbol` indexes `symbols`.
    """

    symbols: list[Symbol]
    frame: Ints
    symbol: Ints

    def of(self, frame_key: Ints) -> Ints:
        """The symbol of each frame."""
        return self.symbol[np.searchsorted(self.frame, frame_key)]


def load_symbols(connection: duckdb.DuckDBPyConnection, captures: tuple[int, ...]) -> FrameSymbols:
    """The symbols of all frames of the captures."""
    ids = ", ".join(str(int(capture)) for capture in captures)
    chosen = f"FROM frame WHERE capture_id IN ({ids})"
    rows = connection.execute(f"SELECT DISTINCT function, module, kind, inlined {chosen} ORDER BY ALL").fetchall()
    columns = connection.execute(
        f"SELECT (capture_id::BIGINT << {KEY_BITS} | frame_id) AS frame, "
        f"dense_rank() OVER (ORDER BY function, module, kind, inlined) - 1 AS symbol {chosen} ORDER BY frame"
    ).fetchnumpy()
    return FrameSymbols(
        symbols=[Symbol(row[0] if row[0] is not None else bracketed(row[1]), *row[1:]) for row in rows],
        frame=np.asarray(columns["frame"], dtype=np.int64),
        symbol=np.asarray(columns["symbol"], dtype=np.int64),
    )


def bracketed(module: str | None) -> str:
    """How code without a symbol reads: `[libc.so.6]`, `[unknown]`; a name in brackets gets no second pair."""
    if not module:
        return "[unknown]"
    return module if module.startswith("[") else f"[{module.rpartition('/')[2]}]"
