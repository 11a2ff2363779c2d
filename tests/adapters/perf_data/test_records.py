"""Every type of record, and every field of a sample, written byte by byte and found again in its table."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tests.adapters.perf_data import writer as w
from tests.adapters.perf_data.written import BASIC, CHAINED, chained, columns, read

from perfkit.adapters.perf_data import blocks

ORDERS = pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
MODES = pytest.mark.parametrize("mode", ["to_file", "to_pipe"])
TRAILER = w.SampleId(pid=5, tid=6, time=1000, cpu=3)


@ORDERS
@MODES
def test_switches(order: str, mode: str, tmp_path: Path):
    writer = chained(order=order)
    writer.comm(5, 6, "me", 0)
    writer.comm(7, 8, "other", 0)
    writer.add(14, b"", 1 << 13, TRAILER)
    writer.add(15, writer.pack("ii", 7, 8), 1 << 13 | 1 << 14, TRAILER)
    writer.add(15, writer.pack("ii", 7, 8), 0, replace(TRAILER, time=2000))
    capture = read(tmp_path, getattr(writer, mode)())
    rows = columns(capture.rows("event.perf_switch"), "ts", "cpu", "utid", "is_out", "is_preempt", "other_tid")
    assert rows == [(1000, 3, 0, True, False, -1), (1000, 3, 0, True, True, 8), (2000, 3, 0, False, False, 8)]
    assert capture.record_counts()["SWITCH_CPU_WIDE"] == 2


@ORDERS
@MODES
def test_losses_and_throttling(order: str, mode: str, tmp_path: Path):
    writer = chained(order=order)
    writer.add(2, writer.pack("QQ", 1, 41), 0, TRAILER)
    writer.add(2, writer.pack("QQ", 1, 1), 0, replace(TRAILER, time=2000))
    writer.add(13, writer.pack("Q", 17), 0, TRAILER)
    writer.add(5, writer.pack("QQQ", 3000, 1, 9), 0, replace(TRAILER, time=3000))
    writer.add(6, writer.pack("QQQ", 4000, 1, 9), 0, replace(TRAILER, time=4000))
    content = getattr(writer, mode)()
    capture = read(tmp_path, content)
    assert capture.issues() == {"lost_records": 42, "lost_samples": 17, "throttled": 1}
    offsets = {row["code"]: row["offset"] for row in capture.rows("import_issue")}
    assert offsets["lost_records"] == content.index(writer.records[0])
    assert offsets["lost_samples"] == content.index(writer.records[2])
    assert columns(capture.rows("event.perf_lost"), "ts", "event_id", "lost") == [(1000, 1, 41), (2000, 1, 1)]
    assert columns(capture.rows("event.perf_throttle"), "ts", "is_throttle", "stream_id") == [
        (3000, True, 9),
        (4000, False, 9),
    ]


@ORDERS
def test_namespaces_and_cgroups(order: str, tmp_path: Path):
    kind = BASIC | w.CGROUP
    writer = w.Writer([w.Event(kind)], order=order)
    writer.comm(5, 6, "me", 0)
    pairs = [word for inode in range(101, 108) for word in (3, inode)]
    writer.add(16, writer.pack("iiQ14Q", 5, 6, 7, *pairs), 0, TRAILER)
    writer.add(19, writer.pack("Q", 77) + w.text("/user.slice"), 0, TRAILER)
    writer.sample(w.Sample(pid=5, tid=6, time=2000, cgroup=77))
    capture = read(tmp_path, writer.to_file())
    names = [f"{name}_namespace" for name in ("net", "uts", "ipc", "pid", "user", "mnt", "cgroup")]
    assert columns(capture.rows("event.perf_namespaces"), *names) == [tuple(range(101, 108))]
    assert columns(capture.rows("event.perf_cgroup"), "cgroup_id", "path") == [(77, "/user.slice")]
    assert columns(capture.rows("process"), "pid", "cgroup") == [(5, "/user.slice")]


@ORDERS
def test_kernel_code_that_came_and_went(order: str, tmp_path: Path):
    writer = chained(order=order)
    address = 0xFFFF_FFFF_C000_0000
    writer.add(17, writer.pack("QIHH", address, 0x100, 1, 0) + w.text("bpf_prog_abc"), 0, TRAILER)
    writer.add(18, writer.pack("HHI", 1, 0, 42) + bytes(range(8)), 0, TRAILER)
    writer.add(20, w.padded(writer.pack("QHH", address, 5, 5) + b"\x90" * 10), 0, TRAILER)
    writer.sample(w.Sample(time=1500, cpu_mode=w.KERNEL, callchain=(w.KERNEL_CONTEXT, address + 8)))
    capture = read(tmp_path, writer.to_file())
    assert columns(capture.rows("event.perf_ksymbol"), "address", "length", "name", "is_unregister") == [
        (address, 0x100, "bpf_prog_abc", False)
    ]
    assert columns(capture.rows("event.perf_bpf"), "kind", "bpf_id", "tag") == [(1, 42, "0001020304050607")]
    assert columns(capture.rows("event.perf_text_poke"), "address", "old_length", "new_length") == [(address, 5, 5)]
    assert [(f.address, f.module, f.kind) for f in capture.samples()[0].frames] == [
        (address + 8, "bpf_prog_abc", "kernel")
    ]


@ORDERS
@pytest.mark.parametrize("payload", [8, 100_000, 5_000_000])
def test_trace_payloads_are_passed_over(order: str, payload: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 256 << 10)
    writer = chained(order=order)
    writer.add(70, writer.pack("II", 1, 0) + bytes(16))
    writer.add(11, writer.pack("QQQ", 0, payload, 1), 0, TRAILER)
    looks_like_records = w.record(order, 9, bytes(8)) * (payload // 16 + 1)
    writer.add(71, writer.pack("QQQIIII", payload, 0, 0, 0, 0, 0, 0))
    writer.records.append(looks_like_records[:payload])
    writer.sample(w.Sample(time=2000, callchain=(w.USER_CONTEXT, 1)))
    content = writer.to_file()
    capture = read(tmp_path, content)
    assert capture.issues() == {"aux_trace_not_decoded": 1}
    assert [sample.time for sample in capture.samples()] == [2000]
    assert columns(capture.rows("event.perf_aux"), "aux_size") == [(payload,)]
    assert {name: capture.record_counts()[name] for name in ("AUX", "AUXTRACE", "AUXTRACE_INFO")} == {
        "AUX": 1, "AUXTRACE": 1, "AUXTRACE_INFO": 1,
    }  # fmt: skip


def test_records_that_perfkit_does_not_know_are_counted(tmp_path: Path):
    writer = chained()
    writer.add(127, bytes(16))
    writer.add(127, bytes(16))
    writer.sample(w.Sample(time=1, callchain=(w.USER_CONTEXT, 1)))
    capture = read(tmp_path, writer.to_file())
    assert capture.issues() == {"unknown_record": 2}
    assert len(capture.samples()) == 1


@ORDERS
def test_mappings(order: str, tmp_path: Path):
    writer = chained(order=order)
    writer.mmap(-1, 0xFFFF_FFFF_8100_0000, 0x100_0000, 0xFFFF_FFFF_8100_0000, "[kernel.kallsyms]_text", 0, w.KERNEL)
    writer.mmap2(5, 0x1000, 0x1000, 0, "/bin/a", 0, build_id=bytes(range(20)))
    writer.mmap2(5, 0x3000, 0x1000, 0x2000, "/bin/b", 500, build_id=b"\xab\xcd")
    writer.mmap2(5, 0x5000, 0x1000, 0, "/bin/ü", 600)
    body = writer.pack("i", 5) + bytes(range(100, 120)) + bytes(4) + w.text("/bin/ü")
    writer.features = {2: w.record(order, 0, body, w.USER)}
    capture = read(tmp_path, writer.to_file())
    rows = columns(capture.rows("mapping"), "upid", "ts", "start", "end", "file_offset", "path", "build_id")
    text = 0xFFFF_FFFF_8100_0000
    assert rows == [
        (None, None, text, text + 0x100_0000, text, "[kernel.kallsyms]_text", None),
        (0, None, 0x1000, 0x2000, 0, "/bin/a", bytes(range(20)).hex()),
        (0, 500, 0x3000, 0x4000, 0x2000, "/bin/b", "abcd"),
        (0, 600, 0x5000, 0x6000, 0, "/bin/ü", bytes(range(100, 120)).hex()),
    ]


@ORDERS
def test_every_field_of_a_sample(order: str, tmp_path: Path):
    kind = (
        CHAINED | w.ADDR | w.ID | w.STREAM_ID | w.RAW | w.BRANCH_STACK | w.REGS_USER | w.STACK_USER | w.WEIGHT_STRUCT
        | w.DATA_SRC | w.TRANSACTION | w.REGS_INTR | w.PHYS_ADDR | w.CGROUP | w.DATA_PAGE_SIZE | w.CODE_PAGE_SIZE
    )  # fmt: skip
    event = w.Event(kind, branch_sample_type=w.HW_INDEX, sample_regs_user=0b101, sample_regs_intr=0b11)
    writer = w.Writer([event], order=order)
    # enum: mispred 1, predicted 2, in_tx 4, abort 8, cycles from bit 4, type from bit 20
    branches = ((0x10, 0x20, 1 | 7 << 4 | 3 << 20), (0x30, 0x40, 2 | 4 | 8))
    whole = w.Sample(
        ip=0x99, time=5, addr=0xA, stream_id=4, cpu=2, period=6, callchain=(w.USER_CONTEXT, 0x99, 0x88), raw=b"abcde",
        branches=branches, regs_user=(1, 2), stack_user=bytes(64), stack_used=48, weight=9 | 8 << 32 | 7 << 48,
        data_src=0xD, transaction=0xE, regs_intr=(3, 4), phys_addr=0xF, cgroup=0x12, data_page_size=4096,
        code_page_size=8192,
    )  # fmt: skip
    writer.sample(whole)
    writer.sample(replace(whole, time=6, regs_user=None, stack_user=b"", regs_intr=None, raw=b"", branches=()))
    capture = read(tmp_path, writer.to_file())
    assert capture.issues() == {"user_stack_not_unwound": 1}
    assert [(s.time, s.cpu, s.period, [f.address for f in s.frames]) for s in capture.samples()] == [
        (5, 2, 6, [0x99, 0x88]),
        (6, 2, 6, [0x99, 0x88]),
    ]
    access = (0xA, 0xF, 4096, 8192, 9, 8, 7, 0xD, 0xE, 0x12)
    names = ("address", "physical_address", "data_page_size", "code_page_size", "weight", "instruction_latency",
             "retire_latency", "data_source", "transaction", "cgroup_id")  # fmt: skip
    assert columns(capture.rows("memory_access"), *names) == [access, access]
    names = ("position", "from_address", "to_address", "mispredicted", "predicted", "in_transaction", "aborted",
             "cycles", "branch_type")  # fmt: skip
    assert columns(capture.rows("branch"), *names) == [
        (0, 0x10, 0x20, True, False, False, False, 7, 3),
        (1, 0x30, 0x40, False, True, True, True, 0, 0),
    ]


CHAINS = {
    "markers": ((w.KERNEL_CONTEXT, 2**63, w.USER_CONTEXT, 7), w.KERNEL, [(2**63, "kernel"), (7, "user")]),
    "no marker": ((7, 8), w.USER, [(7, "user"), (8, "user")]),
    "guest": ((2**64 - 2176, 7, 2**64 - 2560, 8), w.KERNEL, [(7, "guest_kernel"), (8, "guest_user")]),
    "hypervisor": ((w.HV_CONTEXT, 7), w.HYPERVISOR, [(7, "hypervisor")]),
    "empty": ((), w.USER, [(0x55, "user")]),
    "only a marker": ((w.USER_CONTEXT,), w.USER, [(0x55, "user")]),
    "stray value": ((w.USER_CONTEXT, 7, 2**64 - 1), w.USER, [(7, "user"), (2**64 - 1, "user")]),
}


@ORDERS
@pytest.mark.parametrize("name", CHAINS)
def test_callchains(order: str, name: str, tmp_path: Path):
    chain, cpu_mode, expected = CHAINS[name]
    writer = chained(order=order)
    writer.sample(w.Sample(ip=0x55, time=1, callchain=chain, cpu_mode=cpu_mode))
    capture = read(tmp_path, writer.to_file())
    assert [(frame.address, frame.kind) for frame in capture.samples()[0].frames] == expected
    assert capture.issues() == ({"stray_callchain_value": 1} if name == "stray value" else {})


def test_what_the_head_says(tmp_path: Path):
    writer = chained()
    pack = writer.pack
    strings = {3: "host", 4: "6.1.0", 5: "6.1.192", 6: "x86_64", 8: "A CPU", 9: "AuthenticAMD,26,2,1"}
    writer.features = {bit: writer.feature_text(value) for bit, value in strings.items()}
    writer.features |= {
        7: pack("II", 8, 4),
        10: pack("Q", 1024),
        11: pack("I", 3) + b"".join(writer.feature_text(word) for word in ("perf", "record", "-g")),
        12: writer.event_desc(),
        17: pack("I", 1) + writer.feature_text("group") + pack("II", 0, 1),
        21: pack("QQ", 5, 9),
        29: pack("IIQQ", 1, 1, 1_700_000_000_000_000_000, 5),
    }
    writer.sample(w.Sample(time=5, callchain=(w.USER_CONTEXT, 1)))
    writer.sample(w.Sample(time=9, callchain=(w.USER_CONTEXT, 1)))
    (row,) = read(tmp_path, writer.to_file()).rows("capture")
    expected = {
        "hostname": "host", "os_release": "6.1.0", "tool_version": "6.1.192", "arch": "x86_64", "cpu_model": "A CPU",
        "cpu_count": 4, "memory_bytes": 1 << 20, "command": "perf record -g", "start_ts": 5, "end_ts": 9,
        "tool": "perf", "format": "perf.data",
    }  # fmt: skip
    assert {key: row[key] for key in expected} == expected
    assert row["started_at"].isoformat() == "2023-11-14T22:13:20"


def test_the_clock_that_was_asked_for(tmp_path: Path):
    writer = w.Writer([w.Event(CHAINED, flags=w.SAMPLE_ID_ALL | w.USE_CLOCKID, clockid=1)])
    (row,) = read(tmp_path, writer.to_file()).rows("capture")
    assert row["clock"] == "CLOCK_MONOTONIC"


def test_samples_without_time_thread_or_address(tmp_path: Path):
    writer = w.Writer([w.Event(w.CPU, flags=0)])
    writer.sample(w.Sample(cpu=1))
    writer.sample(w.Sample(cpu=0))
    capture = read(tmp_path, writer.to_file())
    names = ("ts", "utid", "cpu", "stack_id", "value")
    assert columns(capture.rows("sample"), *names) == [(None, None, 1, None, 1000), (None, None, 0, None, 1000)]


def test_a_sample_that_is_cut_short_is_left_out(tmp_path: Path):
    writer = chained()
    writer.sample(w.Sample(time=1, callchain=(w.USER_CONTEXT, 1)))
    writer.sample(w.Sample(time=2, callchain=(w.USER_CONTEXT, 1)))
    lying = bytearray(writer.records[0])
    struct.pack_into("<Q", lying, len(lying) - 24, 1 << 60)  # the length of the callchain
    writer.records.insert(1, bytes(lying))
    content = writer.to_file()
    capture = read(tmp_path, content)
    assert [sample.time for sample in capture.samples()] == [1, 2]
    assert capture.issues() == {"damaged_sample": 1}
    assert capture.rows("import_issue")[0]["offset"] == content.index(lying)
