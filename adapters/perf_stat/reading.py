"""One line of `perf stat`, whichever way it was printed, and the counters it makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from perfkit.adapters.contract import Batch, IssueLog, batch

_BATCH_ROWS = 1 << 16
_RATE = re.compile(r"([KMG]?)(/sec)\Z")
_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_CPU = re.compile(r"(?:CPU)?(\d{1,6})\Z")
_THREAD = re.compile(r"(.*)-(-?\d{1,10})\Z", re.DOTALL)
# Places that stand for several CPUs; the number of these follows the place.
AGGREGATE = re.compile(r"(?:S\d+)?(?:-?D\d+)?(?:-?L\d+)?(?:-?C\d+)?\Z|N\d+\Z|S\d+-[A-Z0-9-]+\Z")
_SCOPES = (("C", "core"), ("L", "cache"), ("D", "die"), ("S", "socket"), ("N", "node"))

NOT_COUNTED = "<not counted>"
NOT_SUPPORTED = "<not supported>"


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter's value, as one line prints it."""

    event: str
    ts: int | None = None
    """End of the interval, in ns since the start; None without -I."""
    place: str = ""
    """What it was counted on: `CPU0`, `S0`, `S0-D0-C1`, `N0`, `comm-tid`; empty for all together."""
    cgroup: str = ""
    value: float | None = None
    unit: str = ""
    flag: str = ""
    """`<not counted>` or `<not supported>` in place of the value."""
    has_value: bool = True
    """False for a line that only carries a derived metric."""
    running_percent: float | None = None
    stddev_percent: float | None = None
    metric: float | None = None
    metric_unit: str = ""


@dataclass(frozen=True, slots=True)
class _Track:
    name: str
    unit: str
    place: str
    cgroup: str


class Counters:
    """Turns readings into rows of `counter`; the tracks and threads come at the end."""

    def __init__(self, issues: IssueLog) -> None:
        self._issues = issues
        self._tracks: dict[_Track, int] = {}
        self._rows: list[tuple[int, int | None, float | None, float | None, float | None]] = []
        self.first_ts: int | None = None
        self.last_ts: int | None = None
        self.scope = ""
        """What a place left empty means, where the text says."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read."""
        return not self._tracks

    def add(self, reading: Reading) -> Iterator[Batch]:
        """Take in a reading; yields a batch now and then."""
        if reading.ts is not None:
            self.first_ts = reading.ts if self.first_ts is None else min(self.first_ts, reading.ts)
            self.last_ts = reading.ts if self.last_ts is None else max(self.last_ts, reading.ts)
        share = None if reading.running_percent is None else reading.running_percent / 100
        if reading.has_value:
            track = self._track(_Track(reading.event, reading.unit or "event", reading.place, reading.cgroup))
            self._rows.append((track, reading.ts, reading.value, share, reading.stddev_percent))
        if reading.flag:
            code = "not_counted" if reading.flag == NOT_COUNTED else "not_supported"
            self._issues.add(code, "info", f"perf says {reading.flag} of {reading.event}", subject=reading.event)
        if reading.metric is not None and reading.metric_unit:
            # perf scales a rate by its size (`/sec`, `K/sec`), so that one series would change its unit on the way.
            scaled = _RATE.match(reading.metric_unit)
            unit = scaled.group(2) if scaled else reading.metric_unit
            value = reading.metric * (_SCALES[scaled.group(1)] if scaled else 1.0)
            name = f"{reading.event}: {unit}" if reading.event else unit
            track = self._track(_Track(name, unit, reading.place, reading.cgroup))
            self._rows.append((track, reading.ts, value, share, None))
        if len(self._rows) >= _BATCH_ROWS:
            yield self._flush()

    def _track(self, track: _Track) -> int:
        return self._tracks.setdefault(track, len(self._tracks))

    def _flush(self) -> Batch:
        rows, self._rows = self._rows, []
        track, ts, value, share, stddev = zip(*rows, strict=True) if rows else ((),) * 5
        return batch(
            "counter",
            track_id=pa.array(track, pa.int32()),
            ts=pa.array(ts, pa.int64()),
            value=pa.array(value, pa.float64()),
            running_share=pa.array(share, pa.float64()),
            stddev_percent=pa.array(stddev, pa.float64()),
        )

    def finish(self) -> Iterator[Batch]:
        """The rows left, the tracks, and the threads that tracks belong to."""
        yield self._flush()
        tracks = list(self._tracks)
        threads: dict[str, int] = {}
        for track in tracks:
            if _scope(track.place) == "thread":
                threads.setdefault(track.place, len(threads))
        yield batch(
            "counter_track",
            track_id=np.arange(len(tracks), dtype=np.int32),
            name=[track.name for track in tracks],
            unit=[track.unit for track in tracks],
            scope=pa.array([_scope(track.place) or self.scope or None for track in tracks], pa.string()),
            device=pa.array([_device(track) for track in tracks], pa.string()),
            utid=pa.array([threads.get(track.place) for track in tracks], pa.int32()),
            cpu=pa.array([_cpu(track.place) for track in tracks], pa.int32()),
        )
        names = [_THREAD.match(place) for place in threads]
        yield batch(
            "thread",
            utid=np.arange(len(threads), dtype=np.int32),
            tid=pa.array([int(found[2]) if found else None for found in names], pa.int32()),
            name=pa.array([found[1] if found else None for found in names], pa.string()),
        )


def is_place(text: str) -> bool:
    """Whether perf stat could have counted on what is named so."""
    return bool(_CPU.match(text) or AGGREGATE.match(text) or _THREAD.match(text))


def _scope(place: str) -> str:
    if not place:
        return ""
    if _CPU.match(place):
        return "cpu"
    if AGGREGATE.match(place):
        last = place.rpartition("-")[2]
        return next((scope for letter, scope in _SCOPES if last.startswith(letter)), "device")
    return "thread" if _THREAD.match(place) else "device"


def _cpu(place: str) -> int | None:
    found = _CPU.match(place)
    return int(found.group(1)) if found else None


def _device(track: _Track) -> str | None:
    place = track.place if _scope(track.place) not in ("cpu", "thread", "") else ""
    return " ".join(part for part in (place, track.cgroup) if part) or None
