"""Processes and threads out of the start of each line, and out of the side-band records where they were printed.

A line says `comm`, and `pid/tid`, or `tid` alone: the default fields print no pid. A thread whose pid is nowhere to be
seen gets a process row of its own, with a null pid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, batch
from perfkit.adapters.text import to_text

_WHO = re.compile(rb"(?:(.*?)[ \t]+)?(-?\d+)(?:/(-?\d+))?\Z", re.DOTALL)


@dataclass(slots=True)
class _Process:
    pid: int | None
    parent_upid: int | None = None
    start_ts: int | None = None
    end_ts: int | None = None


@dataclass(slots=True)
class _Thread:
    upid: int
    tid: int | None
    start_ts: int | None = None
    end_ts: int | None = None


class Threads:
    """Hands out `labels`: a label is a thread under one of its names. `label_utid` and `label_name` tell them apart."""

    def __init__(self, *, has_ids: bool) -> None:
        self._has_ids = has_ids
        self._processes: list[_Process] = []
        self._threads: list[_Thread] = []
        self._upid_of_pid: dict[int, int] = {}
        self._utid_of_tid: dict[int, int] = {}
        self._utid_of_comm: dict[str, int] = {}
        self._label_of_who: dict[bytes, int] = {}
        self._label_of_name: dict[tuple[int, str], int] = {}
        self.label_utid: list[int] = []
        self.label_name: list[str] = []

    @property
    def threads_without_pid(self) -> int:
        """Threads whose process the text does not tell."""
        return sum(self._processes[thread.upid].pid is None for thread in self._threads)

    @property
    def count(self) -> int:
        """Threads known by now."""
        return len(self._threads)

    def labels(self, whos: list[bytes]) -> list[int]:
        """A label for each start of a line."""
        known = self._label_of_who
        return [known[who] if who in known else self._add_label(who) for who in whos]

    def name(self, utid: int, name: str) -> int:
        """The label of a thread under a name."""
        label = self._label_of_name.setdefault((utid, name), len(self.label_utid))
        if label == len(self.label_utid):
            self.label_utid.append(utid)
            self.label_name.append(name)
        return label

    def find(self, pid: int | None, tid: int) -> int:
        """The utid of the thread that has this tid now."""
        utid = self._utid_of_tid.get(tid)
        if utid is not None:
            process = self._processes[self._threads[utid].upid]
            if pid is None or process.pid in (pid, None):
                if process.pid is None and pid is not None:
                    self._threads[utid].upid = self.upid(pid)
                return utid
        # A tid that turns up in another process is a new thread.
        return self._begin(pid, tid)

    def fork(self, child: tuple[int, int], parent: tuple[int, int], ts: int | None) -> None:
        """A thread begins; with a pid of its own, a process too. (PERF_RECORD_FORK; pairs are pid and tid.)"""
        pid, tid = child
        if pid == tid:
            self._upid_of_pid.pop(pid, None)
            process = self._processes[self.upid(pid)]
            process.parent_upid = self.upid(parent[0])
            process.start_ts = ts
        if tid in self._utid_of_tid:
            self._label_of_who.clear()  # lines that name this tid mean another thread from now on
        self._threads[self._begin(pid, tid)].start_ts = ts

    def exit(self, who: tuple[int, int], ts: int | None) -> None:
        """A thread ends (PERF_RECORD_EXIT)."""
        pid, tid = who
        utid = self.find(pid, tid)
        self._threads[utid].end_ts = ts
        if pid == tid:
            self._processes[self.upid(pid)].end_ts = ts

    def _add_label(self, who: bytes) -> int:
        match = _WHO.match(who) if self._has_ids else None
        if match is None:
            label = self._add_comm_only(to_text(who).strip())
        else:
            comm, first, second = match.groups()
            pid = int(first) if second is not None else None
            tid = int(second if second is not None else first)
            label = self.name(self.find(pid, tid), to_text(comm or b""))
        self._label_of_who[who] = label
        return label

    def _add_comm_only(self, comm: str) -> int:
        """Without ids, threads of one name are one thread to us."""
        if comm not in self._utid_of_comm:
            self._utid_of_comm[comm] = self._begin(None, None)
        return self.name(self._utid_of_comm[comm], comm)

    def _begin(self, pid: int | None, tid: int | None) -> int:
        utid = len(self._threads)
        self._threads.append(_Thread(self.upid(pid), tid))
        if tid is not None:
            self._utid_of_tid[tid] = utid
        return utid

    def upid(self, pid: int | None) -> int:
        """The upid of the process that has this pid now; a new one where the pid is not known."""
        upid = None if pid is None else self._upid_of_pid.get(pid)
        if upid is None:
            upid = len(self._processes)
            self._processes.append(_Process(pid))
            if pid is not None:
                self._upid_of_pid[pid] = upid
        return upid

    def to_batches(self, names: list[str | None]) -> list[Batch]:
        """Rows of `process` and `thread`; `names` is the last name of each thread."""
        threads, processes = self._threads, self._processes
        pids = [processes[t.upid].pid for t in threads]
        mains = [None if pid is None else pid == t.tid for pid, t in zip(pids, threads, strict=True)]
        used = {t.upid for t in threads}
        process_names: list[str | None] = [None] * len(processes)
        for thread, name, is_main in zip(threads, names, mains, strict=True):
            # The main thread names its process; where it was not seen, any thread's name is better than none.
            if is_main or process_names[thread.upid] is None:
                process_names[thread.upid] = name
        kept = [upid for upid, process in enumerate(processes) if upid in used or process.pid is not None]
        return [
            batch(
                "process",
                upid=pa.array(kept, pa.int32()),
                pid=pa.array([processes[upid].pid for upid in kept], pa.int32()),
                name=pa.array([process_names[upid] for upid in kept], pa.string()),
                parent_upid=pa.array([processes[upid].parent_upid for upid in kept], pa.int32()),
                start_ts=pa.array([processes[upid].start_ts for upid in kept], pa.int64()),
                end_ts=pa.array([processes[upid].end_ts for upid in kept], pa.int64()),
            ),
            batch(
                "thread",
                utid=np.arange(len(threads), dtype=np.int32),
                upid=pa.array([t.upid for t in threads], pa.int32()),
                tid=pa.array([t.tid for t in threads], pa.int32()),
                name=pa.array(names, pa.string()),
                is_main=pa.array(mains, pa.bool_()),
                start_ts=pa.array([t.start_ts for t in threads], pa.int64()),
                end_ts=pa.array([t.end_ts for t in threads], pa.int64()),
            ),
        ]

    def start_of(self, utid: int) -> int | None:
        """When the thread began, where a FORK said so."""
        return self._threads[utid].start_ts


def name_changes(utids: NDArray[np.int32], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Positions, of rows in time order, at which a thread has another label than at its row before."""
    order = np.argsort(utids, kind="stable")
    ordered_utids, ordered_labels = utids[order], labels[order]
    changes = np.ones(len(order), bool)
    changes[1:] = (ordered_utids[1:] != ordered_utids[:-1]) | (ordered_labels[1:] != ordered_labels[:-1])
    positions: NDArray[np.int64] = np.sort(order[changes])
    return positions
