"""Every shape a perf.data can have, written byte by byte and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapters.perf_data import writer as w
from tests.adapters.perf_data.decoded import Decoded
from tests.adapters.perf_data.written import BASIC, CHAINED, chained, columns, read

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data import blocks
from perfkit.adapters.perf_data.adapter import PerfData
from perfkit.adapters.source import Source

KERNEL_ADDRESS = 0xFFFF_FFFF_8100_0000
ORDERS = pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])


def story(writer: w.Writer) -> w.Writer:
    """Two processes, one forked by the other, and four samples."""
    writer.comm(10, 10, "shell", 0)
    writer.mmap(10, 0x40_0000, 0x10_0000, 0x1000, "/bin/shell", 0)
    writer.fork(11, 10, 11, 10, 100)
    writer.comm(11, 11, "child", 150, is_exec=True)
    writer.mmap2(11, 0x7000_0000, 0x1000, 0x2000, "/lib/child.so", 160)
    chain = (w.KERNEL_CONTEXT, KERNEL_ADDRESS, KERNEL_ADDRESS + 8, w.USER_CONTEXT, 0x40_0010, 0x40_0020)
    writer.sample(w.Sample(ip=KERNEL_ADDRESS, pid=10, tid=10, time=50, period=7, callchain=chain, cpu_mode=w.KERNEL))
    writer.sample(w.Sample(ip=0x40_0030, pid=11, tid=11, time=120, cpu=1, period=8,
                           callchain=(w.USER_CONTEXT, 0x40_0030)))  # fmt: skip
    writer.sample(w.Sample(ip=0x7000_0040, pid=11, tid=11, time=170, cpu=2, period=9,
                           callchain=(w.USER_CONTEXT, 0x7000_0040, 0x1234)))  # fmt: skip
    writer.sample(w.Sample(ip=0x40_0050, pid=10, tid=10, time=60, cpu=3, period=10,
                           callchain=(w.USER_CONTEXT, 0x40_0050)))  # fmt: skip
    writer.exit(11, 10, 11, 10, 200)
    return writer


def check_story(capture: Decoded) -> None:
    assert capture.issues() == {}
    seen = [
        (s.comm, s.pid, s.tid, s.cpu, s.time, s.event, s.period, [(f.address, f.module, f.kind) for f in s.frames])
        for s in capture.samples()
    ]
    shell, kernel = "/bin/shell", "[kernel.kallsyms]"
    assert seen == [
        ("shell", 10, 10, 0, 50, "cpu-clock", 7, [
            (KERNEL_ADDRESS, kernel, "kernel"), (KERNEL_ADDRESS + 8, kernel, "kernel"),
            (0x1010, shell, "user"), (0x1020, shell, "user"),
        ]),
        ("shell", 10, 10, 3, 60, "cpu-clock", 10, [(0x1050, shell, "user")]),
        ("shell", 11, 11, 1, 120, "cpu-clock", 8, [(0x1030, shell, "user")]),
        ("child", 11, 11, 2, 170, "cpu-clock", 9, [(0x2040, "/lib/child.so", "user"), (0x1234, None, "user")]),
    ]  # fmt: skip
    assert columns(capture.rows("process"), "pid", "name", "parent_upid", "start_ts", "end_ts") == [
        (10, "shell", None, None, None),
        (11, "child", 0, 100, 200),
    ]


@ORDERS
@pytest.mark.parametrize("attr_size", [64, 72, 80, 96, 104, 112, 120, 128, 136, 144, 152])
def test_attributes_of_any_size(order: str, attr_size: int, tmp_path: Path):
    writer = story(chained(order=order, attr_size=attr_size))
    writer.features = {12: writer.event_desc()}
    check_story(read(tmp_path, writer.to_file()))


@ORDERS
def test_the_old_magic(order: str, tmp_path: Path):
    writer = story(chained(order=order, magic=w.PERFFILE, attr_size=64))
    writer.features = {12: writer.event_desc()}
    check_story(read(tmp_path, writer.to_file()))


@ORDERS
@pytest.mark.parametrize("attr_size", [64, 136, 152])
def test_pipes(order: str, attr_size: int, tmp_path: Path):
    check_story(read(tmp_path, story(chained(order=order, attr_size=attr_size)).to_pipe()))


@ORDERS
def test_features_in_a_pipe_shift_what_follows(order: str, tmp_path: Path):
    writer = story(chained(order=order))
    writer.features = {3: writer.feature_text("host"), 6: writer.feature_text("x86_64")}
    content = writer.to_pipe()
    capture = read(tmp_path, content)
    check_story(capture)
    assert columns(capture.rows("capture"), "hostname", "arch") == [("host", "x86_64")]


@pytest.mark.parametrize("payload_size", [1, 8, 300_000])
@pytest.mark.parametrize("header_size", [12, 16])
def test_tracing_data_in_a_pipe(header_size: int, payload_size: int, tmp_path: Path):
    # struct perf_record_header_tracing_data { header; u32 size; } has 12 bytes, until 5.x pads it to 16.
    writer = chained()
    payload = (b"\x09\0\0\0\0\0\x08\0" * (payload_size // 8 + 1))[:payload_size]  # looks like records
    body = writer.pack("I", len(payload)).ljust(header_size - 8, b"\0")
    writer.records.append(w.record("<", 66, body) + w.padded(payload))
    check_story(read(tmp_path, story(writer).to_pipe()))


@ORDERS
@pytest.mark.parametrize("kind", [81, 83], ids=["COMPRESSED", "COMPRESSED2"])
@pytest.mark.parametrize("mode", ["file", "pipe"])
def test_compressed_records(order: str, kind: int, mode: str, tmp_path: Path):
    plain = story(chained(order=order))
    writer = plain.with_records(w.compressed(plain, 7, kind=kind))
    writer.finished_round()
    if mode == "file":
        writer.features = {12: writer.event_desc()}
    capture = read(tmp_path, writer.to_file() if mode == "file" else writer.to_pipe())
    check_story(capture)
    assert capture.record_counts()["SAMPLE"] == 4
    assert capture.record_counts()[{81: "COMPRESSED", 83: "COMPRESSED2"}[kind]] == len(writer.records) - 1


@pytest.mark.parametrize("pieces", [1, 3, 400])
def test_unpacked_data_is_read_to_its_end(pieces: int, tmp_path: Path):
    """perf never ends its zstd frame: what the decompressor still holds at the file's end is wanted too."""
    plain = chained()
    for number in range(20_000):
        plain.sample(w.Sample(time=number, ip=number % 7, callchain=(w.USER_CONTEXT, number % 7, 5)))
    capture = read(tmp_path, plain.with_records(w.compressed(plain, pieces)).to_file())
    assert capture.issues() == {}
    assert [sample.time for sample in capture.samples()] == list(range(20_000))


def test_rounds_among_compressed_records_keep_time_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64 << 10)
    monkeypatch.setattr("perfkit.adapters.perf_data.ordering.TimeOrder.take.__kwdefaults__",
                        {"everything": False, "at_least": 100})  # fmt: skip
    records, expected = [], []
    for number in range(40):
        part = chained()
        # Each round's samples reach back into the round before, as those of another CPU's buffer do.
        times = [*range(number * 500, number * 500 + 500), *range(number * 500 - 450, number * 500 - 400)]
        for time in times:
            part.sample(w.Sample(time=10_000 + time, callchain=(w.USER_CONTEXT, 1)))
        expected += [10_000 + time for time in times]
        records.append(part)
    whole = chained()
    packed = _one_stream(records)
    for group in packed:
        whole.records += group
        whole.finished_round()
    capture = read(tmp_path, whole.to_file())
    assert capture.issues() == {}
    assert [sample.time for sample in capture.samples()] == sorted(expected)


def _one_stream(parts: list[w.Writer]) -> list[list[bytes]]:
    import zstandard

    packer = zstandard.ZstdCompressor().compressobj()
    return [
        [w.record("<", 81, packer.compress(part.data()) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))]
        for part in parts
    ]


def test_a_folder_of_threads(tmp_path: Path):
    folder = tmp_path / "perf.data"
    folder.mkdir()
    head, first, second = chained(), chained(), chained()
    head.features = {12: head.event_desc()}
    head.comm(1, 1, "main", 0)
    for number in range(0, 3000, 2):
        first.sample(w.Sample(time=number + 1, callchain=(w.USER_CONTEXT, 1)))
        second.sample(w.Sample(time=number + 2, cpu=1, callchain=(w.USER_CONTEXT, 2)))
        if number % 100 == 0:  # rounds of one file say nothing of the other
            first.finished_round()
            second.finished_round()
    (folder / "data").write_bytes(head.to_file())
    (folder / "data.0").write_bytes(first.data())
    (folder / "data.1").write_bytes(second.data())
    capture = Decoded(folder)
    assert capture.issues() == {}
    assert [(s.time, s.cpu, s.comm) for s in capture.samples()] == [(t, 1 - t % 2, "main") for t in range(1, 3001)]


@ORDERS
def test_events_whose_samples_differ_in_layout(order: str, tmp_path: Path):
    events = [
        w.Event(CHAINED, ids=(11, 12), name="cycles", type=0),
        w.Event(BASIC | w.ADDR | w.PHYS_ADDR, ids=(21,), name="page-faults", config=2),
        w.Event((BASIC | w.RAW) & ~w.PERIOD, ids=(31,), name="sched:sched_switch", type=2, config=316, period=5),
    ]
    writer = w.Writer(events, order=order)
    writer.features = {12: writer.event_desc()}
    writer.sample(w.Sample(id=12, time=1, period=3, callchain=(w.USER_CONTEXT, 0x10)))
    writer.sample(w.Sample(id=21, time=2, period=4, ip=0x20, addr=0xABC, phys_addr=0xDEF), 1)
    writer.sample(w.Sample(id=31, time=3, ip=0x30, raw=b"payload"), 2)
    writer.sample(w.Sample(id=11, time=4, period=5, callchain=(w.USER_CONTEXT, 0x40)))
    writer.sample(w.Sample(id=99, time=5), 1)
    capture = read(tmp_path, writer.to_file())
    assert [(s.event, s.time, s.period, [f.address for f in s.frames]) for s in capture.samples()] == [
        ("cycles", 1, 3, [0x10]),
        ("page-faults", 2, 4, [0x20]),
        ("sched:sched_switch", 3, 5, [0x30]),
        ("cycles", 4, 5, [0x40]),
    ]
    assert capture.issues() == {"unknown_event_id": 1}
    accesses = columns(capture.rows("memory_access"), "ts", "address", "physical_address")
    assert (2, 0xABC, 0xDEF) in accesses
    counts = {(row["record"], row["metric_id"]): row["count"] for row in capture.rows("record_count")}
    assert {key: n for key, n in counts.items() if key[0] == "SAMPLE"} == {
        ("SAMPLE", None): 5, ("SAMPLE", 0): 2, ("SAMPLE", 1): 1, ("SAMPLE", 2): 1,
    }  # fmt: skip


@ORDERS
@pytest.mark.parametrize("read_format", [
    w.GROUP | w.READ_ID,
    w.GROUP | w.READ_ID | w.ENABLED | w.RUNNING,
    w.GROUP | w.READ_ID | w.ENABLED | w.RUNNING | w.READ_LOST,
])  # fmt: skip
def test_groups_give_a_row_to_each_member_that_moved(order: str, read_format: int, tmp_path: Path):
    kind = BASIC | w.READ
    events = [
        w.Event(kind, ids=(1,), name="cpu-clock", read_format=read_format),
        w.Event(kind, ids=(2,), name="page-faults", config=2, read_format=read_format),
        w.Event(kind, ids=(3,), name="context-switches", config=3, read_format=read_format),
    ]
    writer = w.Writer(events, order=order)
    writer.features = {12: writer.event_desc()}
    for time, values in ((1, (100, 5, 0)), (2, (250, 5, 0)), (3, (300, 9, 1))):
        writer.sample(w.Sample(time=time, ip=time, read=w.Read(tuple(enumerate(values, 1)))))
    capture = read(tmp_path, writer.to_file())
    assert [(s.time, s.event, s.period, s.frames[0].address) for s in capture.samples()] == [
        (1, "cpu-clock", 100, 1), (1, "page-faults", 5, 1),
        (2, "cpu-clock", 150, 2),
        (3, "cpu-clock", 50, 3), (3, "page-faults", 4, 3), (3, "context-switches", 1, 3),
    ]  # fmt: skip
    assert capture.issues() == {}


def test_a_recording_that_was_killed(tmp_path: Path):
    content = bytearray(story(chained()).to_file())
    content[48:56] = bytes(8)  # `perf record` fills in the size of the data when it ends
    capture = read(tmp_path, bytes(content))
    assert len(capture.samples()) == 4
    assert capture.issues() == {"unfinished_recording": 1}


def test_nothing_but_the_content_says_what_it_is(tmp_path: Path):
    plain = tmp_path / "holiday.jpg"
    plain.write_bytes(story(chained()).to_file())
    assert PerfData().sniff(Source(plain))
    other = tmp_path / "perf.data"
    other.write_bytes(b"not at all")
    assert not PerfData().sniff(Source(other))
    assert len(IssueLog()) == 0
