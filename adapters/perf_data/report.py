"""Rows that describe a perf.data capture: host, events, processes, mappings, side-band events, record counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.contract import Batch, IssueLog, batch
from perfkit.adapters.perf_data import abi
from perfkit.adapters.perf_data.capture import Capture
from perfkit.adapters.perf_data.sample_pass import SamplePass
from perfkit.adapters.perf_data.sideband import Columns
from perfkit.adapters.perf_data.timeline import BEFORE, Lives


def metadata_batches(capture: Capture, samples: SamplePass) -> Iterator[Batch]:
    """`capture`, `metric`, `process`, `thread`, `thread_name`, `clock_snapshot`, `record_count`."""
    yield _capture_row(capture, samples)
    yield _metrics(capture)
    yield from _tasks(capture, samples)
    if capture.facts.wall_clock is not None:
        _clockid, wall, instant = capture.facts.wall_clock
        yield batch("clock_snapshot", ts=[instant], clock=["CLOCK_REALTIME"], value=[wall])
    yield _record_counts(capture, samples)


def side_band_batches(capture: Capture, samples: SamplePass, issues: IssueLog) -> Iterator[Batch]:
    """Event tables for side-band records that no other table holds, and the issues that they report."""
    del samples
    for name, payload in (
        ("switch", ("is_out", "is_preempt", "other_pid", "other_tid")),
        ("throttle", ("is_throttle", "event_id", "stream_id")),
        ("lost", ("event_id", "lost")),
        ("lost_samples", ("lost",)),
        ("namespaces", tuple(f"{n}_namespace" for n in ("net", "uts", "ipc", "pid", "user", "mnt", "cgroup"))),
        ("cgroup", ("cgroup_id", "path")),
        ("ksymbol", ("address", "length", "kind", "is_unregister", "name")),
        ("bpf", ("kind", "bpf_id", "tag")),
        ("text_poke", ("address", "old_length", "new_length")),
        ("aux", ("aux_size",)),
    ):
        columns = dict(capture.side_band.columns(name))
        if columns:
            yield _event_table(capture, name, columns, payload)
    _report_losses(capture, issues)


def _event_table(capture: Capture, name: str, columns: Columns, payload: tuple[str, ...]) -> Batch:
    order = np.argsort(columns["time"], kind="stable")
    columns = {key: values[order] for key, values in columns.items()}
    if name == "switch":
        columns["is_out"] = (columns["misc"] & abi.MISC_SWITCH_OUT) != 0
        columns["is_preempt"] = (columns["misc"] & abi.MISC_SWITCH_OUT_PREEMPT) != 0
    pids = columns.get("pid", columns["trailer_pid"]).astype(np.int32)
    tids = columns.get("tid", columns["trailer_tid"]).astype(np.int32)
    times = columns["time"].astype(np.int64)
    known = tids >= 0
    utids = np.full(len(tids), -1, np.int32)
    utids[known] = capture.timeline.utids(pids[known], tids[known], times[known])
    fields = {key: _plain(columns[key]) for key in payload}
    return batch(
        f"event.perf_{name}",
        ts=pa.array(times, pa.int64(), mask=times <= 0),
        cpu=_nullable(columns["cpu"]),
        utid=_nullable(utids),
        **fields,
    )


def _capture_row(capture: Capture, samples: SamplePass) -> Batch:
    facts = capture.facts
    return batch(
        "capture",
        name=[""],
        tool=["simpleperf" if facts.is_simpleperf else "perf"],
        tool_version=[facts.tool_version],
        format=["perf.data"],
        hostname=[facts.hostname],
        os_release=[facts.os_release],
        arch=[facts.arch],
        cpu_count=[facts.cpu_count],
        cpu_model=[facts.cpu_model],
        memory_bytes=pa.array([facts.memory_bytes if (facts.memory_bytes or 0) < 2**63 else None], pa.int64()),
        command=[facts.command],
        started_at=[_started_at(capture, samples)],
        start_ts=[samples.first_ts],
        end_ts=[samples.last_ts],
        clock=[capture.attrs[0].clock],
    )


def _started_at(capture: Capture, samples: SamplePass) -> datetime | None:
    wall = capture.facts.wall_clock
    if wall is None or samples.first_ts is None:
        return None
    microseconds = (wall[1] + samples.first_ts - wall[2]) // 1000
    try:
        return datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(microseconds=microseconds)
    except (OverflowError, ValueError):
        return None


def _metrics(capture: Capture) -> Batch:
    attrs = capture.attrs
    large = 2**63
    return batch(
        "metric",
        metric_id=np.arange(len(attrs), dtype=np.int32),
        name=[attr.name for attr in attrs],
        unit=[attr.unit for attr in attrs],
        period=[None if attr.by_frequency or not 0 < attr.period_or_frequency < large else attr.period_or_frequency
                for attr in attrs],
        frequency=[attr.period_or_frequency if attr.by_frequency and attr.period_or_frequency < large else None
                   for attr in attrs],
        aggregation=["sum"] * len(attrs),
        is_estimate=[False] * len(attrs),
    )  # fmt: skip


def _tasks(capture: Capture, samples: SamplePass) -> Iterator[Batch]:
    timeline = capture.timeline
    processes, threads = timeline.processes, timeline.threads
    upids = np.arange(len(processes.pid), dtype=np.int32)
    paths = _cgroup_paths(capture, samples)
    if len(upids):
        yield batch(
            "process",
            upid=upids,
            pid=_ints(processes.pid),
            name=processes.name,
            parent_upid=_nullable(_ints(processes.owner)),
            start_ts=_times(processes.start),
            end_ts=_times(processes.end),
            cgroup=[paths.get(upid) for upid in upids.tolist()],
        )
    if not threads.pid:
        return
    yield batch(
        "thread",
        utid=np.arange(len(threads.pid), dtype=np.int32),
        upid=_ints(threads.owner),
        tid=_ints(threads.tid),
        name=threads.name,
        is_main=_is_main(threads),
        start_ts=_times(threads.start),
        end_ts=_times(threads.end),
    )
    if timeline.names:
        utids, times, names, execs = zip(*sorted(timeline.names, key=lambda row: (row[0], row[1])), strict=True)
        yield batch("thread_name", utid=_ints(utids), ts=_times(times), name=names, is_exec=execs)


def _is_main(threads: Lives) -> NDArray[np.bool_]:
    is_main: NDArray[np.bool_] = _ints(threads.pid) == _ints(threads.tid)
    return is_main


def _cgroup_paths(capture: Capture, samples: SamplePass) -> dict[int, str]:
    columns = capture.side_band.columns("cgroup")
    if not columns:
        return {}
    by_id = dict(zip(columns["cgroup_id"].tolist(), columns["path"].tolist(), strict=True))
    return {upid: by_id[group] for upid, group in samples.cgroups.items() if group in by_id}


def mapping_batches(capture: Capture) -> Iterator[Batch]:
    """`mapping`: one row an MMAP record."""
    columns = capture.side_band.columns("mmap")
    if not columns:
        return
    pids = columns["pid"].astype(np.int32)
    times = columns["time"].astype(np.int64)
    of_kernel = pids == -1
    utids = np.full(len(pids), -1, np.int32)
    # The thread that called mmap may not be announced yet; its process is what counts.
    utids[~of_kernel] = capture.timeline.utids(pids[~of_kernel], columns["tid"][~of_kernel].astype(np.int32),
                                               times[~of_kernel])  # fmt: skip
    owners = _ints(capture.timeline.threads.owner or [0])
    build_ids = [
        own or capture.facts.build_ids.get(path)
        for own, path in zip(columns["build_id"].tolist(), columns["path"].tolist(), strict=True)
    ]
    start = columns["start"].astype(np.uint64)
    length = np.minimum(columns["length"].astype(np.uint64), np.uint64(2**64 - 1) - start)
    yield batch(
        "mapping",
        mapping_id=np.arange(len(pids), dtype=np.int32),
        upid=_nullable(np.where(of_kernel, np.int32(-1), owners[utids])),
        ts=_times(times),
        start=start,
        end=start + length,
        file_offset=columns["file_offset"].astype(np.uint64),
        path=columns["path"],
        build_id=build_ids,
    )


def _record_counts(capture: Capture, samples: SamplePass) -> Batch:
    rows: list[tuple[str, int | None, int]] = []
    for kind, count in sorted(capture.side_band.counts.items()):
        name = abi.RECORD_NAMES.get(kind)
        if name is None:
            name = f"simpleperf {kind}" if kind in abi.SIMPLEPERF_RECORDS else f"type {kind}"
        rows.append((name, None, count))
    rows += [("SAMPLE", index, count) for index, count in sorted(samples.counts.items())]
    names, metrics, counts = zip(*rows, strict=True) if rows else ((), (), ())
    return batch("record_count", record=list(names), metric_id=list(metrics), count=list(counts))


def _report_losses(capture: Capture, issues: IssueLog) -> None:
    side_band = capture.side_band
    offsets = {abi.RECORD_NAMES.get(kind): offset for kind, offset in side_band.first_offset.items()}
    lost = side_band.columns("lost")
    if lost:
        issues.add("lost_records", "warning", "records that the kernel dropped because perf did not read its buffers "
                   "in time; record with a larger -m or a lower frequency", offset=offsets.get("LOST"),
                   count=_total(lost["lost"]))  # fmt: skip
    lost_samples = side_band.columns("lost_samples")
    if lost_samples:
        issues.add("lost_samples", "warning", "samples that the kernel or the hardware dropped",
                   offset=offsets.get("LOST_SAMPLES"), count=_total(lost_samples["lost"]))  # fmt: skip
    throttle = side_band.columns("throttle")
    if throttle:
        issues.add("throttled", "warning", "times the kernel suspended sampling as it took too much time "
                   "(kernel.perf_cpu_time_max_percent)", offset=offsets.get("THROTTLE"),
                   count=int(throttle["is_throttle"].sum()))  # fmt: skip
    traces = side_band.counts[abi.RECORD["AUXTRACE"]]
    issues.add("aux_trace_not_decoded", "info", "pieces of hardware trace (Intel PT, Arm CoreSight, SPE); perfkit "
               "leaves them undecoded", offset=offsets.get("AUXTRACE"), count=traces)  # fmt: skip
    for kind, count in side_band.counts.items():
        if kind not in abi.RECORD_NAMES and kind not in abi.SIMPLEPERF_RECORDS:
            issues.add("unknown_record", "warning", f"records of type {kind}, which this perfkit does not know",
                       offset=side_band.first_offset.get(kind), count=count, subject=str(kind))  # fmt: skip


def _total(values: NDArray[Any]) -> int:
    return min(sum(int(value) for value in values.tolist()), 2**63 - 1)


def _ints(values: object) -> NDArray[np.int32]:
    return np.asarray(values, np.int32)


def _times(values: object) -> pa.Array:
    times = np.asarray(values, np.int64)
    return pa.array(times, pa.int64(), mask=(times == BEFORE) | (times == 0))


def _nullable(values: NDArray[Any]) -> pa.Array:
    numbers = values.astype(np.int32)
    return pa.array(numbers, pa.int32(), mask=numbers < 0)


def _plain(values: NDArray[Any]) -> pa.Array:
    return pa.array(values.tolist(), pa.string()) if values.dtype == object else pa.array(values)
