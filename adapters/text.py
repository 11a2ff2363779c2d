"""What readers of line-oriented text share: blocks of whole records in bounded memory, columns out of byte strings.

    stream ──▶ blocks of ~8 MB, cut before a line at which a record begins
    block  ──one regex pass──▶ lists of byte strings ──▶ Arrow columns; text that repeats is interned, parsed once

Text may carry a UTF-8 byte order mark and CRLF line ends; blocks come without either, and `Block.offset_of` gives
offsets in the input as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BLOCK_BYTES = 8 << 20
_BOM = b"\xef\xbb\xbf"
_MAX_RECORD_BYTES = 64 << 20  # text without a record's begin for this long is cut anywhere: it is junk


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, each ended by a line feed, and where they stood."""

    data: bytes
    offset: int
    """Of the first byte in the input."""
    has_crlf: bool = False

    def offset_of(self, position: int) -> int:
        """The offset in the input of `data[position]`."""
        return self.offset + position + (self.data.count(b"\n", 0, position) if self.has_crlf else 0)


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of an input can be text at all: something is there, and no NUL byte."""
    return bool(head) and b"\0" not in head


def plain_lines(head: bytes) -> bytes:
    """The first bytes of an input without byte order mark and carriage returns, for judging them."""
    return head.removeprefix(_BOM).replace(b"\r\n", b"\n")


def read_blocks(
    stream: BinaryIO, find_last_begin: Callable[[bytes, int], int], *, size: int = BLOCK_BYTES
) -> Iterator[Block]:
    """Cut a stream into blocks of whole records.

    `find_last_begin(data, end)` gives the position in `data[:end]`, whole lines all, at which the last record begins;
    0 where there is no other than the first.
    """
    offset = len(_BOM) if stream.read(len(_BOM)) == _BOM else 0
    stream.seek(offset)
    rest = b""
    while chunk := stream.read(size):
        data = rest + chunk
        lines_end = data.rfind(b"\n") + 1
        cut = find_last_begin(data, lines_end) if lines_end else 0
        if not cut:
            if len(data) < _MAX_RECORD_BYTES:
                rest = data
                continue
            cut = lines_end or len(data)
        yield _block(data[:cut], offset)
        offset += cut
        rest = data[cut:]
    if rest:
        yield _block(rest, offset)


def _block(data: bytes, offset: int) -> Block:
    has_crlf = b"\r\n" in data
    if has_crlf:
        data = data.replace(b"\r\n", b"\n")
    return Block(data if data.endswith(b"\n") else data + b"\n", offset, has_crlf)


class Interner(dict[bytes, int]):
    """Numbers byte strings in the order of first appearance: `ids[text]`. `texts` has them by number."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[bytes] = []

    def __missing__(self, text: bytes) -> int:
        number = self[text] = len(self.texts)
        self.texts.append(text)
        return number


def to_text(raw: bytes) -> str:
    """Bytes of unknown encoding as text; what is no UTF-8 is replaced."""
    return raw.decode("utf-8", "replace")


def texts(values: list[bytes]) -> pa.StringArray:
    """A text column; what is no UTF-8 is replaced."""
    return pa.array([to_text(value) for value in values], pa.string())


def integers(values: list[bytes | None]) -> pa.Int64Array:
    """A column of decimal numbers; those past 2**63 - 1 become just that."""
    column = pa.array(values, pa.binary()).cast(pa.string())
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.array([None if v is None else min(int(v), (1 << 63) - 1) for v in values], pa.int64())


def nanoseconds(seconds: list[bytes | None], fractions: list[bytes | None]) -> pa.Int64Array:
    """`seconds.fraction` as nanoseconds, exactly. A fraction has one to nine digits; seconds at most nine."""
    digits = pa.array(fractions, pa.binary())
    power = pc.fill_null(pc.subtract(9, pc.binary_length(digits)), 0).to_numpy(zero_copy_only=False)
    scale = pa.array(np.power(np.int64(10), power.astype(np.int64)))
    return pc.add(
        pc.multiply(integers(seconds), 1_000_000_000), pc.multiply(digits.cast(pa.string()).cast(pa.int64()), scale)
    )
