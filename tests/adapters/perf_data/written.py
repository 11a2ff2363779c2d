"""Captures that a test writes, and what perfkit reads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.adapters.perf_data import writer as w
from tests.adapters.perf_data.decoded import Decoded

BASIC = w.IDENTIFIER | w.IP | w.TID | w.TIME | w.CPU | w.PERIOD
CHAINED = BASIC | w.CALLCHAIN


def read(folder: Path, content: bytes) -> Decoded:
    """Read a file of this content."""
    path = folder / "written"
    path.write_bytes(content)
    return Decoded(path)


def columns(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """These columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]


def chained(**attributes: Any) -> w.Writer:
    """A writer of one event with callchains."""
    return w.Writer([w.Event(CHAINED, name="cpu-clock")], **attributes)
