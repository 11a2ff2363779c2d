"""The head of a perf.data file: where its parts lie, its events, and what it says of the host.

    0    magic            "PERFILE2" (or "PERFFILE" before 2.6.35); byte-swapped in captures of the other endianness
    8    size u64         104 in a file; 16 in a pipe, whose attributes and features come as records instead
    16   attr_size u64
    24   attrs            section { u64 offset, u64 size }: attr_size bytes each, the last 16 a section of ids
    40   data             section: the records
    56   event_types      section, unused since 3.9
    72   features         256 bits; a section for each bit set follows the data, in the bits' order

Format: tools/perf/Documentation/perf.data-file-format.txt, tools/perf/util/header.c (kernel 6.11).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.attributes import MIN_SIZE, EventAttr, parse_attr
from perfkit.schema.errors import FormatError

MAGICS: dict[bytes, str] = {b"PERFILE2": "<", b"2ELIFREP": ">", b"PERFFILE": "<", b"ELIFFREP": ">"}
HEADER_SIZE = 104
PIPE_HEADER_SIZE = 16
_MAX_ATTRIBUTES = 1 << 16
_MAX_FEATURE_BYTES = 256 << 20


@dataclass(slots=True)
class Header:
    """What the head says; `data_start` and `data_end` are byte offsets in the file."""

    order: str
    is_pipe: bool
    data_start: int
    data_end: int
    attrs: list[EventAttr] = field(default_factory=list)
    features: dict[int, bytes] = field(default_factory=dict)
    """Content of each feature section by its bit."""


def read_header(path: Path, issues: IssueLog) -> Header:
    """Read the head of a perf.data file.

    Raises:
        FormatError: it is no perf.data, or nothing of it can be used.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(HEADER_SIZE)
        if len(head) < PIPE_HEADER_SIZE:
            raise FormatError(path, 0, "a perf.data header of at least 16 bytes", f"{len(head)} bytes")
        order = MAGICS.get(head[:8], "")
        if not order:
            raise FormatError(path, 0, "the magic PERFILE2", repr(head[:8]))
        (header_size,) = struct.unpack_from(order + "Q", head, 8)
        if header_size == PIPE_HEADER_SIZE:
            return Header(order, True, PIPE_HEADER_SIZE, size)
        if len(head) < HEADER_SIZE:
            raise FormatError(path, len(head), f"a header of {HEADER_SIZE} bytes", f"the end at byte {len(head)}")
        return _read_file_header(path, stream, head, order, size, issues)


def _read_file_header(path: Path, stream: BinaryIO, head: bytes, order: str, size: int, issues: IssueLog) -> Header:
    attr_size, attrs_at, attrs_size, data_at, data_size = struct.unpack_from(order + "5Q", head, 16)
    if data_at > size or data_at < PIPE_HEADER_SIZE:
        raise FormatError(path, 40, f"a data section inside the file of {size} bytes", f"its offset is {data_at}")
    data_end = data_at + data_size
    finished = True
    if data_size == 0:
        # `perf record` fills the size in when it ends; it was killed before that.
        issues.add(
            "unfinished_recording",
            "warning",
            "expected the size of the data, found 0: the recording was cut short; records are read up to the end of "
            "the file, feature sections are missing",
            offset=40,
        )
        data_end, finished = size, False
    elif data_end > size:
        issues.add("truncated_file", "error", f"expected {data_size} bytes of data, found {size - data_at}; what "
                   "follows the cut, feature sections included, is missing", offset=size)  # fmt: skip
        data_end, finished = size, False
    header = Header(order, False, data_at, data_end)
    header.attrs = _read_attrs(path, stream, order, (attr_size, attrs_at, attrs_size), size, issues)
    if finished:
        bits = int.from_bytes(head[72:104], "little") if order == "<" else _big_endian_bits(head[72:104])
        header.features = _read_features(stream, order, bits, data_end, size, issues)
    return header


def _read_attrs(
    path: Path, stream: BinaryIO, order: str, section: tuple[int, int, int], file_size: int, issues: IssueLog
) -> list[EventAttr]:
    attr_size, at, total = section
    if attr_size < MIN_SIZE + 16 or total < attr_size or at + attr_size > file_size:
        raise FormatError(
            path, 16, f"attributes of at least {MIN_SIZE + 16} bytes", f"entries of {attr_size} in {total} bytes"
        )
    count = min(total // attr_size, _MAX_ATTRIBUTES)
    attrs: list[EventAttr] = []
    for index in range(count):
        offset = at + index * attr_size
        stream.seek(offset)
        entry = stream.read(attr_size)
        if len(entry) < attr_size:
            issues.add("truncated_attributes", "error", f"expected {count} attributes, found {index}", offset=offset)
            break
        attr = parse_attr(entry[: attr_size - 16], order)
        ids_at, ids_size = struct.unpack_from(order + "2Q", entry, attr_size - 16)
        if ids_at + ids_size > file_size:
            issues.add("bad_ids_section", "warning", f"expected ids inside the file, found {ids_size} bytes at "
                       f"{ids_at}", offset=offset + attr_size - 16)  # fmt: skip
        else:
            attr.ids = _read_ids(stream, order, ids_at, ids_size)
        attrs.append(attr)
    return attrs


def _read_ids(stream: BinaryIO, order: str, at: int, size: int) -> list[int]:
    stream.seek(at)
    return list(struct.unpack(f"{order}{size // 8}Q", stream.read(size // 8 * 8)))


def _big_endian_bits(bitmap: bytes) -> int:
    # Four 64-bit words, each in the writer's byte order. (perf also guesses at 32-bit words; it wrote these as longs.)
    return sum(int.from_bytes(bitmap[i : i + 8], "big") << (i * 8) for i in range(0, 32, 8))


def _read_features(
    stream: BinaryIO, order: str, bits: int, at: int, file_size: int, issues: IssueLog
) -> dict[int, bytes]:
    features: dict[int, bytes] = {}
    present = [bit for bit in range(abi.FEATURE_COUNT) if bits >> bit & 1]
    stream.seek(at)
    table = stream.read(16 * len(present))
    for index, bit in enumerate(present):
        if len(table) < 16 * (index + 1):
            issues.add("truncated_features", "warning", "expected a table of feature sections, found the file's end",
                       offset=at + len(table))  # fmt: skip
            break
        offset, size = struct.unpack_from(order + "2Q", table, 16 * index)
        if offset + size > file_size or size > _MAX_FEATURE_BYTES:
            issues.add("bad_feature_section", "warning", f"expected feature {bit} inside the file, found {size} bytes "
                       f"at {offset}", offset=at + 16 * index)  # fmt: skip
            continue
        stream.seek(offset)
        features[bit] = stream.read(size)
    return features
