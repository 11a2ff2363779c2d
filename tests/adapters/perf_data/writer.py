"""Writes perf.data files byte by byte, from include/uapi/linux/perf_event.h and perf.data-file-format.txt alone.

Nothing here is shared with the reader: what it decodes is held against what is given here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

PERFILE2, PERFFILE = b"PERFILE2", b"PERFFILE"

# enum perf_event_sample_format, in the order in which PERF_RECORD_SAMPLE holds the fields
IP, TID, TIME, ADDR, READ, CALLCHAIN, ID, CPU, PERIOD, STREAM_ID, RAW, BRANCH_STACK, REGS_USER, STACK_USER, WEIGHT = (
    1 << bit for bit in range(15)
)
DATA_SRC, IDENTIFIER, TRANSACTION, REGS_INTR, PHYS_ADDR, AUX, CGROUP, DATA_PAGE_SIZE, CODE_PAGE_SIZE, WEIGHT_STRUCT = (
    1 << bit for bit in range(15, 25)
)
# enum perf_event_read_format
ENABLED, RUNNING, READ_ID, GROUP, READ_LOST = (1 << bit for bit in range(5))
# enum perf_callchain_context
USER_CONTEXT, KERNEL_CONTEXT, HV_CONTEXT = 2**64 - 512, 2**64 - 128, 2**64 - 32
SAMPLE_ID_ALL, COMM_EXEC, USE_CLOCKID, FREQ = 1 << 18, 1 << 24, 1 << 25, 1 << 10
HW_INDEX = 1 << 17
KERNEL, USER, HYPERVISOR, GUEST_KERNEL, GUEST_USER = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Event:
    """struct perf_event_attr, with the ids and the name that the file gives it."""

    sample_type: int
    ids: tuple[int, ...] = (1,)
    name: str = ""
    type: int = 1
    config: int = 0
    period: int = 1000
    read_format: int = 0
    flags: int = SAMPLE_ID_ALL
    branch_sample_type: int = 0
    sample_regs_user: int = 0
    sample_stack_user: int = 0
    clockid: int = 0
    sample_regs_intr: int = 0
    sample_max_stack: int = 0

    def attr(self, order: str, size: int) -> bytes:
        """The first `size` bytes, zeros behind what is known."""
        # A bit-field fills from the least significant bit on little-endian machines, from the most on big-endian.
        flags = self.flags if order == "<" else int(f"{self.flags:064b}"[::-1], 2)
        known = struct.pack(
            order + "II5Q II QQ QQ IiQ IHH",
            self.type, size, self.config, self.period, self.sample_type, self.read_format, flags,
            0, 0, 0, 0, self.branch_sample_type, self.sample_regs_user,
            self.sample_stack_user, self.clockid, self.sample_regs_intr, 0, self.sample_max_stack, 0,
        )  # fmt: skip
        return known[:size].ljust(size, b"\0")


@dataclass(frozen=True)
class Read:
    """PERF_SAMPLE_READ: (id, value) of each member; more than one only with GROUP."""

    values: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sample:
    """What a PERF_RECORD_SAMPLE says; each field is written only where the event's sample_type names it."""

    id: int = 1
    ip: int = 0
    pid: int = 1
    tid: int = 1
    time: int = 0
    addr: int = 0
    stream_id: int = 0
    cpu: int = 0
    period: int = 1
    read: Read = Read(((1, 0),))
    callchain: tuple[int, ...] = ()
    raw: bytes = b""
    branches: tuple[tuple[int, int, int], ...] = ()
    regs_user: tuple[int, ...] | None = None
    """None for abi NONE: a kernel thread"""
    stack_user: bytes = b""
    stack_used: int = 0
    weight: int = 0
    data_src: int = 0
    transaction: int = 0
    regs_intr: tuple[int, ...] | None = None
    phys_addr: int = 0
    aux: bytes = b""
    cgroup: int = 0
    data_page_size: int = 0
    code_page_size: int = 0
    cpu_mode: int = USER


def record(order: str, kind: int, body: bytes, misc: int = 0, size: int | None = None) -> bytes:
    """struct perf_event_header and a body; `size` may lie."""
    return struct.pack(order + "IHH", kind, misc, 8 + len(body) if size is None else size) + body


def padded(data: bytes) -> bytes:
    """To a multiple of 8 bytes, as the kernel pads."""
    return data.ljust(len(data) + 7 & ~7, b"\0")


def text(name: str) -> bytes:
    """A NUL-terminated name, padded."""
    return padded(name.encode() + b"\0")


def sample(order: str, event: Event, what: Sample) -> bytes:  # noqa: C901 - a field after the other
    """PERF_RECORD_SAMPLE."""
    kind = event.sample_type
    out = bytearray()

    def put(bit: int, code: str, *values: int) -> None:
        if kind & bit:
            out.extend(struct.pack(order + code, *values))

    put(IDENTIFIER, "Q", what.id)
    put(IP, "Q", what.ip)
    put(TID, "ii", what.pid, what.tid)
    put(TIME, "Q", what.time)
    put(ADDR, "Q", what.addr)
    put(ID, "Q", what.id)
    put(STREAM_ID, "Q", what.stream_id)
    put(CPU, "II", what.cpu, 0)
    put(PERIOD, "Q", what.period)
    if kind & READ:
        out += _read(order, event.read_format, what.read)
    if kind & CALLCHAIN:
        out += struct.pack(f"{order}Q{len(what.callchain)}Q", len(what.callchain), *what.callchain)
    if kind & RAW:
        size = (len(what.raw) + 4 + 7 & ~7) - 4
        out += struct.pack(order + "I", size) + what.raw.ljust(size, b"\0")
    if kind & BRANCH_STACK:
        out += struct.pack(order + "Q", len(what.branches))
        out += struct.pack(order + "Q", 7) if event.branch_sample_type & HW_INDEX else b""
        for source, target, flags in what.branches:
            bits = flags if order == "<" else int(f"{flags:064b}"[::-1], 2)
            out += struct.pack(order + "3Q", source, target, bits)
    if kind & REGS_USER:
        out += _registers(order, what.regs_user)
    if kind & STACK_USER:
        out += struct.pack(order + "Q", len(what.stack_user)) + what.stack_user
        out += struct.pack(order + "Q", what.stack_used) if what.stack_user else b""
    put(WEIGHT | WEIGHT_STRUCT, "Q", what.weight)
    put(DATA_SRC, "Q", what.data_src)
    put(TRANSACTION, "Q", what.transaction)
    if kind & REGS_INTR:
        out += _registers(order, what.regs_intr)
    put(PHYS_ADDR, "Q", what.phys_addr)
    put(CGROUP, "Q", what.cgroup)
    put(DATA_PAGE_SIZE, "Q", what.data_page_size)
    put(CODE_PAGE_SIZE, "Q", what.code_page_size)
    if kind & AUX:
        out += struct.pack(order + "Q", len(what.aux)) + what.aux
    return record(order, 9, bytes(out), what.cpu_mode)


def _read(order: str, read_format: int, read: Read) -> bytes:
    # struct read_format { u64 value|nr; u64 time_enabled; u64 time_running; [u64 value;] u64 id; u64 lost; }
    times = [11] * bool(read_format & ENABLED) + [12] * bool(read_format & RUNNING)
    members = [
        [value] + [identity] * bool(read_format & READ_ID) + [5] * bool(read_format & READ_LOST)
        for identity, value in read.values
    ]
    if read_format & GROUP:
        words = [len(members), *times, *(word for member in members for word in member)]
    else:
        words = [members[0][0], *times, *members[0][1:]]
    return struct.pack(f"{order}{len(words)}Q", *words)


def _registers(order: str, values: tuple[int, ...] | None) -> bytes:
    if values is None:
        return struct.pack(order + "Q", 0)
    return struct.pack(f"{order}Q{len(values)}Q", 2, *values)


@dataclass(frozen=True)
class SampleId:
    """struct sample_id, which ends the other records where the event has sample_id_all."""

    pid: int = 1
    tid: int = 1
    time: int = 0
    id: int = 1
    stream_id: int = 0
    cpu: int = 0


@dataclass
class Writer:
    """Gathers records and writes them as a file, as a pipe, or as bare records for a folder."""

    events: Sequence[Event]
    order: str = "<"
    attr_size: int = 136
    magic: bytes = PERFILE2
    features: dict[int, bytes] = field(default_factory=dict)
    records: list[bytes] = field(default_factory=list)

    # --- records ------------------------------------------------------------------------------------------------------

    def add(self, kind: int, body: bytes, misc: int = 0, at: SampleId | None = None) -> None:
        """A record, with its sample_id if one is given."""
        self.records.append(record(self.order, kind, body + (self._trailer(at) if at else b""), misc))

    def sample(self, what: Sample, event: int = 0) -> None:
        self.records.append(sample(self.order, self.events[event], what))

    def pack(self, code: str, *values: int) -> bytes:
        return struct.pack(self.order + code, *values)

    def comm(self, pid: int, tid: int, name: str, time: int, *, is_exec: bool = False) -> None:
        self.add(3, self.pack("ii", pid, tid) + text(name), (1 << 13) * is_exec, SampleId(pid, tid, time))

    def fork(self, pid: int, parent: int, tid: int, parent_tid: int, time: int) -> None:
        self.add(7, self.pack("iiiiQ", pid, parent, tid, parent_tid, time), 0, SampleId(parent, parent_tid, time))

    def exit(self, pid: int, parent: int, tid: int, parent_tid: int, time: int) -> None:
        self.add(4, self.pack("iiiiQ", pid, parent, tid, parent_tid, time), 0, SampleId(pid, tid, time))

    def mmap(self, pid: int, start: int, length: int, offset: int, path: str, time: int, misc: int = USER) -> None:
        body = self.pack("iiQQQ", pid, pid, start, length, offset) + text(path)
        self.add(1, body, misc, SampleId(pid, pid, time))

    def mmap2(
        self, pid: int, start: int, length: int, offset: int, path: str, time: int,
        *, prot: int = 5, build_id: bytes | None = None,
    ) -> None:  # fmt: skip
        body = self.pack("iiQQQ", pid, pid, start, length, offset)
        if build_id is None:
            body += self.pack("IIQQ", 8, 1, 4711, 0)
        else:
            body += bytes([len(build_id), 0, 0, 0]) + build_id.ljust(20, b"\0")
        body += self.pack("II", prot, 2) + text(path)
        self.add(10, body, USER | (1 << 14) * (build_id is not None), SampleId(pid, pid, time))

    def finished_round(self) -> None:
        self.add(68, b"")

    # --- files --------------------------------------------------------------------------------------------------------

    def data(self) -> bytes:
        return b"".join(self.records)

    def to_file(self) -> bytes:
        """A whole file: header, ids, attributes, data, feature sections."""
        ids_at = 104
        ids = [self.pack(f"{len(event.ids)}Q", *event.ids) for event in self.events]
        attrs_at = ids_at + sum(len(part) for part in ids)
        entry_size = self.attr_size + 16
        attrs, at = b"", ids_at
        for event, part in zip(self.events, ids, strict=True):
            attrs += event.attr(self.order, self.attr_size) + self.pack("QQ", at, len(part))
            at += len(part)
        data_at, data = attrs_at + len(attrs), self.data()
        bits = sum(1 << bit for bit in self.features)
        bitmap = self.pack("4Q", *(bits >> shift & 2**64 - 1 for shift in (0, 64, 128, 192)))
        header = self._magic() + self.pack("QQ", 104, entry_size)
        header += self.pack("6Q", attrs_at, len(attrs), data_at, len(data), 0, 0) + bitmap
        return header + b"".join(ids) + attrs + data + self._feature_sections(data_at + len(data))

    def to_pipe(self) -> bytes:
        """A pipe: attributes, features and names as records before the others."""
        out = self._magic() + self.pack("Q", 16)
        for event in self.events:
            body = event.attr(self.order, self.attr_size) + self.pack(f"{len(event.ids)}Q", *event.ids)
            out += record(self.order, 64, body)
        for event in self.events:
            if event.name:
                body = self.pack("QQ", 2, event.ids[0]) + text(event.name)  # PERF_EVENT_UPDATE__NAME
                out += record(self.order, 78, body)
        for bit, data in self.features.items():
            out += record(self.order, 80, self.pack("Q", bit) + data)
        return out + self.data()

    def with_records(self, records: Sequence[bytes]) -> Writer:
        """The same head over other records."""
        return replace(self, records=list(records))

    def feature_text(self, value: str) -> bytes:
        """struct perf_header_string."""
        body = value.encode() + b"\0"
        body = body.ljust(len(body) + 63 & ~63, b"\0")
        return self.pack("I", len(body)) + body

    def event_desc(self) -> bytes:
        """HEADER_EVENT_DESC: the events again, with their names."""
        out = self.pack("II", len(self.events), self.attr_size)
        for event in self.events:
            out += event.attr(self.order, self.attr_size) + self.pack("I", len(event.ids))
            out += self.feature_text(event.name) + self.pack(f"{len(event.ids)}Q", *event.ids)
        return out

    def _feature_sections(self, table_at: int) -> bytes:
        table, body = b"", b""
        behind = table_at + 16 * len(self.features)
        for bit in sorted(self.features):
            table += self.pack("QQ", behind + len(body), len(self.features[bit]))
            body += self.features[bit]
        return table + body

    def _magic(self) -> bytes:
        return self.magic if self.order == "<" else self.magic[::-1]

    def _trailer(self, at: SampleId) -> bytes:
        kind = self.events[0].sample_type
        if not self.events[0].flags & SAMPLE_ID_ALL:
            return b""
        out = self.pack("ii", at.pid, at.tid) if kind & TID else b""
        out += self.pack("Q", at.time) if kind & TIME else b""
        out += self.pack("Q", at.id) if kind & ID else b""
        out += self.pack("Q", at.stream_id) if kind & STREAM_ID else b""
        out += self.pack("II", at.cpu, 0) if kind & CPU else b""
        return out + (self.pack("Q", at.id) if kind & IDENTIFIER else b"")


def compressed(writer: Writer, pieces: int, *, kind: int = 81) -> list[bytes]:
    """The writer's records as COMPRESSED (81) or COMPRESSED2 (83) records: one zstd frame that is never ended, cut
    into pieces without regard to records, as perf does when its buffer is full.
    """
    import zstandard

    packer = zstandard.ZstdCompressor(level=1).compressobj()
    data, out = writer.data(), []
    step = max(len(data) // pieces, 1)
    for begin in range(0, len(data), step):
        packed = packer.compress(data[begin : begin + step]) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for at in range(0, len(packed), 60_000):
            part = packed[at : at + 60_000]
            body = part if kind == 81 else writer.pack("Q", len(part)) + padded(part)
            out.append(record(writer.order, kind, body))
    return out
