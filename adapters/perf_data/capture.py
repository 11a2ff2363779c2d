"""Everything about a perf.data capture that must be known before its samples can be read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perfkit.adapters.contract import IssueLog, Source
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.attributes import MIN_SIZE, TYPE_TRACEPOINT, EventAttr, parse_attr
from perfkit.adapters.perf_data.features import Facts, add_build_id, read_feature, tracepoint_names
from perfkit.adapters.perf_data.header import Header, read_header
from perfkit.adapters.perf_data.sideband import SideBand
from perfkit.adapters.perf_data.stream import Records, read_records
from perfkit.adapters.perf_data.timeline import Timeline
from perfkit.adapters.perf_data.walk import WalkMemory
from perfkit.schema.errors import FormatError

_EVENT_UPDATE_NAME = 2  # PERF_EVENT_UPDATE__NAME


@dataclass(slots=True)
class Capture:
    """An opened capture: its events, facts, side band and timeline."""

    segments: list[tuple[Path, int, int]]
    """(file, first byte, byte behind) of each run of records"""
    walks: list[WalkMemory]
    """what the first pass found out of each segment"""
    order: str
    attrs: list[EventAttr]
    facts: Facts
    side_band: SideBand
    timeline: Timeline

    def records(self, issues: IssueLog) -> Iterator[Records]:
        """All records of the capture, segment after segment."""
        for (path, start, end), memory in zip(self.segments, self.walks, strict=True):
            memory.rewind()
            yield from read_records(path, start, end, self.order, issues, memory)


def open_capture(source: Source, issues: IssueLog) -> Capture:
    """Read the head and, in a first pass over the records, all that is no sample.

    Raises:
        FormatError: it is no perf.data, or it describes no event.
    """
    path = source.path / "data" if source.is_dir else source.file
    header = read_header(path, issues)
    segments = [(path, header.data_start, header.data_end)]
    if source.is_dir:
        # `perf record --threads`: one file of bare records a thread, numbered (HEADER_DIR_FORMAT).
        numbered = sorted((n for n in source.names if n.startswith("data.")), key=lambda n: (len(n), n))
        segments += [(source.path / name, 0, (source.path / name).stat().st_size) for name in numbered]
    facts = Facts()
    for bit, data in header.features.items():
        read_feature(facts, bit, data, header.order, issues)
    side_band = SideBand(header.attrs)
    walks = [WalkMemory() for _ in segments]
    for part, memory in zip(segments, walks, strict=True):
        # Damage is counted in the second pass, which meets it again.
        for records in read_records(*part, header.order, IssueLog(), memory):
            _read_pipe_records(records, header, facts, issues)
            side_band.collect(records)
    if not header.attrs:
        raise FormatError(source.path, header.data_start, "at least one event attribute", "none",
                          hint="The recording was cut off before perf had written its first record.")  # fmt: skip
    _name_events(header, facts)
    timeline = Timeline(side_band)
    ksymbols = side_band.columns("ksymbol")
    if ksymbols:
        for address, length, name, gone in zip(
            ksymbols["address"].tolist(), ksymbols["length"].tolist(), ksymbols["name"].tolist(),
            ksymbols["is_unregister"].tolist(), strict=True,
        ):  # fmt: skip
            if not gone:
                timeline.spaces.add_kernel_code(address, length, name)
    timeline.spaces.set_build_ids(facts.build_ids)
    return Capture(segments, walks, header.order, header.attrs, facts, side_band, timeline)


def _read_pipe_records(records: Records, header: Header, facts: Facts, issues: IssueLog) -> None:
    """In a pipe, attributes and features come as records among the others."""
    block, starts = records.block, records.starts
    kinds = block.types(starts)
    interesting = (kinds >= 64) & (kinds <= 80) & (kinds != abi.RECORD["FINISHED_ROUND"])
    for start, kind in zip(starts[interesting].tolist(), kinds[interesting].tolist(), strict=True):
        begin, size = start * 8, int(block.u16[start * 4 + 3])
        body = block.u8[begin + 8 : begin + size].tobytes()
        try:
            _read_pipe_record(kind, int(block.u16[start * 4 + 2]), body, header, facts, issues)
        except (ValueError, struct.error) as error:
            issues.add("bad_header_record", "warning", f"{abi.RECORD_NAMES.get(kind, kind)} record: {error}",
                       offset=records.offset + begin)  # fmt: skip
        if kind == abi.RECORD["TRACING_DATA"]:
            (payload_size,) = struct.unpack_from(header.order + "I", body)
            facts.tracing_data = block.u8[begin + size : begin + size + payload_size].tobytes()


def _read_pipe_record(kind: int, misc: int, body: bytes, header: Header, facts: Facts, issues: IssueLog) -> None:
    order = header.order
    match abi.RECORD_NAMES.get(kind):
        case "ATTR" if header.is_pipe:
            (size,) = struct.unpack_from(order + "I", body, 4)
            attr = parse_attr(body[: size or MIN_SIZE], order)
            ids = body[attr.size or MIN_SIZE :]
            attr.ids = list(struct.unpack(f"{order}{len(ids) // 8}Q", ids[: len(ids) // 8 * 8]))
            header.attrs.append(attr)
        case "FEATURE":
            (bit,) = struct.unpack_from(order + "Q", body)
            read_feature(facts, bit, body[8:], order, issues)
        case "BUILD_ID":
            add_build_id(facts, misc, body)
        case "EVENT_UPDATE":
            kind_of_update, event_id = struct.unpack_from(order + "QQ", body)
            if kind_of_update == _EVENT_UPDATE_NAME:
                for attr in header.attrs:
                    if event_id in attr.ids:
                        attr.name = body[16:].split(b"\0", 1)[0].decode("utf-8", "replace")
        case _:
            pass


def _name_events(header: Header, facts: Facts) -> None:
    """Names from the event descriptions, matched by id or, for old files without ids, by place."""
    by_id = {event_id: attr.name for attr in facts.event_attrs for event_id in attr.ids}
    tracepoints: dict[int, str] = {}
    if any(attr.type == TYPE_TRACEPOINT for attr in header.attrs) and facts.tracing_data:
        tracepoints = tracepoint_names(facts.tracing_data, header.order)
    same_count = len(facts.event_attrs) == len(header.attrs)
    for index, attr in enumerate(header.attrs):
        if attr.name:
            continue
        attr.name = next((by_id[i] for i in attr.ids if i in by_id), "")
        if not attr.name and same_count and not attr.ids:
            attr.name = facts.event_attrs[index].name
        if not attr.name:
            attr.name = attr.default_name(tracepoints)


def event_index(attrs: list[EventAttr]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ids in ascending order, and the index of the attribute each belongs to."""
    pairs = sorted((event_id, index) for index, attr in enumerate(attrs) for event_id in attr.ids)
    return (
        np.array([event_id for event_id, _ in pairs], np.uint64),
        np.array([index for _, index in pairs], np.int32),
    )
