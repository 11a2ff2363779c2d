"""Costs of single instructions (--dump-instr), as rows of `instruction_cost`.

There are as many as cost lines, so they pass through as columns, and nothing is looked up for them: an address that
has several lines has several rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, batch

_ROWS_A_BATCH = 1 << 20

_Rows = tuple[NDArray[np.int32], NDArray[np.uint64], int, NDArray[np.int64]]
"""frame, address, utid, values"""


class Instructions:
    """Gathers rows into large batches."""

    def __init__(self) -> None:
        self._rows: list[list[_Rows]] = []
        self._count = 0

    def add(self, frame: NDArray[np.int32], address: NDArray[np.uint64], utid: int, values: NDArray[np.int64]) -> None:
        """Add costs of instructions; `values` is int64 [metrics, instructions]."""
        while len(self._rows) < len(values):
            self._rows.append([])
        for rows, costs in zip(self._rows, values, strict=False):
            at = np.flatnonzero(costs)
            rows.append((frame[at], address[at], utid, costs[at]))
            self._count += len(at)

    def take_batches(self, least: int = _ROWS_A_BATCH) -> Iterator[Batch]:
        """The rows added since the last call, if there are at least so many."""
        if self._count < least:
            return
        for metric_id, rows in enumerate(self._rows):
            frame, address, value = (np.concatenate([row[column] for row in rows]) for column in (0, 1, 3))
            yield batch(
                "instruction_cost",
                frame_id=frame,
                address=address,
                utid=np.repeat(np.array([row[2] for row in rows], np.int32), [len(row[0]) for row in rows]),
                metric_id=np.full(len(value), metric_id, np.int32),
                value=value,
            )
        self._rows, self._count = [], 0
