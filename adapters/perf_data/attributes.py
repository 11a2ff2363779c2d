"""perf_event_attr: what one event counts and which fields its records carry.

    offset  field                       (include/uapi/linux/perf_event.h; PERF_ATTR_SIZE_VER0 is 64 bytes)
       0    type u32, size u32
       8    config u64
      16    sample_period / sample_freq u64
      24    sample_type u64
      32    read_format u64
      40    flags u64                   disabled, inherit, … one bit each, precise_ip two
      48    wakeup_events u32, bp_type u32
      56    bp_addr / config1 u64
      64    bp_len / config2 u64        VER1, 72 bytes
      72    branch_sample_type u64      VER2, 80
      80    sample_regs_user u64        VER3, 96
      88    sample_stack_user u32, clockid s32
      96    sample_regs_intr u64        VER4, 104
     104    aux_watermark u32, sample_max_stack u16   VER5, 112
     …      aux_sample_size, sig_data, config3, config4: nothing here that records depend on

Files may hold attributes shorter or longer than any kernel's: what is missing reads as zero, what is too much is left.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from perfkit.adapters.perf_data import abi

MIN_SIZE = 64
"""PERF_ATTR_SIZE_VER0."""
_KNOWN_SIZE = 112

_FLAG_EXCLUDE_USER = 1 << 4
_FLAG_EXCLUDE_KERNEL = 1 << 5
_FLAG_EXCLUDE_HV = 1 << 6
_FLAG_FREQ = 1 << 10
_FLAG_SAMPLE_ID_ALL = 1 << 18
_FLAG_EXCLUDE_HOST = 1 << 19
_FLAG_EXCLUDE_GUEST = 1 << 20
_FLAG_USE_CLOCKID = 1 << 25
_PRECISE_SHIFT = 15

_HARDWARE = (
    "cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branches",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
)
_SOFTWARE = (
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
    "cgroup-switches",
)
_CACHES = ("L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node")
_CACHE_OPERATIONS = (("load", "loads"), ("store", "stores"), ("prefetch", "prefetches"))
TYPE_HARDWARE, TYPE_SOFTWARE, TYPE_TRACEPOINT, TYPE_HW_CACHE, TYPE_RAW, TYPE_BREAKPOINT = range(6)


@dataclass(slots=True)
class EventAttr:
    """One event of the capture; `ids` are the kernel's ids of its instances (one a CPU or thread)."""

    type: int
    size: int
    config: int
    period_or_frequency: int
    sample_type: int
    read_format: int
    flags: int
    branch_sample_type: int = 0
    sample_regs_user: int = 0
    sample_stack_user: int = 0
    clockid: int = 0
    sample_regs_intr: int = 0
    sample_max_stack: int = 0
    ids: list[int] = field(default_factory=list)
    name: str = ""

    @property
    def sample_id_all(self) -> bool:
        """Whether records other than samples end with the fields that say when, where and who."""
        return bool(self.flags & _FLAG_SAMPLE_ID_ALL)

    @property
    def by_frequency(self) -> bool:
        """Whether `period_or_frequency` is a frequency in Hz."""
        return bool(self.flags & _FLAG_FREQ)

    @property
    def clock(self) -> str:
        """Clock of its times: the one asked for with `-k`, else perf's own (the kernel's sched_clock)."""
        if not self.flags & _FLAG_USE_CLOCKID:
            return "perf"
        return abi.CLOCK_NAMES.get(self.clockid, f"clockid {self.clockid}")

    @property
    def unit(self) -> str:
        """Unit of a sample's period."""
        is_time = self.type == TYPE_SOFTWARE and self.config in (0, 1)
        return "ns" if is_time or self.name.split(":")[0] in ("cpu-clock", "task-clock") else "event"

    def default_name(self, tracepoints: dict[int, str]) -> str:
        """The name perf gives the event when the file holds none; `tracepoints` are names by tracepoint id."""
        if self.type == TYPE_TRACEPOINT:
            return tracepoints.get(self.config, f"tracepoint:{self.config}")
        return self._base_name() + self._modifiers()

    def _base_name(self) -> str:
        config = self.config & 0xFFFFFFFF  # the upper half selects the PMU on hybrid machines
        if self.type == TYPE_HARDWARE and config < len(_HARDWARE):
            return _HARDWARE[config]
        if self.type == TYPE_SOFTWARE and config < len(_SOFTWARE):
            return _SOFTWARE[config]
        if self.type == TYPE_HW_CACHE:
            cache, operation, result = config & 0xFF, config >> 8 & 0xFF, config >> 16 & 0xFF
            if cache < len(_CACHES) and operation < len(_CACHE_OPERATIONS) and result < 2:
                singular, plural = _CACHE_OPERATIONS[operation]
                return f"{_CACHES[cache]}-{singular}-misses" if result else f"{_CACHES[cache]}-{plural}"
        if self.type == TYPE_RAW:
            return f"raw 0x{self.config:x}"
        if self.type == TYPE_BREAKPOINT:
            return "breakpoint"
        return f"type {self.type} config 0x{self.config:x}"

    def _modifiers(self) -> str:
        # As evsel__add_modifiers (tools/perf/util/evsel.c, 6.1) appends them: the levels that are not excluded, the
        # precision, and the machines, unless exclude_guest is what it would be by default.
        excluded = self.flags & (_FLAG_EXCLUDE_USER | _FLAG_EXCLUDE_KERNEL | _FLAG_EXCLUDE_HV)
        precision = "p" * (self.flags >> _PRECISE_SHIFT & 3)
        letters = ""
        if excluded:
            letters += "" if self.flags & _FLAG_EXCLUDE_KERNEL else "k"
            letters += "" if self.flags & _FLAG_EXCLUDE_USER else "u"
            letters += "" if self.flags & _FLAG_EXCLUDE_HV else "h"
        letters += precision
        excludes_guest = bool(self.flags & _FLAG_EXCLUDE_GUEST)
        if self.flags & _FLAG_EXCLUDE_HOST or excludes_guest == bool(excluded or precision):
            letters += "" if self.flags & _FLAG_EXCLUDE_HOST else "H"
            letters += "" if excludes_guest else "G"
        return f":{letters}" if letters else ""


def parse_attr(data: bytes, order: str) -> EventAttr:
    """Read a perf_event_attr from `data`, which may be shorter or longer than any kernel's. `order` is `<` or `>`.

    Raises:
        ValueError: `data` is shorter than the first version of the structure.
    """
    if len(data) < MIN_SIZE:
        raise ValueError(f"{len(data)} bytes")
    data = data[:_KNOWN_SIZE].ljust(_KNOWN_SIZE, b"\0")
    (kind, size, config, period, sample_type, read_format, flags) = struct.unpack_from(order + "II5Q", data)
    branch, regs_user, stack_user, clockid, regs_intr = struct.unpack_from(order + "QQIiQ", data, 72)
    (max_stack,) = struct.unpack_from(order + "H", data, 108)
    if order == ">":
        flags = _reverse_bits(flags)
    return EventAttr(
        type=kind,
        size=size,
        config=config,
        period_or_frequency=period,
        sample_type=sample_type,
        read_format=read_format,
        flags=flags,
        branch_sample_type=branch,
        sample_regs_user=regs_user,
        sample_stack_user=stack_user,
        clockid=clockid,
        sample_regs_intr=regs_intr,
        sample_max_stack=max_stack,
    )


def _reverse_bits(value: int) -> int:
    """A C bit-field starts at the most significant bit on big-endian machines."""
    return int(f"{value:064b}"[::-1], 2)
