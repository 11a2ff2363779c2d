"""What the lines before a cost line say of it: function, file and object, and whom it calls.

    fl=(1) main.c          home file of the functions that follow
    fn=(1) main
    16 20                  main, main.c
    fi=(2) list.h          code inlined from another file …
    8 3                    main, list.h
    fe=(1)                 … ends
    cfi=(2)                file of the next callee; without it the present one
    cfn=(3) push
    calls=3 12
    18 90                  main, main.c, calls push in list.h 3 times

`cob=` and `cfi=` hold for the next `cfn=` only, which holds until there is another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.callgrind.lines import (
    CALLED_FILE,
    CALLED_FUNCTION,
    CALLED_OBJECT,
    CALLS,
    COST,
    FILE,
    FUNCTION,
    INLINED_FILE,
    JUMP,
    JUMP_FILE,
    JUMP_FUNCTION,
    OBJECT,
    Lines,
    skip_blanks,
)
from perfkit.adapters.callgrind.names import NONE, Names
from perfkit.adapters.callgrind.numbers import parse_numbers
from perfkit.adapters.callgrind.places import Code, Places

type_int32 = NDArray[np.int32]
type_int64 = NDArray[np.int64]

_MAX_DIGITS = 20


@dataclass(slots=True)
class State:
    """What is in effect where a run of lines begins. Names are ids; `function` and `callee` are numbers of functions,
    -1 where none was named; `called_…` are None where nothing was said since the last callee.
    """

    file_ends_function: bool = False
    """whether `fl=` without `fn=` after it leaves the function open (cg_annotate since Valgrind 3.21)"""
    module: int = NONE
    file: int = NONE
    home_file: int = NONE
    name: int = NONE
    function: int = -1
    called_module: int | None = None
    called_file: int | None = None
    callee: int = -1
    call_count: int | None = None
    """of a `calls=` whose cost line is yet to come"""
    is_jump: bool = False
    """whether the next cost line belongs to a jump"""


@dataclass(frozen=True, slots=True)
class CallRows:
    """Cost lines that are calls: their rank among the cost lines, number of the callee, calls counted."""

    row: type_int64
    callee: type_int32
    count: type_int64


class Context:
    """Names in effect in a run of lines."""

    def __init__(self, lines: Lines, places: Places, state: State) -> None:
        self._lines = lines
        self._places = places
        self._state = state
        modules = self._resolve(places.objects, {OBJECT: 3, CALLED_OBJECT: 4})
        files = self._resolve(places.files, {FILE: 3, INLINED_FILE: 3, CALLED_FILE: 4, JUMP_FILE: 4})
        names = self._resolve(places.functions, {FUNCTION: 3, CALLED_FUNCTION: 4, JUMP_FUNCTION: 4})
        self.module = modules.only((OBJECT,), state.module)
        self.file = files.only((FILE, INLINED_FILE), state.file)
        self.name = names.only((FUNCTION,), state.name)
        if state.file_ends_function:
            self.name = self.name.reset_at(np.flatnonzero(lines.kinds == FILE))
        self._home = files.only((FILE,), state.home_file)
        self.function = self._functions()
        self._called_modules = modules.only((CALLED_OBJECT,), NONE)
        self._called_files = files.only((CALLED_FILE,), NONE)
        self.callee = self._callees(names.only((CALLED_FUNCTION,), NONE))

    def code_at(self, rows: type_int64) -> Code:
        """Names of the code that lines belong to."""
        return Code(self.name.at(rows), self.file.at(rows), self.module.at(rows))

    def calls(self, cost_rows: type_int64) -> CallRows:
        """The cost lines that follow a `calls=` line; leaves the state without one, or with the last that has none."""
        lines, state = self._lines, self._state
        rows = np.flatnonzero(lines.kinds == CALLS)
        count = self._counts(rows)
        callee = self.callee.at(rows)
        at = np.searchsorted(cost_rows, rows)
        if state.call_count is not None:
            count = np.append(np.int64(state.call_count), count)
            callee = np.append(np.int32(self.callee.before), callee).astype(np.int32)
            at = np.append(np.int64(0), at)
        is_done = at < len(cost_rows)
        is_last = np.append(at[1:] != at[:-1], True) if len(at) else is_done
        state.call_count = int(count[-1]) if len(count) and not is_done[-1] else None
        kept = is_done & is_last
        return CallRows(at[kept], callee[kept], count[kept])

    def jumps(self, cost_rows: type_int64) -> type_int64:
        """Ranks of the cost lines that only say where a jump comes from."""
        rows = np.flatnonzero(self._lines.kinds == JUMP)
        at = np.unique(np.searchsorted(cost_rows, rows))
        if self._state.is_jump:
            at = np.union1d(at, [0])
        self._state.is_jump = bool(len(at) and at[-1] >= len(cost_rows))
        return at[at < len(cost_rows)]

    def leave(self) -> None:
        """Put what is in effect at the end of the run into the state."""
        state = self._state
        last_callee = self.callee.rows[-1] if len(self.callee.rows) else -1
        for names, key in ((self._called_modules, "called_module"), (self._called_files, "called_file")):
            if len(names.rows) and names.rows[-1] > last_callee:
                setattr(state, key, names.last)
            elif last_callee >= 0:
                setattr(state, key, None)
        state.module, state.file, state.home_file = self.module.last, self.file.last, self._home.last
        state.name, state.function, state.callee = self.name.last, self.function.last, self.callee.last

    def _resolve(self, names: Names, lengths: dict[int, int]) -> _Said:
        """All names of one kind; `lengths` has the kinds of lines and the lengths of their prefixes."""
        table = np.zeros(256, np.int64)
        table[list(lengths)] = list(lengths.values())
        prefix = table[self._lines.kinds]
        rows = np.flatnonzero(prefix)
        return _Said(self._lines, rows, names.resolve(self._lines, rows, self._lines.starts[rows] + prefix[rows]))

    def _functions(self) -> _Last:
        rows = self.name.rows
        numbers = self._places.number_functions(Code(self.name.values[1:], self._home.at(rows), self.module.at(rows)))
        before = self._state.function
        if before < 0 and np.any(self._lines.kinds[: rows[0] if len(rows) else None] == COST):
            before = self._nameless()
        return _Last.of(rows, numbers, before)

    def _callees(self, names: _Last) -> _Last:
        rows = names.rows
        file = self._given(rows, self._called_files, self._state.called_file, self.file)
        module = self._given(rows, self._called_modules, self._state.called_module, self.module)
        numbers = self._places.number_functions(Code(names.values[1:], file, module))
        before = self._state.callee
        if before < 0 and np.any(self._lines.kinds[: rows[0] if len(rows) else None] == CALLS):
            before = self._nameless()
        return _Last.of(rows, numbers, before)

    def _given(self, rows: type_int64, called: _Last, before: int | None, present: _Last) -> type_int32:
        """What `cob=` or `cfi=` said since the last callee, else what is in effect."""
        since = np.append(np.int64(-1), rows[:-1])
        at = np.searchsorted(called.rows, rows)
        is_given = (at > 0) & (np.append(np.int64(-1), called.rows)[at] > since)
        out = np.where(is_given, called.values[at], present.at(rows)).astype(np.int32)
        if before is not None and len(rows) and not is_given[0]:
            out[0] = before
        return out

    def _nameless(self) -> int:
        nothing = np.full(1, NONE, np.int32)
        return int(self._places.number_functions(Code(nothing, nothing, nothing))[0])

    def _counts(self, rows: type_int64) -> type_int64:
        data, limits = self._lines.data, self._lines.ends[rows]
        begin = self._lines.starts[rows] + np.where(data[self._lines.starts[rows]] == ord("r"), 7, 6)
        begin = skip_blanks(data, begin, limits)
        end = begin.copy()
        reading = np.arange(len(rows))
        for _ in range(_MAX_DIGITS):
            reading = reading[data[end[reading]] > ord(" ")]
            end[reading] += 1
        numbers = parse_numbers(self._lines, begin, end)
        return np.minimum(numbers.value, np.uint64((1 << 63) - 1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Last:
    """A value that lines set; it holds until another line sets it again."""

    rows: type_int64
    values: type_int32
    """the value before all lines, then those that `rows` set"""

    @classmethod
    def of(cls, rows: type_int64, values: type_int32, before: int) -> _Last:
        return cls(rows, np.append(np.int32(before), values).astype(np.int32))

    @property
    def before(self) -> int:
        return int(self.values[0])

    @property
    def last(self) -> int:
        return int(self.values[-1])

    def reset_at(self, rows: type_int64) -> _Last:
        """The same with no value from `rows` on, until a line sets one again."""
        merged = np.concatenate([self.rows, rows])
        order = np.argsort(merged)
        values = np.concatenate([self.values[1:], np.full(len(rows), NONE, np.int32)])
        return _Last.of(merged[order], values[order], self.before)

    def at(self, rows: type_int64) -> type_int32:
        """The value in effect at other lines."""
        return self.values[np.searchsorted(self.rows, rows)]


@dataclass(frozen=True, slots=True)
class _Said:
    """Names of one kind, whichever lines gave them."""

    lines: Lines
    rows: type_int64
    ids: type_int32

    def only(self, kinds: tuple[int, ...], before: int) -> _Last:
        chosen = np.isin(self.lines.kinds[self.rows], kinds)
        return _Last.of(self.rows[chosen], self.ids[chosen], before)
