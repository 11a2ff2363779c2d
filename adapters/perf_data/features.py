"""Feature sections: what `perf record` wrote of the host, the events and the files it saw.

The same contents come as FEATURE records in a pipe. Layouts: tools/perf/util/header.c, the `write_*` functions.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.attributes import EventAttr, parse_attr

_BUILD_ID_HAS_SIZE = 1 << 15  # PERF_RECORD_MISC_BUILD_ID_SIZE
_MAX_STRINGS = 1 << 16


@dataclass(slots=True)
class Facts:
    """What a capture says of itself; empty or None where it says nothing."""

    hostname: str | None = None
    os_release: str | None = None
    tool_version: str | None = None
    arch: str | None = None
    cpu_count: int | None = None
    cpu_model: str | None = None
    cpuid: str | None = None
    memory_bytes: int | None = None
    command: str | None = None
    is_simpleperf: bool = False
    build_ids: dict[str, str] = field(default_factory=dict)
    """build-id in hex by file name"""
    event_attrs: list[EventAttr] = field(default_factory=list)
    """The events again, now with names."""
    groups: list[tuple[str, int, int]] = field(default_factory=list)
    """name, index of the leader, number of members"""
    cpu_topology: list[str] = field(default_factory=list)
    """CPU lists that share a package"""
    first_time: int | None = None
    last_time: int | None = None
    clock_resolution_ns: int | None = None
    wall_clock: tuple[int, int, int] | None = None
    """clockid, wall-clock ns since the epoch, the same instant in ns on that clock"""
    tracing_data: bytes = b""


class _Reader:
    """Numbers and strings of a feature section, in the capture's byte order."""

    def __init__(self, data: bytes, order: str) -> None:
        self.data = data
        self.order = order
        self.at = 0

    def u32(self) -> int:
        return self._number("I", 4)

    def u64(self) -> int:
        return self._number("Q", 8)

    def time(self) -> int:
        """A time in ns, which fits 63 bits until the year 2262."""
        value = self.u64()
        if value >> 63:
            raise ValueError(f"a time of {value} ns")
        return value

    def string(self) -> str:
        """`u32 len`, then `len` bytes, NUL-padded."""
        return self.raw(self.u32()).split(b"\0", 1)[0].decode("utf-8", "replace")

    def strings(self) -> list[str]:
        return [self.string() for _ in range(min(self.u32(), _MAX_STRINGS))]

    def raw(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ValueError(f"{size} bytes wanted, {len(self.data) - self.at} left")
        self.at += size
        return self.data[self.at - size : self.at]

    def _number(self, code: str, size: int) -> int:
        value: int = struct.unpack(self.order + code, self.raw(size))[0]
        return value


def read_feature(facts: Facts, bit: int, data: bytes, order: str, issues: IssueLog) -> None:
    """Take what the feature section `bit` holds into `facts`; a damaged section is counted and otherwise ignored."""
    reader = _Reader(data, order)
    try:
        _read(facts, bit, reader)
    except (ValueError, struct.error) as error:
        issues.add("bad_feature_section", "warning", f"feature {bit} cannot be read: {error}", subject=str(bit))


def _read(facts: Facts, bit: int, reader: _Reader) -> None:  # noqa: C901, PLR0912 - a flat dispatch
    match bit:
        case abi.FEATURE_HOSTNAME:
            facts.hostname = reader.string()
        case abi.FEATURE_OSRELEASE:
            facts.os_release = reader.string()
        case abi.FEATURE_VERSION:
            facts.tool_version = reader.string()
        case abi.FEATURE_ARCH:
            facts.arch = reader.string()
        case abi.FEATURE_NRCPUS:
            _available, online = reader.u32(), reader.u32()
            if online >> 31:
                raise ValueError(f"{online} CPUs")
            facts.cpu_count = online
        case abi.FEATURE_CPUDESC:
            facts.cpu_model = reader.string()
        case abi.FEATURE_CPUID:
            facts.cpuid = reader.string()
        case abi.FEATURE_TOTAL_MEM:
            facts.memory_bytes = reader.u64() * 1024
        case abi.FEATURE_CMDLINE:
            facts.command = " ".join(reader.strings())
        case abi.FEATURE_EVENT_DESC:
            facts.event_attrs = _read_event_desc(reader)
        case abi.FEATURE_CPU_TOPOLOGY:
            facts.cpu_topology = reader.strings()
        case abi.FEATURE_GROUP_DESC:
            facts.groups = [(reader.string(), reader.u32(), reader.u32()) for _ in range(min(reader.u32(), 1 << 16))]
        case abi.FEATURE_SAMPLE_TIME:
            facts.first_time, facts.last_time = reader.u64(), reader.u64()
        case abi.FEATURE_CLOCKID:
            facts.clock_resolution_ns = reader.u64()
        case abi.FEATURE_CLOCK_DATA:
            _version, clockid = reader.u32(), reader.u32()
            facts.wall_clock = (clockid, reader.time(), reader.time())
        case abi.FEATURE_BUILD_ID:
            _read_build_ids(facts, reader)
        case abi.FEATURE_TRACING_DATA:
            facts.tracing_data = reader.data
        case abi.SIMPLEPERF_META_INFO:
            _read_simpleperf_meta(facts, reader.data)


def _read_event_desc(reader: _Reader) -> list[EventAttr]:
    count, attr_size = reader.u32(), reader.u32()
    attrs = []
    for _ in range(min(count, _MAX_STRINGS)):
        attr = parse_attr(reader.raw(attr_size), reader.order)
        id_count = reader.u32()
        attr.name = reader.string()
        attr.ids = list(struct.unpack(f"{reader.order}{id_count}Q", reader.raw(id_count * 8)))
        attrs.append(attr)
    return attrs


def _read_build_ids(facts: Facts, reader: _Reader) -> None:
    while reader.at + 8 <= len(reader.data):
        kind_misc_size = struct.unpack(reader.order + "IHH", reader.raw(8))
        body = reader.raw(max(kind_misc_size[2] - 8, 0))
        if not body:
            return
        add_build_id(facts, kind_misc_size[1], body)


def add_build_id(facts: Facts, misc: int, body: bytes) -> None:
    """Take a build-id entry (the body of a BUILD_ID record): s32 pid, u8 build_id[20], u8 size, 3 bytes, file name."""
    if len(body) < 28:
        return
    size = body[24] if misc & _BUILD_ID_HAS_SIZE else 20
    name = body[28:].split(b"\0", 1)[0].decode("utf-8", "replace")
    facts.build_ids[name] = body[4 : 4 + min(size, 20)].hex()


def _read_simpleperf_meta(facts: Facts, data: bytes) -> None:
    # Pairs of NUL-terminated strings (system/extras/simpleperf/record_file_format.h).
    parts = data.decode("utf-8", "replace").split("\0")
    meta = dict(zip(parts[::2], parts[1::2], strict=False))
    facts.is_simpleperf = True
    facts.tool_version = meta.get("simpleperf_version", facts.tool_version)


def tracepoint_names(tracing_data: bytes, order: str) -> dict[int, str]:
    r"""Names (`system:event`) of tracepoints by id, from the event formats that the capture carries.

        "\x17\x08\x44tracing", version, endian u8, long size u8, page size u32
        "header_page", u64 size, text; "header_event", u64 size, text
        u32 count of ftrace formats: u64 size, text
        u32 count of systems: name, u32 count of formats: u64 size, text

    Format: tools/perf/util/trace-event-info.c. Whatever cannot be read yields the names found before it.
    """
    names: dict[int, str] = {}
    reader = _Reader(tracing_data, order)
    try:
        reader.raw(10)
        _terminated(reader)
        reader.raw(6)
        for _ in range(2):
            _terminated(reader)
            reader.raw(reader.u64())
        for _ in range(reader.u32()):
            _take_format(names, "ftrace", reader.raw(reader.u64()))
        for _ in range(reader.u32()):
            system = _terminated(reader)
            for _ in range(reader.u32()):
                _take_format(names, system, reader.raw(reader.u64()))
    except (ValueError, struct.error):
        pass
    return names


def _terminated(reader: _Reader) -> str:
    end = reader.data.find(b"\0", reader.at)
    if end < 0:
        raise ValueError("no end of string")
    text = reader.raw(end - reader.at)
    reader.raw(1)
    return text.decode("utf-8", "replace")


def _take_format(names: dict[int, str], system: str, text: bytes) -> None:
    fields = dict(line.split(b": ", 1) for line in text.split(b"\n", 2)[:2] if b": " in line)
    if b"ID" in fields and fields[b"ID"].isdigit():
        names[int(fields[b"ID"])] = f"{system}:{fields.get(b'name', b'?').decode('utf-8', 'replace')}"
