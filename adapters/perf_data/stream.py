"""Reads a run of records block by block; compressed records are unpacked on the way.

    file    ──▶ blocks of ≤ 4 MB, cut at record boundaries ──▶ Records
                   └─ COMPRESSED records ──zstd──▶ blocks ──▶ Records

Format: `Documentation/perf.data-file-format.txt` (tools/perf).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.blocks import Records, read_blocks
from perfkit.adapters.perf_data.compressed import unpack
from perfkit.adapters.perf_data.walk import WalkMemory, walk

__all__ = ["Records", "read_records"]

_COMPRESSED = (abi.RECORD["COMPRESSED"], abi.RECORD["COMPRESSED2"])


def read_records(
    path: Path, start: int, end: int, order: str, issues: IssueLog, memory: WalkMemory | None = None
) -> Iterator[Records]:
    """All records between the byte offsets `start` and `end` of a file, in file order. `memory` spares a second pass
    the walk.

    Problems are counted: `damaged_records` (bytes skipped until records make sense again), `truncated_record`,
    `bad_compressed_data`.
    """
    with open(path, "rb") as stream:
        outer = read_blocks(_FileFeed(stream, start, end), order, issues, memory.walk if memory else walk)
        for records in outer:
            kinds = records.block.types(records.starts)
            if ((kinds == _COMPRESSED[0]) | (kinds == _COMPRESSED[1])).any():
                yield from unpack(itertools.chain([records], outer), order, issues)
                return
            yield records


class _FileFeed:
    """Bytes `start` to `end` of a file."""

    def __init__(self, stream: BinaryIO, start: int, end: int) -> None:
        self._stream = stream
        self._at = start
        self._end = end
        stream.seek(start)

    def read_into(self, target: memoryview) -> int:
        wanted = min(len(target), self._end - self._at)
        count = self._stream.readinto(target[:wanted]) if wanted > 0 else 0  # type: ignore[attr-defined]
        self._at += count
        return int(count)

    def skip(self, count: int) -> int:
        step = max(min(count, self._end - self._at), -self._at)
        self._at += step
        self._stream.seek(self._at)
        return step

    def offset(self) -> int:
        return self._at
