"""Samples decoded a field at a time for all at once, against what was written a sample at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.perf_data import writer as w

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_data.address_space import AddressSpaces
from perfkit.adapters.perf_data.attributes import parse_attr
from perfkit.adapters.perf_data.chains import ChainTable
from perfkit.adapters.perf_data.samples import Samples, decode_samples
from perfkit.adapters.perf_data.walk import Block, walk

U64 = st.integers(0, 2**64 - 1)
U31 = st.integers(0, 2**31 - 1)
WORDS = st.lists(U64, max_size=4).map(tuple)

KINDS = st.integers(0, 2**25 - 1).map(lambda kind: kind & ~(w.AUX | w.STREAM_ID))
READS = st.sampled_from([0, w.READ_ID, w.GROUP, w.GROUP | w.READ_ID, w.ENABLED | w.RUNNING | w.READ_ID | w.READ_LOST,
                         w.GROUP | w.ENABLED | w.READ_ID | w.READ_LOST])  # fmt: skip
EVENTS = st.builds(
    w.Event, KINDS, read_format=READS, branch_sample_type=st.sampled_from([0, w.HW_INDEX]),
    sample_regs_user=st.just(0b111), sample_regs_intr=st.just(0b11),
)  # fmt: skip
SAMPLES = st.builds(
    w.Sample, id=U64, ip=U64, pid=U31, tid=U31, time=st.integers(0, 2**63 - 1), addr=U64, cpu=U31,
    period=st.integers(0, 2**63 - 1), callchain=WORDS, raw=st.binary(max_size=20),
    read=st.lists(st.tuples(U64, U64), min_size=1, max_size=3).map(lambda values: w.Read(tuple(values))),
    branches=st.lists(st.tuples(U64, U64, U64), max_size=3).map(tuple),
    regs_user=st.none() | st.tuples(U64, U64, U64), stack_user=st.sampled_from([b"", bytes(8), bytes(32)]),
    weight=U64, data_src=U64, transaction=U64, regs_intr=st.none() | st.tuples(U64, U64), phys_addr=U64,
    cgroup=U64, data_page_size=U64, code_page_size=U64, cpu_mode=st.integers(0, 5),
)  # fmt: skip


def decode(event: w.Event, samples: list[w.Sample], order: str) -> Samples:
    data = b"".join(w.sample(order, event, sample) for sample in samples)
    block = Block(np.frombuffer(data, np.uint8), order)
    attr = parse_attr(event.attr(order, 136), order)
    found = walk(block)
    assert len(found.starts) == len(samples)
    return decode_samples(block, found.starts, attr, np.zeros(len(samples), np.int32))


@given(EVENTS, st.lists(SAMPLES, min_size=1, max_size=5), st.sampled_from("<>"))
@settings(max_examples=80, deadline=None)
def test_every_field_is_what_was_written(event: w.Event, samples: list[w.Sample], order: str):
    got = decode(event, samples, order)
    assert not got.damaged.any()
    assert got.cpu_mode.tolist() == [sample.cpu_mode for sample in samples]
    for bit, name in (
        (w.IP, "ip"), (w.TID, "pid"), (w.TID, "tid"), (w.TIME, "time"), (w.ADDR, "addr"), (w.CPU, "cpu"),
        (w.PERIOD, "period"), (w.WEIGHT | w.WEIGHT_STRUCT, "weight"), (w.DATA_SRC, "data_src"),
        (w.TRANSACTION, "transaction"), (w.PHYS_ADDR, "phys_addr"), (w.CGROUP, "cgroup"),
        (w.DATA_PAGE_SIZE, "data_page_size"), (w.CODE_PAGE_SIZE, "code_page_size"),
    ):  # fmt: skip
        values = getattr(got, name)
        if event.sample_type & bit:
            assert values.tolist() == [getattr(sample, name) for sample in samples]
        else:
            assert values is None
    words, raw = got.block.u64, got.block.u8
    if event.sample_type & w.CALLCHAIN:
        assert [words[a : a + n].tolist() for a, n in pairs(got.chain_start, got.chain_length)] == [
            list(sample.callchain) for sample in samples
        ]
    if event.sample_type & w.RAW:
        found = [raw[a : a + n].tobytes() for a, n in pairs(got.raw_start, got.raw_size)]
        assert [len(data) % 8 for data in found] == [4] * len(samples)  # the kernel pads size and data together
        assert [data.rstrip(b"\0") for data in found] == [sample.raw.rstrip(b"\0") for sample in samples]
    if event.sample_type & w.BRANCH_STACK:
        assert got.branch_count.tolist() == [len(sample.branches) for sample in samples]
        for at, sample in zip(got.branch_start.tolist(), samples, strict=True):
            sources = words[at : at + 3 * len(sample.branches) : 3].tolist()
            assert sources == [source for source, _, _ in sample.branches]
    if event.sample_type & w.REGS_USER:
        assert [words[a : a + 3].tolist() if kind else None for a, kind in pairs(got.regs_user_start, got.regs_user_abi)
                ] == [None if sample.regs_user is None else list(sample.regs_user) for sample in samples]  # fmt: skip
    if event.sample_type & w.STACK_USER:
        assert got.stack_user_size.tolist() == [0] * len(samples)  # nothing of the dump was filled


@given(READS.filter(bool), st.lists(SAMPLES, min_size=1, max_size=5), st.sampled_from("<>"))
@settings(max_examples=40, deadline=None)
def test_counter_values(read_format: int, samples: list[w.Sample], order: str):
    event = w.Event(w.TIME | w.READ | w.IP, read_format=read_format)
    read = decode(event, samples, order).read
    assert read is not None
    expected = [
        (index, identity if read_format & w.READ_ID else 0, value)
        for index, sample in enumerate(samples)
        for identity, value in (sample.read.values if read_format & w.GROUP else sample.read.values[:1])
    ]
    assert list(zip(read.sample.tolist(), read.id.tolist(), read.value.tolist(), strict=True)) == expected


@given(EVENTS, st.lists(SAMPLES, min_size=1, max_size=4), st.sampled_from("<>"), st.data())
@settings(max_examples=80, deadline=None)
def test_damaged_bytes_never_lead_out_of_the_block(
    event: w.Event, samples: list[w.Sample], order: str, data: st.DataObject
):
    content = bytearray(b"".join(w.sample(order, event, sample) for sample in samples))
    starts = walk(Block(np.frombuffer(bytes(content), np.uint8), order)).starts
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) // 8 - 1))
        if at not in starts:
            content[at * 8 : at * 8 + 8] = data.draw(st.binary(min_size=8, max_size=8))
    block = Block(np.frombuffer(bytes(content), np.uint8), order)
    attr = parse_attr(event.attr(order, 136), order)
    got = decode_samples(block, starts, attr, np.zeros(len(starts), np.int32))
    if got.chain_start is not None and got.chain_length is not None:
        assert ((got.chain_start + got.chain_length)[~got.damaged] <= len(block.u64)).all()
    if got.raw_start is not None and got.raw_size is not None:
        assert ((got.raw_start + got.raw_size)[~got.damaged] <= len(content)).all()


@given(
    st.lists(st.lists(st.integers(1, 6) | st.sampled_from([w.USER_CONTEXT, w.KERNEL_CONTEXT]), max_size=5), min_size=1,
             max_size=60),
    st.sampled_from("<>"), st.data(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_chains_are_numbered_as_a_dict_would(chains: list[list[int]], order: str, data: st.DataObject):
    event = w.Event(w.IP | w.CALLCHAIN)
    samples = [w.Sample(ip=data.draw(st.integers(1, 3)), callchain=tuple(chain), cpu_mode=data.draw(st.integers(1, 2)))
               for chain in chains]  # fmt: skip
    spaces = [data.draw(st.integers(-1, 1)) for _ in samples]
    table = ChainTable(AddressSpaces(), IssueLog(), 127)
    table._spaces._regions += [[], []]
    ids = []
    half = len(samples) // 2
    for part in (slice(0, half), slice(half, None)):
        if samples[part]:
            ids += table.intern(decode(event, samples[part], order), np.array(spaces[part], np.int32)).tolist()
    known: dict[object, int] = {}
    markers = {w.USER_CONTEXT, w.KERNEL_CONTEXT}
    for sample, space, found in zip(samples, spaces, ids, strict=True):
        is_bare = not set(sample.callchain) - markers and len(sample.callchain) <= 2
        chain = ("ip", sample.ip) if is_bare else sample.callchain
        assert known.setdefault((chain, space, sample.cpu_mode), len(known)) == found


def pairs(first: np.ndarray | None, second: np.ndarray | None) -> list[tuple[int, int]]:
    assert first is not None
    assert second is not None
    return list(zip(first.tolist(), second.tolist(), strict=True))
