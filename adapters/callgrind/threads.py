"""Processes and threads of a file: one process a `pid:`, one thread a `thread:`, or one for all where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from perfkit.adapters.contract import Batch, batch


class Threads:
    """Numbers threads by (pid, number). The numbers are Valgrind's own and not the kernel's, so `tid` stays null."""

    def __init__(self) -> None:
        self._ids: dict[tuple[int | None, int | None], int] = {}

    def find(self, pid: int | None, thread: int | None) -> int:
        """The thread's `utid`."""
        return self._ids.setdefault((pid, thread), len(self._ids))

    def batches(self, command: str | None) -> Iterator[Batch]:
        """Rows of `process` and `thread`."""
        if not self._ids:
            return
        words = (command or "").split()
        name = PurePosixPath(words[0]).name if words else None
        pids = list(dict.fromkeys(pid for pid, _ in self._ids))
        yield batch(
            "process",
            upid=list(range(len(pids))),
            pid=pids,
            name=[name] * len(pids),
            command=[command] * len(pids),
        )
        numbers = [thread for _, thread in self._ids]
        yield batch(
            "thread",
            utid=list(self._ids.values()),
            upid=[pids.index(pid) for pid, _ in self._ids],
            name=[name if number is None else f"{name or ''} thread {number}".strip() for number in numbers],
            is_main=[None if number is None else number == 1 for number in numbers],
        )
