"""Who lived when, under which name, with what mapped: answers for whole columns of (pid, tid, time).

The capture's COMM, FORK, EXIT and MMAP records are replayed once in time order. A FORK starts a new life of its tid
(and, where the pid differs from the parent's, of the pid), an EXIT ends it; but a life goes on answering for its tid
until the next one begins, as samples are still taken while a task exits. A life inherits its parent's name.

    tid 7   ├── life 3 "bash" ──┤ exit      ├── life 9 "cc" ──…
            fork                             fork (tid reused)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.perf_data.address_space import AddressSpaces
from perfkit.adapters.perf_data.sideband import Columns, SideBand

type_int64 = NDArray[np.int64]
type_int32 = NDArray[np.int32]

BEFORE = -1
"""Time of what was there when the capture began; the schema's null."""
_MAX_TABLE = 1 << 23
"""The kernel's own limit for pids is 2**22 (PID_MAX_LIMIT); anything above is looked up the slow way."""


@dataclass(slots=True)
class Lives:
    """Columns of `thread` and `process` while they grow; index is utid or upid."""

    pid: list[int] = field(default_factory=list)
    tid: list[int] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    """for threads the upid, for processes the parent's upid (-1 unknown)"""
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    name: list[str | None] = field(default_factory=list)

    def add(self, pid: int, tid: int, owner: int, start: int, name: str | None) -> int:
        """A new life; returns its id."""
        self.pid.append(pid)
        self.tid.append(tid)
        self.owner.append(owner)
        self.start.append(start)
        self.end.append(BEFORE)
        self.name.append(name)
        return len(self.pid) - 1


class Timeline:
    """Replays the side band, then answers which thread and which address space a sample belongs to."""

    def __init__(self, side_band: SideBand) -> None:
        self.threads = Lives()
        self.processes = Lives()
        self.names: list[tuple[int, int, str, bool]] = []
        """(utid, ts, name, given by exec) of every name taken"""
        self.spaces = AddressSpaces()
        self._thread_lives: dict[int, list[int]] = {}
        self._process_lives: dict[int, list[int]] = {}
        self._strangers: dict[tuple[int, int], int] = {}
        self._replay(side_band)
        self._by_tid = np.empty(0, np.int32)
        self._many = np.empty(0, bool)
        self._rebuild()

    def utids(self, pids: type_int32, tids: type_int32, times: type_int64) -> type_int32:
        """The life of each (pid, tid) at its time, int32 [n]. Threads that no record announced get lives too."""
        slots = np.clip(tids, -1, len(self._by_tid) - 2) + 1
        out = self._by_tid[slots]
        unsure = (out < 0) | self._many[slots] | (tids != slots - 1)
        known = self._pid_of_thread[np.maximum(out, 0)]
        unsure |= known != pids
        if unsure.any():
            at = np.flatnonzero(unsure)
            out = out.copy()
            out[at] = self._slow_utids(pids[at], tids[at], times[at])
        return out

    def spaces_of(self, utids: type_int32, times: type_int64) -> type_int32:
        """The address space each thread had at its time, int32 [n]."""
        upids = self._process_of_thread[utids]
        out = self._first_space[upids]
        changed = self._space_changes[upids]
        if changed.any():
            at = np.flatnonzero(changed)
            out = out.copy()
            for upid in np.unique(upids[at]).tolist():
                rows = at[upids[at] == upid]
                spans = self.spaces.of_process[upid]
                starts = np.array([start for start, _ in spans], np.int64)
                ids = np.array([space for _, space in spans], np.int32)
                out[rows] = ids[np.maximum(np.searchsorted(starts, times[rows], side="right") - 1, 0)]
        return out

    def _slow_utids(self, pids: type_int32, tids: type_int32, times: type_int64) -> type_int32:
        """Lives of tids that were reused, of threads that no record announced, and of tids whose recorded process is
        another than announced. One step per distinct (pid, tid), of which there are few.
        """
        out = np.empty(len(pids), np.int32)
        keys = pids.astype(np.int64) << 32 | tids.astype(np.int64) & 0xFFFFFFFF
        distinct, inverse = np.unique(keys, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[order], np.arange(len(distinct) + 1))
        is_new = False
        for index, key in enumerate(distinct.tolist()):
            rows = order[bounds[index] : bounds[index + 1]]
            pid, tid = key >> 32, (key & 0xFFFFFFFF) - (1 << 32 if key & 0x80000000 else 0)
            lives = [life for life in self._thread_lives.get(tid, []) if self.threads.pid[life] == pid]
            if not lives:
                is_new |= (pid, tid) not in self._strangers
                out[rows] = self._stranger(pid, tid)
                continue
            starts = np.array([self.threads.start[life] for life in lives], np.int64)
            found = np.maximum(np.searchsorted(starts, times[rows], side="right") - 1, 0)
            out[rows] = np.array(lives, np.int32)[found]
        if is_new:
            self._rebuild()
        return out

    def _stranger(self, pid: int, tid: int) -> int:
        """A thread seen only in samples: it ran, so it lives, but no record says since when or under what name."""
        if (pid, tid) not in self._strangers:
            name = "swapper" if pid == tid == 0 else None  # the idle task has no COMM record
            upid = self._process(pid, BEFORE)
            utid = self._new_thread(pid, tid, upid, BEFORE, name)
            self._strangers[pid, tid] = utid
        return self._strangers[pid, tid]

    def _rebuild(self) -> None:
        """The tables that columns are looked up in: the only life of each tid, or a mark that there are several."""
        threads = self.threads
        largest = max((tid for tid in self._thread_lives if 0 <= tid < _MAX_TABLE), default=0)
        self._by_tid = np.full(largest + 3, -1, np.int32)  # slot 0 is tid -1; the last slot stays empty
        self._many = np.zeros(largest + 3, bool)
        for tid, lives in self._thread_lives.items():
            if -1 <= tid < _MAX_TABLE:
                self._by_tid[tid + 1] = lives[-1]
                self._many[tid + 1] = len(lives) > 1
        self._pid_of_thread = np.array(threads.pid or [0], np.int32)
        self._process_of_thread = np.array(threads.owner or [0], np.int32)
        spans = self.spaces.of_process
        count = len(self.processes.pid)
        self._first_space = np.array([spans[upid][0][1] if upid in spans else -1 for upid in range(count)] or [-1],
                                     np.int32)  # fmt: skip
        self._space_changes = np.array([len(spans.get(upid, ())) > 1 for upid in range(count)] or [False], bool)

    # --- replay ---------------------------------------------------------------------------------------------------

    def _replay(self, side_band: SideBand) -> None:
        comm, task, mmap = (side_band.columns(name) for name in ("comm", "task", "mmap"))
        lists = {
            name: {key: values.tolist() for key, values in columns.items()}
            for name, columns in (("comm", comm), ("task", task), ("mmap", mmap))
        }
        handlers = {"comm": self._on_comm, "task": self._on_task, "mmap": self._on_mmap}
        for kind, index in _in_time_order({"comm": comm, "task": task, "mmap": mmap}):
            handlers[kind](lists[kind], index)

    def _on_comm(self, rows: dict[str, list[Any]], index: int) -> None:
        pid, tid, time, name = (rows[key][index] for key in ("pid", "tid", "time", "name"))
        is_exec = bool(int(rows["misc"][index]) & (1 << 13))
        utid = self._thread(pid, tid, time)
        self._name(utid, time, name, is_exec=is_exec)
        if is_exec and time > 0:
            self.spaces.renew(self.threads.owner[utid], time)

    def _on_task(self, rows: dict[str, list[Any]], index: int) -> None:
        numbers = (rows[key][index] for key in ("pid", "parent_pid", "tid", "parent_tid", "time"))
        pid, parent_pid, tid, parent_tid, time = (int(number) for number in numbers)
        if rows["is_fork"][index]:
            self._fork(pid, parent_pid, tid, parent_tid, time)
            return
        # A task that began while perf was still taking stock is known by its end only.
        utid = self._thread(pid, tid, BEFORE)
        self.threads.end[utid] = time
        if pid == tid:
            self.processes.end[self.threads.owner[utid]] = time

    def _fork(self, pid: int, parent_pid: int, tid: int, parent_tid: int, time: int) -> None:
        start = time if time > 0 else BEFORE
        lives = self._thread_lives.get(tid)
        if start == BEFORE and lives and self.threads.pid[lives[-1]] == pid:
            # perf describes tasks that were already there by FORKs at time 0; the life is known by now.
            self._adopt(self.threads.owner[lives[-1]], parent_pid, pid)
            return
        parent = self._thread_lives.get(parent_tid)
        name = self.threads.name[parent[-1]] if parent and start != BEFORE else None
        if pid == parent_pid:
            self._new_thread(pid, tid, self._process(pid, time), start, name)
            return
        parent_upid = self._process(parent_pid, BEFORE) if parent_pid >= 0 else -1
        upid = self._new_process(pid, parent_upid, start)
        if parent_upid >= 0:
            self.spaces.fork(parent_upid, upid, start)
        self._new_thread(pid, tid, upid, start, name)

    def _adopt(self, upid: int, parent_pid: int, pid: int) -> None:
        if self.processes.owner[upid] < 0 and parent_pid not in (pid, 0, -1):
            self.processes.owner[upid] = self._process(parent_pid, BEFORE)

    def _on_mmap(self, rows: dict[str, list[Any]], index: int) -> None:
        pid, time, start, length, offset, path, build_id, executable = (
            rows[key][index]
            for key in ("pid", "time", "start", "length", "file_offset", "path", "build_id", "executable")
        )
        cpu_mode = int(rows["misc"][index]) & 7
        if pid == -1 or cpu_mode in (1, 4):
            self.spaces.map_kernel(start, length, path, build_id, is_guest=cpu_mode == 4)
            return
        upid = self._process(pid, BEFORE)
        region = (start, min(start + length, 2**64 - 1), offset, path, build_id)
        self.spaces.map(upid, pid, region, time=time, executable=bool(executable))

    def _thread(self, pid: int, tid: int, time: int) -> int:
        lives = self._thread_lives.get(tid)
        if lives and self.threads.pid[lives[-1]] == pid:
            return lives[-1]
        start = BEFORE if not lives else time
        return self._new_thread(pid, tid, self._process(pid, start), start, None)

    def _process(self, pid: int, start: int) -> int:
        lives = self._process_lives.get(pid)
        return lives[-1] if lives else self._new_process(pid, -1, min(start, BEFORE))

    def _new_thread(self, pid: int, tid: int, upid: int, start: int, name: str | None) -> int:
        utid = self.threads.add(pid, tid, upid, start, None)
        self._thread_lives.setdefault(tid, []).append(utid)
        if name is not None:
            self._name(utid, start, name, is_exec=False)
        return utid

    def _new_process(self, pid: int, parent_upid: int, start: int) -> int:
        upid = self.processes.add(pid, pid, parent_upid, start, None)
        self._process_lives.setdefault(pid, []).append(upid)
        self.spaces.begin(upid, start)
        return upid

    def _name(self, utid: int, time: int, name: str, *, is_exec: bool) -> None:
        if self.threads.name[utid] == name and not is_exec:
            return
        self.threads.name[utid] = name
        if self.threads.pid[utid] == self.threads.tid[utid]:
            self.processes.name[self.threads.owner[utid]] = name
        # perf describes tasks that were already there by COMMs at time 0.
        self.names.append((utid, time if time > 0 else self.threads.start[utid], name, is_exec))


def _in_time_order(groups: dict[str, Columns]) -> list[tuple[str, int]]:
    """(kind, row) of all records by time, those of one time by their place in the file."""
    kinds = [kind for kind, columns in groups.items() if columns]
    if not kinds:
        return []
    times = np.concatenate([groups[kind]["time"] for kind in kinds])
    offsets = np.concatenate([groups[kind]["offset"] for kind in kinds])
    lengths = [len(groups[kind]["time"]) for kind in kinds]
    owner = np.repeat(np.arange(len(kinds)), lengths)
    rows = np.concatenate([np.arange(length) for length in lengths])
    order = np.lexsort((offsets, times))
    return [(kinds[k], r) for k, r in zip(owner[order].tolist(), rows[order].tolist(), strict=True)]
