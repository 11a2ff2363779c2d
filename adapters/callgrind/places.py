"""Places in the code and functions as rows of `frame`, each numbered once.

A place is a (function, file, object, line): one frame, and one stack of just that frame, on which the self cost of the
place lies. A function is a (function, file, object): a frame without a line, the callee of `call_edge`; the caller
there is the place of the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.callgrind.names import Names
from perfkit.adapters.columns import KeyIndex, combine
from perfkit.adapters.contract import Batch, IssueLog, batch

type_int32 = NDArray[np.int32]
type_int64 = NDArray[np.int64]

_MAX_LINE = (1 << 31) - 1


class Code(NamedTuple):
    """Names of pieces of code, columns of name ids."""

    function: type_int32
    file: type_int32
    module: type_int32


class _NewFrames(NamedTuple):
    """Rows of `frame` to be."""

    frame: type_int32
    names: Code
    line: type_int64


class Grown:
    """An int32 or int64 array that grows at its end."""

    def __init__(self, dtype: type[np.integer]) -> None:
        self._array: NDArray[Any] = np.zeros(1024, dtype)
        self._size = 0

    @property
    def values(self) -> NDArray[Any]:
        """What it holds; a view, valid until it grows."""
        return self._array[: self._size]

    def append(self, values: NDArray[np.integer]) -> None:
        """Put values behind the others."""
        size = self._size
        self.resize(size + len(values))
        self._array[size : self._size] = values

    def resize(self, size: int) -> None:
        """Grow to `size`; new values are zero."""
        if size > len(self._array):
            grown = np.zeros(max(size, 2 * len(self._array)), self._array.dtype)
            grown[: self._size] = self.values
            self._array = grown
        self._size = size


class Places:
    """Numbers places and functions, and holds the rows of `frame` and `stack` for them until they are taken."""

    def __init__(self, issues: IssueLog) -> None:
        self.objects = Names("object", issues)
        self.files = Names("file", issues)
        self.functions = Names("function", issues)
        self._places = KeyIndex()
        self._function_index = KeyIndex()
        self._frame_of_place = Grown(np.int32)
        self._code_of_function = tuple(Grown(np.int32) for _ in Code._fields)
        self._frame_count = 0
        self._frames: list[_NewFrames] = []
        self._stack_frames: list[type_int32] = []

    @property
    def place_count(self) -> int:
        """Places so far; also the rows of `stack`, since the stack of a place has its number."""
        return len(self._places)

    @property
    def frame_of_place(self) -> NDArray[Any]:
        """Frame ids by place."""
        return self._frame_of_place.values

    @property
    def function_count(self) -> int:
        """Functions so far."""
        return len(self._function_index)

    def number_places(self, names: Code, line: type_int64) -> type_int32:
        """Numbers of places given by names and line (0 for none)."""
        ids, firsts = self._places.intern(combine(line, *names))
        frames = self._add(Code(*(column[firsts] for column in names)), line[firsts])
        self._frame_of_place.append(frames)
        self._stack_frames.append(frames)
        return ids

    def number_functions(self, names: Code) -> type_int32:
        """Numbers of functions given by names."""
        ids, firsts = self._function_index.intern(combine(*names))
        for grown, column in zip(self._code_of_function, names, strict=True):
            grown.append(column[firsts])
        return ids

    def add_function_frames(self) -> type_int32:
        """Add a frame for each function, once all places are known. Frame ids by function."""
        names = Code(*(grown.values.astype(np.int32) for grown in self._code_of_function))
        return self._add(names, np.zeros(self.function_count, np.int64))

    def take_batches(self) -> Iterator[Batch]:
        """The rows that are new since the last call."""
        parts, self._frames = self._frames, []
        if not parts:
            return
        function, file, module = (np.concatenate(columns) for columns in zip(*(p.names for p in parts), strict=True))
        line = np.concatenate([part.line for part in parts])
        has_line = (line > 0) & (line <= _MAX_LINE)
        yield batch(
            "frame",
            frame_id=np.concatenate([part.frame for part in parts]),
            function=self.functions.column(function, "[unknown]"),
            module=self.objects.column(module, None),
            source_file=self.files.column(file, None),
            line=pa.array(np.where(has_line, line, 0).astype(np.int32), mask=~has_line),
            kind=pa.DictionaryArray.from_arrays(np.zeros(len(line), np.int8), ["user"]),
            inlined=np.zeros(len(line), bool),
        )
        stacks = np.concatenate([np.empty(0, np.int32), *self._stack_frames])
        self._stack_frames = []
        ids = np.arange(self.place_count - len(stacks), self.place_count, dtype=np.int32)
        no = np.zeros(len(stacks), bool)
        yield batch(
            "stack",
            stack_id=ids, depth=np.zeros(len(stacks), np.int32), frame_id=stacks,
            tree_enter=ids, tree_leave=ids, is_recursive=no, truncated=no,
        )  # fmt: skip

    def _add(self, names: Code, line: type_int64) -> type_int32:
        frames = np.arange(self._frame_count, self._frame_count + len(line), dtype=np.int32)
        self._frame_count += len(line)
        if len(line):
            self._frames.append(_NewFrames(frames, names, line))
        return frames
