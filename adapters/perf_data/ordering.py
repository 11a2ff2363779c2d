"""Puts samples into time order with bounded memory, as perf's own ordered-events queue does.

perf writes its per-CPU buffers out in rounds and ends each with a FINISHED_ROUND record: what comes after a round is
no older than the newest event of the round before it. So at the end of round n everything up to the newest time of
round n-1 may go (tools/perf/util/ordered-events.c, the comment at OE_FLUSH__ROUND).

    round 1 (newest 10) | round 2 (newest 20) | round 3 …
                                              ^ times up to 10 are complete
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]

FLUSH_ROWS = 1 << 18
"""Rows to gather before they are handed on: large enough that work per hand-over does not count."""


class TimeOrder:
    """Takes columns in file order, hands them on in time order. `time` is the column it sorts by."""

    def __init__(self) -> None:
        self._parts: list[Columns] = []
        self._rows = 0
        self._newest = -(2**63)
        self._round_end = -(2**63)
        self._complete_to = -(2**63)
        self._handed_to = -(2**63)
        self._rounds_somewhere = 0
        self._is_fresh = False
        self.late = 0
        """Rows that came after newer ones had been handed on: the capture's rounds did not hold."""

    def add(self, columns: Columns) -> None:
        """Take rows in file order."""
        if len(columns["time"]):
            self._parts.append(columns)
            self._rows += len(columns["time"])
            self._newest = max(self._newest, int(columns["time"].max()))
            self._is_fresh = True

    def end_round(self) -> None:
        """A FINISHED_ROUND was met."""
        self._complete_to = self._round_end
        self._round_end = self._newest

    def end_round_somewhere(self) -> None:
        """A FINISHED_ROUND lies somewhere between the rows of the last call of `add` and those of the one before (among
        compressed records its place is not known more closely). Two of them make one whose place is known to be after
        all rows of the pair before.
        """
        if not self._is_fresh:
            return
        self._rounds_somewhere += 1
        if self._rounds_somewhere == 2:
            self._rounds_somewhere = 0
            self._is_fresh = False
            self.end_round()

    def take(self, *, everything: bool = False, at_least: int = FLUSH_ROWS) -> Iterator[Columns]:
        """Rows that are complete, in time order, once there are `at_least` rows in all."""
        if not self._rows or (not everything and (self._rows < at_least or self._complete_to <= self._handed_to)):
            return
        merged = {key: np.concatenate([part[key] for part in self._parts]) for key in self._parts[0]}
        time = merged["time"]
        ready = np.ones(len(time), bool) if everything else time <= self._complete_to
        if not ready.any():
            self._parts = [merged]
            return
        self.late += int((time < self._handed_to).sum())
        order = np.argsort(time[ready], kind="stable")
        out = {key: values[ready][order] for key, values in merged.items()}
        self._parts = [{key: values[~ready] for key, values in merged.items()}]
        self._rows -= len(order)
        self._handed_to = max(self._handed_to, int(out["time"][-1]))
        yield out
