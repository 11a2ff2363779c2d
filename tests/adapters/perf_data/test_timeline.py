"""Who lived when, and what an address meant at the time: written captures whose truth is plain."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapters.perf_data import writer as w
from tests.adapters.perf_data.written import chained, columns, read


def sample_at(writer: w.Writer, pid: int, tid: int, time: int, address: int = 0x1010) -> None:
    chain = (w.USER_CONTEXT, address)
    writer.sample(w.Sample(ip=address, pid=pid, tid=tid, time=time, callchain=chain))


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path):
    writer = chained()
    writer.comm(1, 1, "init", 0)
    for begin, name in ((100, "first"), (200, "second"), (300, "third")):
        writer.fork(7, 1, 7, 1, begin)
        sample_at(writer, 7, 7, begin + 5)
        writer.comm(7, 7, name, begin + 10, is_exec=True)
        sample_at(writer, 7, 7, begin + 20)
        writer.exit(7, 1, 7, 1, begin + 30)
        sample_at(writer, 7, 7, begin + 35)  # samples are still taken while a task exits
    capture = read(tmp_path, writer.to_file())
    assert columns(capture.rows("process"), "pid", "name", "parent_upid", "start_ts", "end_ts") == [
        (1, "init", None, None, None),
        (7, "first", 0, 100, 130),
        (7, "second", 0, 200, 230),
        (7, "third", 0, 300, 330),
    ]
    assert [(s.utid, s.comm) for s in capture.samples()] == [
        (utid, name)
        for utid, of_life in enumerate(("first", "second", "third"), 1)
        for name in ("init", of_life, of_life)
    ]


def test_a_tid_that_is_used_again_in_another_process(tmp_path: Path):
    writer = chained()
    writer.comm(1, 1, "one", 0)
    writer.comm(2, 2, "two", 0)
    writer.fork(1, 1, 9, 1, 100)
    sample_at(writer, 1, 9, 110)
    writer.exit(1, 1, 9, 1, 120)
    writer.fork(2, 2, 9, 2, 200)
    sample_at(writer, 2, 9, 210)
    capture = read(tmp_path, writer.to_file())
    assert columns(capture.rows("thread"), "upid", "tid", "name", "is_main", "start_ts", "end_ts") == [
        (0, 1, "one", True, None, None),
        (1, 2, "two", True, None, None),
        (0, 9, "one", False, 100, 120),
        (1, 9, "two", False, 200, None),
    ]
    assert [(s.utid, s.pid) for s in capture.samples()] == [(2, 1), (3, 2)]


def test_threads_that_no_record_announced(tmp_path: Path):
    writer = chained()
    sample_at(writer, 0, 0, 10)
    sample_at(writer, 5, 6, 20)
    writer.exit(8, 1, 8, 1, 30)
    sample_at(writer, -1, -1, 40)
    capture = read(tmp_path, writer.to_file())
    assert [(s.comm, s.pid, s.tid) for s in capture.samples()] == [("swapper", 0, 0), (":6", 5, 6), (":-1", -1, -1)]
    assert (8, None, 30) in columns(capture.rows("process"), "pid", "start_ts", "end_ts")


def test_names_over_time(tmp_path: Path):
    writer = chained()
    writer.comm(3, 3, "sh", 0)
    writer.comm(3, 3, "make", 100, is_exec=True)
    writer.comm(3, 3, "make", 200, is_exec=True)
    writer.comm(3, 3, "worker", 300)
    for time in (50, 100, 250, 300):
        sample_at(writer, 3, 3, time)
    capture = read(tmp_path, writer.to_file())
    assert columns(capture.rows("thread_name"), "ts", "name", "is_exec") == [
        (None, "sh", False),
        (100, "make", True),
        (200, "make", True),
        (300, "worker", False),
    ]
    assert [s.comm for s in capture.samples()] == ["sh", "make", "make", "worker"]


def test_records_of_another_cpu_count_by_time_not_by_place(tmp_path: Path):
    writer = chained()
    sample_at(writer, 4, 4, 150)
    sample_at(writer, 4, 4, 250)
    writer.comm(4, 4, "late", 200)
    writer.comm(4, 4, "early", 100)
    capture = read(tmp_path, writer.to_file())
    assert [s.comm for s in capture.samples()] == ["early", "late"]


def test_a_file_mapped_over_another(tmp_path: Path):
    writer = chained()
    writer.comm(3, 3, "ld", 0)
    writer.mmap(3, 0x1000, 0x3000, 0, "/old", 10)
    writer.mmap(3, 0x2000, 0x1000, 0x500, "/new", 100)
    for time in (50, 150):
        for address in (0x1010, 0x2010, 0x3010, 0x4010):
            sample_at(writer, 3, 3, time, address)
    capture = read(tmp_path, writer.to_file())
    places = [(s.frames[0].module, s.frames[0].address) for s in capture.samples()]
    assert places[:4] == [("/old", 0x10), ("/old", 0x1010), ("/old", 0x2010), (None, 0x4010)]
    assert places[4:] == [("/old", 0x10), ("/new", 0x510), ("/old", 0x2010), (None, 0x4010)]


def test_memory_mapped_over_a_file(tmp_path: Path):
    """With `perf record -d` mappings that are not executable are recorded too: the file is gone all the same."""
    writer = chained()
    writer.comm(3, 3, "ld", 0)
    writer.mmap2(3, 0x1000, 0x3000, 0, "/old", 10)
    writer.mmap2(3, 0x2000, 0x1000, 0, "//anon", 100, prot=3)
    writer.mmap2(3, 0x3000, 0x1000, 0, "//anon", 100, prot=7)
    for time in (50, 150):
        for address in (0x1010, 0x2010, 0x3010):
            sample_at(writer, 3, 3, time, address)
    capture = read(tmp_path, writer.to_file())
    places = [(s.frames[0].module, s.frames[0].address, s.frames[0].kind) for s in capture.samples()]
    assert places == [
        ("/old", 0x10, "user"), ("/old", 0x1010, "user"), ("/old", 0x2010, "user"),
        ("/old", 0x10, "user"), (None, 0x2010, "user"), ("/tmp/perf-3.map", 0x3010, "jit"),
    ]  # fmt: skip


def test_a_child_has_what_its_parent_had_mapped_when_it_was_forked(tmp_path: Path):
    writer = chained()
    writer.comm(3, 3, "parent", 0)
    writer.mmap(3, 0x1000, 0x1000, 0, "/shared", 10)
    writer.fork(4, 3, 4, 3, 100)
    writer.mmap(3, 0x5000, 0x1000, 0, "/later", 200)
    for pid in (3, 4):
        for address in (0x1010, 0x5010):
            sample_at(writer, pid, pid, 300, address)
    capture = read(tmp_path, writer.to_file())
    assert [(s.pid, s.frames[0].module) for s in capture.samples()] == [
        (3, "/shared"), (3, "/later"), (4, "/shared"), (4, None),
    ]  # fmt: skip


def test_what_was_mapped_stays_past_exec_until_it_is_mapped_over(tmp_path: Path):
    """As perf has it: on its way out of exec a task still returns into the old program."""
    writer = chained()
    writer.comm(3, 3, "sh", 0)
    writer.mmap(3, 0x1000, 0x1000, 0, "/bin/sh", 0)
    writer.comm(3, 3, "new", 100, is_exec=True)
    sample_at(writer, 3, 3, 110, 0x1010)
    writer.mmap(3, 0x1000, 0x1000, 0, "/bin/new", 120)
    sample_at(writer, 3, 3, 130, 0x1010)
    sample_at(writer, 3, 3, 50, 0x1010)
    capture = read(tmp_path, writer.to_file())
    assert [s.frames[0].module for s in capture.samples()] == ["/bin/sh", "/bin/sh", "/bin/new"]


@pytest.mark.parametrize(("path", "module"), [
    ("/lib/modules/6.1/kernel/net/nf-tables.ko", "[nf_tables]"),
    ("/lib/modules/6.1/kernel/fs/ext4.ko.xz", "[ext4]"),
    ("[kernel.kallsyms]_text", "[kernel.kallsyms]"),
])  # fmt: skip
def test_kernel_modules(path: str, module: str, tmp_path: Path):
    writer = chained()
    start = 0xFFFF_FFFF_C000_0000
    writer.mmap(-1, start, 0x1000, 0, path, 0, w.KERNEL)
    writer.sample(w.Sample(ip=start + 1, time=1, cpu_mode=w.KERNEL, callchain=(w.KERNEL_CONTEXT, start + 1)))
    (sample,) = read(tmp_path, writer.to_file()).samples()
    assert [(f.address, f.module, f.kind) for f in sample.frames] == [(start + 1, module, "kernel")]
