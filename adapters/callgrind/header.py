"""Header lines, `key: value`. They may stand anywhere: every part of a combined dump has its own, xdebug writes
`summary:` in the middle, callgrind `totals:` at a part's end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.text import to_text

type_int64 = NDArray[np.int64]

HEADER_LINE = re.compile(rb"([A-Za-z][\w ()]*):\s*(.*)")
_IGNORED = frozenset(("version", "desc", "arch", "timeframe"))
_BOUNDARIES = frozenset(("pid", "part", "thread", "positions", "events"))
_EVENT = re.compile(r"(\w+)\s*(?:=([^:]*))?(?::\s*(.*))?")
_TERM = re.compile(r"([+-]?)\s*(?:(\d{1,9})\s*\*?\s*)?([A-Za-z_]\w*)\s*")
_CREATOR = re.compile(r"(\D*?)(?:[- ]v?(\d.*))?")
_UNIT = re.compile(r"\b(ns|us|ms|nsec|usec|msec)\b")
_POSITIONS = ("instr", "addr", "bb", "line")
_MAX_EVENTS = 256


@dataclass(slots=True)
class Event:
    """A metric: an event of the cost lines, or one that a formula derives from others."""

    name: str
    unit: str = "event"
    formula: str | None = None


@dataclass(slots=True)
class Header:
    """What the header lines so far say of the lines that follow them."""

    issues: IssueLog
    positions: tuple[str, ...] = ("line",)
    columns: list[int] = field(default_factory=list)
    """metric of each cost column"""
    metrics: list[Event] = field(default_factory=list)
    creator: str | None = None
    command: str | None = None
    pid: int | None = None
    thread: int | None = None
    said: dict[str, dict[int, int]] = field(default_factory=dict)
    """`summary` and `totals` of the present part, by metric"""
    _units: dict[str, str] = field(default_factory=dict)
    _formulas: dict[str, str] = field(default_factory=dict)

    @property
    def tool(self) -> tuple[str, str | None]:
        """Program that wrote the file and its version."""
        match = _CREATOR.fullmatch(self.creator or "")
        return (match[1] or "callgrind", match[2]) if match and self.creator else ("callgrind", None)

    def is_boundary(self, line: bytes) -> bool:
        """Whether the line changes how the lines after it are to be read, or whom they belong to."""
        match = HEADER_LINE.fullmatch(line)
        return match is not None and to_text(match[1]) in _BOUNDARIES

    def add(self, line: bytes) -> bool:
        """Take a line in; False where it is no header line."""
        match = HEADER_LINE.fullmatch(line)
        key = to_text(match[1]).split(" ")[0] if match else ""
        takers = {
            "cmd": self._set_command,
            "creator": self._set_creator,
            "event": self._add_event,
            "events": self._add_events,
            "part": self._begin_part,
            "pid": self._set_pid,
            "positions": self._set_positions,
            "summary": self._add_summary,
            "thread": self._set_thread,
            "totals": self._add_totals,
        }
        if match is None or (key not in takers and key not in _IGNORED):
            return False
        if key in takers:
            takers[key](to_text(match[2]).strip())
        return True

    def coefficients(self) -> type_int64:
        """int64 [metrics, columns]: what each column adds to each metric."""
        table = np.zeros((len(self.metrics), len(self.columns)), np.int64)
        table[self.columns, range(len(self.columns))] = 1
        by_name = {event.name: index for index, event in enumerate(self.metrics)}
        for index, event in enumerate(self.metrics):
            for sign, factor, name in _TERM.findall(event.formula or ""):
                # Events may be derived from events that were derived before them.
                if name in by_name and by_name[name] != index:
                    table[index] += int(factor or 1) * (-1 if sign == "-" else 1) * table[by_name[name]]
        return table

    def _set_positions(self, value: str) -> None:
        self.positions = tuple(dict.fromkeys(word for word in value.split() if word in _POSITIONS)) or ("line",)

    def _set_creator(self, value: str) -> None:
        self.creator = self.creator or value

    def _set_command(self, value: str) -> None:
        self.command = self.command or value

    def _begin_part(self, _value: str) -> None:
        self.thread = None  # `thread:` comes after `part:`, and only where threads are told apart

    def _set_pid(self, value: str) -> None:
        self.pid = _id(value)

    def _set_thread(self, value: str) -> None:
        self.thread = _id(value)

    def _add_events(self, value: str) -> None:
        self.said = {}
        names = list(dict.fromkeys(value.split()))[:_MAX_EVENTS]
        self.columns = [self._metric(name) for name in names]
        for name, formula in self._formulas.items():
            unknown = [term[2] for term in _TERM.findall(formula) if term[2] not in names and term[2] != name]
            if unknown and not set(unknown) <= self._formulas.keys():
                detail = f"the event {name} is derived from {unknown[0]}, which the file does not count"
                self.issues.add("unknown_event", "warning", detail, subject=name)
            self.metrics[self._metric(name)].formula = formula

    def _metric(self, name: str) -> int:
        for index, event in enumerate(self.metrics):
            if event.name == name:
                return index
        self.metrics.append(Event(name, self._units.get(name, "event")))
        return len(self.metrics) - 1

    def _add_event(self, value: str) -> None:
        match = _EVENT.fullmatch(value)
        if match is None or len(self._formulas) >= _MAX_EVENTS:
            return
        name, formula, label = match[1], match[2], match[3] or ""
        if unit := _UNIT.search(label):  # --collect-systime says it in the long name only
            self._units[name] = unit[1].removesuffix("ec")
        if formula and _TERM.match(formula.strip()):
            self._formulas[name] = formula.strip()
        for event in self.metrics:  # `event:` may come after `events:`
            if event.name == name:
                event.unit = self._units.get(name, event.unit)
        if formula and self.columns and name not in (event.name for event in self.metrics):
            self.metrics[self._metric(name)].formula = formula.strip()

    def _add_summary(self, value: str) -> None:
        self._say("summary", value)

    def _add_totals(self, value: str) -> None:
        self._say("totals", value)

    def _say(self, key: str, value: str) -> None:
        numbers = [_number(word) for word in value.split()]
        if not self.columns or None in numbers:
            return
        self.said[key] = {column: number or 0 for column, number in zip(self.columns, numbers, strict=False)}


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _id(text: str) -> int | None:
    number = _number(text)
    return number if number is not None and abs(number) < 1 << 31 else None
