"""Decodes the SAMPLE records of a block, each field for all samples at once.

    header | identifier? ip? pid,tid? time? addr? id? stream_id? cpu,res? period? | read? callchain? raw? branches?
           | regs_user? stack_user? weight? data_src? transaction? regs_intr? phys_addr? cgroup? page sizes? aux?

Which fields there are, the attribute's `sample_type` says; the order is that of the comment at PERF_RECORD_SAMPLE in
include/uapi/linux/perf_event.h. Up to the first ragged field every field has the same place in all samples; behind it
a cursor per sample moves along.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.attributes import EventAttr
from perfkit.adapters.perf_data.walk import Block

type_int64 = NDArray[np.int64]
type_uint64 = NDArray[np.uint64]
type_int32 = NDArray[np.int32]

BRANCH_WORDS = 3
"""struct perf_branch_entry: from, to, flags."""


@dataclass(slots=True)
class ReadValues:
    """Counter values that samples carry (PERF_SAMPLE_READ), one row a member of the group."""

    sample: type_int64
    """Which sample of the block the value belongs to."""
    id: type_uint64
    value: type_uint64


@dataclass(slots=True)
class Samples:
    """The samples of one block that share a layout; arrays of one element a sample unless said otherwise. A field
    that the capture does not have is None. Addresses of ragged parts are word indices into `block.u64`.
    """

    block: Block
    starts: type_int64
    """Word index of each record."""
    cpu_mode: NDArray[np.uint8]
    """PERF_RECORD_MISC_CPUMODE: 1 kernel, 2 user, 3 hypervisor, 4 guest kernel, 5 guest user."""
    attr_index: type_int32
    """Which attribute of the file the sample belongs to."""
    ip: type_uint64 | None = None
    pid: type_int32 | None = None
    tid: type_int32 | None = None
    time: type_int64 | None = None
    """ns in the capture's clock"""
    addr: type_uint64 | None = None
    cpu: type_int32 | None = None
    period: type_int64 | None = None
    read: ReadValues | None = None
    chain_start: type_int64 | None = None
    chain_length: type_int64 | None = None
    raw_start: type_int64 | None = None
    """byte index of the RAW payload (tracepoint fields)"""
    raw_size: type_int64 | None = None
    """bytes"""
    branch_start: type_int64 | None = None
    branch_count: type_int64 | None = None
    regs_user_abi: type_uint64 | None = None
    regs_user_start: type_int64 | None = None
    stack_user_start: type_int64 | None = None
    stack_user_size: type_int64 | None = None
    """bytes of the dump that the kernel really filled (dyn_size)"""
    weight: type_uint64 | None = None
    data_src: type_uint64 | None = None
    transaction: type_uint64 | None = None
    phys_addr: type_uint64 | None = None
    cgroup: type_uint64 | None = None
    data_page_size: type_uint64 | None = None
    code_page_size: type_uint64 | None = None
    damaged: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """Whether a field reaches past the record's end; such samples are not to be used."""

    def __len__(self) -> int:
        return len(self.starts)


def decode_samples(  # noqa: C901, PLR0912 - one step a field
    block: Block, starts: type_int64, attr: EventAttr, attr_index: type_int32
) -> Samples:
    """Decode the SAMPLE records at `starts`, which all have the layout of `attr`."""
    cursor = _Cursor(block, starts)
    out = Samples(
        block=block,
        starts=starts,
        cpu_mode=(block.misc(starts) & abi.MISC_CPUMODE_MASK).astype(np.uint8),
        attr_index=attr_index,
    )
    kind = attr.sample_type
    _decode_fixed(cursor, kind, out)
    if kind & abi.SAMPLE_READ:
        out.read = _decode_read(cursor, attr.read_format)
    if kind & abi.SAMPLE_CALLCHAIN:
        out.chain_start, out.chain_length = cursor.counted(1)
    if kind & abi.SAMPLE_RAW:
        _decode_raw(cursor, out)
    if kind & abi.SAMPLE_BRANCH_STACK:
        _decode_branches(cursor, attr.branch_sample_type, out)
    if kind & abi.SAMPLE_REGS_USER:
        out.regs_user_abi, out.regs_user_start = cursor.registers(attr.sample_regs_user)
    if kind & abi.SAMPLE_STACK_USER:
        _decode_stack(cursor, out)
    if kind & (abi.SAMPLE_WEIGHT | abi.SAMPLE_WEIGHT_STRUCT):
        out.weight = cursor.word()
    if kind & abi.SAMPLE_DATA_SRC:
        out.data_src = cursor.word()
    if kind & abi.SAMPLE_TRANSACTION:
        out.transaction = cursor.word()
    if kind & abi.SAMPLE_REGS_INTR:
        cursor.registers(attr.sample_regs_intr)
    if kind & abi.SAMPLE_PHYS_ADDR:
        out.phys_addr = cursor.word()
    if kind & abi.SAMPLE_CGROUP:
        out.cgroup = cursor.word()
    if kind & abi.SAMPLE_DATA_PAGE_SIZE:
        out.data_page_size = cursor.word()
    if kind & abi.SAMPLE_CODE_PAGE_SIZE:
        out.code_page_size = cursor.word()
    out.damaged = cursor.damaged
    return out


class _Cursor:
    """Where the next field of each sample lies. A read past a record's end marks the sample damaged and yields 0."""

    def __init__(self, block: Block, starts: type_int64) -> None:
        self.block = block
        self.at = starts + 1
        self.ends = starts + block.sizes(starts)
        self.damaged = np.zeros(len(starts), bool)
        self._last = len(block.u64) - 1

    def word(self) -> type_uint64:
        """The next 64-bit field of each sample."""
        return self.block.take(self.skip(1))

    def halves(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """The next two 32-bit fields of each sample."""
        at = self.skip(1) * 2
        return self.block.take32(at), self.block.take32(at + 1)

    def skip(self, words: int | type_int64) -> type_int64:
        """Move on by `words` and return where each sample stood; damaged ones stand still."""
        was = self.at
        moved = was + words
        over = (moved > self.ends) | (moved < was)
        if over.any():
            self.damaged |= over
            moved = np.where(over, self.ends, moved)
            was = np.minimum(was, self._last)
        self.at = moved
        return was

    def counted(self, words_each: int, *, extra: int = 0) -> tuple[type_int64, type_int64]:
        """A `u64 nr` followed by `extra` words and `nr` elements of `words_each`: starts and counts."""
        counts = self._bounded(self.word())
        self.skip(extra)
        starts = self.skip(counts * words_each)
        counts[self.damaged] = 0
        return starts, counts

    def registers(self, mask: int) -> tuple[type_uint64, type_int64]:
        """`u64 abi` and, where that is not 0, a word for each bit of `mask`."""
        abis = self.word()
        starts = self.skip(np.where(abis != 0, mask.bit_count(), 0))
        return abis, starts

    def _bounded(self, counts: type_uint64) -> type_int64:
        # A count that damage made huge must not wrap around when it is multiplied.
        return np.minimum(counts, np.uint64(1 << 32)).astype(np.int64)


def _decode_fixed(cursor: _Cursor, kind: int, out: Samples) -> None:
    if kind & abi.SAMPLE_IDENTIFIER:
        cursor.skip(1)
    if kind & abi.SAMPLE_IP:
        out.ip = cursor.word()
    if kind & abi.SAMPLE_TID:
        pid, tid = cursor.halves()
        out.pid, out.tid = pid.view(np.int32), tid.view(np.int32)
    if kind & abi.SAMPLE_TIME:
        out.time = cursor.word().view(np.int64)
    if kind & abi.SAMPLE_ADDR:
        out.addr = cursor.word()
    if kind & abi.SAMPLE_ID:
        cursor.skip(1)
    if kind & abi.SAMPLE_STREAM_ID:
        cursor.skip(1)
    if kind & abi.SAMPLE_CPU:
        out.cpu = cursor.halves()[0].view(np.int32)
    if kind & abi.SAMPLE_PERIOD:
        out.period = cursor.word().view(np.int64)


def _decode_read(cursor: _Cursor, read_format: int) -> ReadValues:
    times = bool(read_format & abi.READ_TOTAL_TIME_ENABLED) + bool(read_format & abi.READ_TOTAL_TIME_RUNNING)
    has_id = bool(read_format & abi.READ_ID)
    width = 1 + has_id + bool(read_format & abi.READ_LOST)
    samples = np.arange(len(cursor.at))
    if not read_format & abi.READ_GROUP:
        value = cursor.word()
        cursor.skip(times)
        ids = cursor.word() if has_id else np.zeros(len(samples), np.uint64)
        cursor.skip(int(bool(read_format & abi.READ_LOST)))
        return ReadValues(samples, ids, value)
    starts, counts = cursor.counted(width, extra=times)
    sample = np.repeat(samples, counts)
    within = np.arange(len(sample)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = starts[sample] + within * width
    ids = cursor.block.take(at + 1) if has_id else np.zeros(len(sample), np.uint64)
    return ReadValues(sample, ids, cursor.block.take(at))


def _decode_raw(cursor: _Cursor, out: Samples) -> None:
    # u32 size; char data[size]: the size field and the data together are padded to 8 bytes by the kernel.
    at = cursor.at
    size, _ = cursor.halves()
    out.raw_size = size.astype(np.int64)
    out.raw_start = at * 8 + 4
    cursor.at = cursor.at - 1
    cursor.skip((out.raw_size + 4 + 7) // 8)
    out.raw_size[cursor.damaged] = 0


def _decode_branches(cursor: _Cursor, branch_sample_type: int, out: Samples) -> None:
    has_index = bool(branch_sample_type & abi.BRANCH_HW_INDEX)
    out.branch_start, out.branch_count = cursor.counted(BRANCH_WORDS, extra=int(has_index))
    if branch_sample_type & abi.BRANCH_COUNTERS:
        cursor.skip(out.branch_count)


def _decode_stack(cursor: _Cursor, out: Samples) -> None:
    # u64 size; if size: char data[size], u64 dyn_size
    size = np.minimum(cursor.word(), np.uint64(1 << 32)).astype(np.int64)
    out.stack_user_start = cursor.skip(size // 8)
    behind = cursor.skip((size > 0).astype(np.int64))
    # A sample without a dump has no dyn_size either, and may end with the block.
    dynamic = cursor.block.take(np.where(size > 0, behind, 0)).astype(np.int64)
    out.stack_user_size = np.where((size > 0) & ~cursor.damaged, np.clip(dynamic, 0, size), 0)
