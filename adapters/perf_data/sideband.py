"""Collects the records that are no samples: who lived when, what was mapped, what was lost.

Their bodies are fixed words, a file name in some, and at the end (with `sample_id_all`) the sample_id fields
`{ u32 pid, tid; u64 time; u64 id; u64 stream_id; u32 cpu, res; u64 identifier }` as far as `sample_type` names them.
Layouts: include/uapi/linux/perf_event.h, enum perf_event_type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.columns import gather_strings
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.attributes import EventAttr
from perfkit.adapters.perf_data.stream import Records
from perfkit.adapters.perf_data.walk import Block

type_int64 = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

_TRAILER = (
    (abi.SAMPLE_TID, "trailer_tid"),
    (abi.SAMPLE_TIME, "time"),
    (abi.SAMPLE_ID, "id"),
    (abi.SAMPLE_STREAM_ID, ""),
    (abi.SAMPLE_CPU, "cpu"),
    (abi.SAMPLE_IDENTIFIER, "id"),
)


@dataclass(slots=True)
class SideBand:
    """All records of the capture that are no samples, as columns by record type; and how many there were of each."""

    attrs: list[EventAttr]
    counts: Counter[int] = field(default_factory=Counter)
    first_offset: dict[int, int] = field(default_factory=dict)
    _parts: dict[str, list[Columns]] = field(default_factory=dict)

    def collect(self, records: Records) -> None:
        """Take what is of interest out of a block of records; the block may be used again afterwards."""
        block, starts = records.block, records.starts
        kinds = block.types(starts)
        for kind, count in _count(kinds):
            self.counts[kind] += count
            if kind == abi.RECORD["SAMPLE"]:
                continue
            of_kind = starts[kinds == kind]
            self.first_offset.setdefault(kind, records.offset + int(of_kind[0]) * 8)
            decoder = _DECODERS.get(abi.RECORD_NAMES.get(kind, ""))
            if decoder is None:
                continue
            name, decode, words = decoder
            of_kind = of_kind[block.sizes(of_kind) > words]
            columns = decode(block, of_kind, self._trailer_words())
            columns |= self._decode_trailer(block, of_kind, columns)
            columns["misc"] = block.misc(of_kind)
            columns["offset"] = records.offset + of_kind * 8
            self._parts.setdefault(name, []).append(columns)

    def columns(self, name: str) -> Columns:
        """The collected records of one kind (`mmap`, `comm`, `task` …), in file order; empty where there are none."""
        parts = self._parts.get(name, [])
        if not parts:
            return {}
        merged = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        self._parts[name] = [merged]
        return merged

    def _trailer_words(self) -> int:
        attr = self.attrs[0] if self.attrs else None
        if attr is None or not attr.sample_id_all:
            return 0
        return sum(bool(attr.sample_type & bit) for bit, _ in _TRAILER)

    def _decode_trailer(self, block: Block, starts: type_int64, columns: Columns) -> Columns:
        """The sample_id fields at the end of the records; zeros where the capture has none. A capture's attributes
        agree in these fields, as the kernel cannot tell records apart otherwise (perf_evlist__valid_sample_id_all).
        """
        words = self._trailer_words()
        at = np.maximum(starts + block.sizes(starts) - words, starts)
        out: Columns = {
            "time": columns.get("time", np.zeros(len(starts), np.int64)),
            "cpu": np.full(len(starts), -1, np.int32),
            "trailer_pid": np.full(len(starts), -1, np.int32),
            "trailer_tid": np.full(len(starts), -1, np.int32),
            "id": np.zeros(len(starts), np.uint64),
        }
        if not words:
            return out
        for bit, name in _TRAILER:
            if not self.attrs[0].sample_type & bit:
                continue
            if name == "trailer_tid":
                out["trailer_pid"] = block.take32(at * 2).view(np.int32)
                out["trailer_tid"] = block.take32(at * 2 + 1).view(np.int32)
            elif name == "time":
                out["time"] = block.take(at).view(np.int64)
            elif name == "cpu":
                out["cpu"] = block.take32(at * 2).view(np.int32)
            elif name == "id":
                out["id"] = block.take(at)
            at = at + 1
        return out


def _count(kinds: NDArray[np.uint32]) -> list[tuple[int, int]]:
    """The record types that occur and how often, ascending."""
    if not len(kinds) or kinds.max() >= 1 << 16:
        present, counts = np.unique(kinds, return_counts=True)
        return list(zip(present.tolist(), counts.tolist(), strict=True))
    by_kind = np.bincount(kinds)
    return [(kind, int(by_kind[kind])) for kind in np.flatnonzero(by_kind).tolist()]


def _pid_tid(block: Block, starts: type_int64) -> Columns:
    return {
        "pid": block.take32(starts * 2 + 2).view(np.int32),
        "tid": block.take32(starts * 2 + 3).view(np.int32),
    }


def _strings(block: Block, starts: type_int64, word: int, trailer: int) -> NDArray[np.object_]:
    """NUL-terminated text from word `word` of each record up to its trailer."""
    limits = (starts + np.maximum(block.sizes(starts) - trailer, word)) * 8
    return np.array(gather_strings(block.u8, (starts + word) * 8, limits).to_pylist(), object)


def _decode_comm(block: Block, starts: type_int64, trailer: int) -> Columns:
    return _pid_tid(block, starts) | {"name": _strings(block, starts, 2, trailer)}


def _decode_task(block: Block, starts: type_int64, _trailer: int) -> Columns:
    return {
        "is_fork": block.types(starts) == abi.RECORD["FORK"],
        "pid": block.take32(starts * 2 + 2).view(np.int32),
        "parent_pid": block.take32(starts * 2 + 3).view(np.int32),
        "tid": block.take32(starts * 2 + 4).view(np.int32),
        "parent_tid": block.take32(starts * 2 + 5).view(np.int32),
        "time": block.take(starts + 3).view(np.int64),
    }


def _mapped(block: Block, starts: type_int64) -> Columns:
    return _pid_tid(block, starts) | {
        "start": block.take(starts + 2),
        "length": block.take(starts + 3),
        "file_offset": block.take(starts + 4),
    }


def _decode_mmap(block: Block, starts: type_int64, trailer: int) -> Columns:
    return _mapped(block, starts) | {
        "executable": np.ones(len(starts), bool),
        "build_id": np.full(len(starts), None, object),
        "path": _strings(block, starts, 5, trailer),
    }


def _decode_mmap2(block: Block, starts: type_int64, trailer: int) -> Columns:
    prot = block.take32(starts * 2 + 16)
    has_build_id = np.flatnonzero(block.misc(starts) & abi.MISC_MMAP_BUILD_ID)
    build_ids = np.full(len(starts), None, object)
    for index in has_build_id.tolist():  # u8 size, 3 reserved bytes, u8 build_id[20]
        at = int(starts[index]) * 8 + 40
        size = min(int(block.u8[at]), 20)
        build_ids[index] = block.u8[at + 4 : at + 4 + size].tobytes().hex()
    return _mapped(block, starts) | {
        "executable": (prot & 4) != 0,  # PROT_EXEC
        "build_id": build_ids,
        "path": _strings(block, starts, 9, trailer),
    }


def _decode_lost(block: Block, starts: type_int64, _trailer: int) -> Columns:
    return {"event_id": block.take(starts + 1), "lost": block.take(starts + 2)}


def _decode_lost_samples(block: Block, starts: type_int64, _trailer: int) -> Columns:
    return {"lost": block.take(starts + 1)}


def _decode_throttle(block: Block, starts: type_int64, _trailer: int) -> Columns:
    return {
        "is_throttle": block.types(starts) == abi.RECORD["THROTTLE"],
        "time": block.take(starts + 1).view(np.int64),
        "event_id": block.take(starts + 2),
        "stream_id": block.take(starts + 3),
    }


def _decode_switch(_block: Block, starts: type_int64, _trailer: int) -> Columns:
    none = np.full(len(starts), -1, np.int32)
    return {"other_pid": none, "other_tid": none}


def _decode_switch_cpu_wide(block: Block, starts: type_int64, _trailer: int) -> Columns:
    both = _pid_tid(block, starts)
    return {"other_pid": both["pid"], "other_tid": both["tid"]}


def _decode_namespaces(block: Block, starts: type_int64, _trailer: int) -> Columns:
    # pid, tid; u64 nr; { u64 dev, inode } each: net, uts, ipc, pid, user, mnt, cgroup
    counts = np.minimum(block.take(starts + 2), np.uint64(16)).astype(np.int64)
    room = np.maximum(block.sizes(starts) - 3, 0) // 2
    counts = np.minimum(counts, room)
    columns = _pid_tid(block, starts)
    for index, name in enumerate(("net", "uts", "ipc", "pid", "user", "mnt", "cgroup")):
        has = counts > index
        inode = np.zeros(len(starts), np.uint64)
        inode[has] = block.take(starts[has] + 4 + 2 * index)
        columns[f"{name}_namespace"] = inode
    return columns


def _decode_cgroup(block: Block, starts: type_int64, trailer: int) -> Columns:
    return {"cgroup_id": block.take(starts + 1), "path": _strings(block, starts, 2, trailer)}


def _decode_ksymbol(block: Block, starts: type_int64, trailer: int) -> Columns:
    # u64 addr; u32 len; u16 ksym_type; u16 flags; char name[]
    return {
        "address": block.take(starts + 1),
        "length": block.take32(starts * 2 + 4),
        "kind": block.u16[starts * 4 + 10].astype(np.uint16, copy=False),
        "is_unregister": (block.u16[starts * 4 + 11] & 1) != 0,
        "name": _strings(block, starts, 3, trailer),
    }


def _decode_bpf(block: Block, starts: type_int64, _trailer: int) -> Columns:
    # u16 type; u16 flags; u32 id; u8 tag[8]
    return {
        "kind": block.u16[starts * 4 + 4].astype(np.uint16, copy=False),
        "bpf_id": block.take32(starts * 2 + 3),
        "tag": np.array([block.u8[s * 8 + 16 : s * 8 + 24].tobytes().hex() for s in starts.tolist()], object),
    }


def _decode_text_poke(block: Block, starts: type_int64, _trailer: int) -> Columns:
    # u64 addr; u16 old_len; u16 new_len; u8 bytes[]
    return {
        "address": block.take(starts + 1),
        "old_length": block.u16[starts * 4 + 8].astype(np.uint16, copy=False),
        "new_length": block.u16[starts * 4 + 9].astype(np.uint16, copy=False),
    }


def _decode_aux(block: Block, starts: type_int64, _trailer: int) -> Columns:
    return {"aux_size": block.take(starts + 2)}


def _decode_auxtrace(block: Block, starts: type_int64, _trailer: int) -> Columns:
    return {"trace_size": block.take(starts + 1)}


Decoder = Callable[[Block, type_int64, int], Columns]
_DECODERS: dict[str, tuple[str, Decoder, int]] = {
    # record: (columns it lands in, decoder, words it has at least)
    "COMM": ("comm", _decode_comm, 2),
    "FORK": ("task", _decode_task, 3),
    "EXIT": ("task", _decode_task, 3),
    "MMAP": ("mmap", _decode_mmap, 5),
    "MMAP2": ("mmap", _decode_mmap2, 9),
    "LOST": ("lost", _decode_lost, 2),
    "LOST_SAMPLES": ("lost_samples", _decode_lost_samples, 1),
    "THROTTLE": ("throttle", _decode_throttle, 3),
    "UNTHROTTLE": ("throttle", _decode_throttle, 3),
    "SWITCH": ("switch", _decode_switch, 0),
    "SWITCH_CPU_WIDE": ("switch", _decode_switch_cpu_wide, 1),
    "NAMESPACES": ("namespaces", _decode_namespaces, 2),
    "CGROUP": ("cgroup", _decode_cgroup, 2),
    "KSYMBOL": ("ksymbol", _decode_ksymbol, 3),
    "BPF_EVENT": ("bpf", _decode_bpf, 2),
    "TEXT_POKE": ("text_poke", _decode_text_poke, 2),
    "AUX": ("aux", _decode_aux, 3),
    "AUXTRACE": ("auxtrace", _decode_auxtrace, 2),
}
