"""The walk in numpy finds what a plain walk finds, whatever the records look like."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.adapters.perf_data import walk as walking
from perfkit.adapters.perf_data.walk import Block, WalkMemory, next_header, walk

TRACING_DATA, AUXTRACE, SAMPLE = 66, 71, 9


@pytest.fixture(scope="module", autouse=True)
def _small_lanes() -> Iterator[None]:
    """Many lanes even in small blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "_LANE_WORDS", 8)
        patch.setattr(walking, "_SCALAR_WORDS", 16)
        patch.setattr(walking, "_WINDOW_WORDS", 32)
        patch.setattr(walking, "_STEPS_PER_PAGE", 3)
        yield


class Plain(NamedTuple):
    starts: list[int]
    end: int
    is_damaged: bool


def plain_walk(data: bytes, order: str) -> Plain:
    """One record after the other, as the format says."""
    at, starts, words = 0, [], len(data) // 8
    while at < words:
        kind, _, size = struct.unpack_from(order + "IHH", data, at * 8)
        if size < 8 or size % 8 or not (1 <= kind < 128 or 32768 <= kind < 32800):
            return Plain(starts, at, True)
        if at + size // 8 > words:
            return Plain(starts, at, False)
        starts.append(at)
        payload = 0
        if kind == TRACING_DATA and at + 1 < words:
            (payload,) = struct.unpack_from(order + "I", data, at * 8 + 8)
        elif kind == AUXTRACE and at + 1 < words:
            (payload,) = struct.unpack_from(order + "Q", data, at * 8 + 8)
        at += size // 8 + min((payload + 7) // 8, 1 << 48)
    return Plain(starts, at, False)


def header(kind: int, words: int, order: str) -> bytes:
    return struct.pack(order + "IHH", kind, 2, words * 8)


def make_stream(seed: int, count: int, order: str) -> tuple[bytes, str]:
    """Valid records whose bodies are full of words that look like headers themselves."""
    random = Random(seed)
    kinds = [SAMPLE, SAMPLE, SAMPLE, 1, 3, 7, 10, 68, 81, 127, 32769]

    def word() -> bytes:
        return (
            header(random.choice(kinds), random.randint(1, 9), order) if random.random() < 0.6 else random.randbytes(8)
        )

    out = b""
    for _ in range(count):
        body = [word() for _ in range(random.randrange(13))]
        out += header(random.choice(kinds), 1 + len(body), order) + b"".join(body)
        if random.random() < 0.03:
            size = random.randrange(100)
            out += header(AUXTRACE, 6, order) + struct.pack(order + "Q", size) + bytes(32)
            out += (header(SAMPLE, 2, order) * 20)[: size + 7 & ~7]
    return out, order


def streams() -> st.SearchStrategy[tuple[bytes, str]]:
    return st.builds(make_stream, st.integers(0, 2**32), st.integers(0, 60), st.sampled_from("<>"))


def check(data: bytes, order: str) -> None:
    found = walk(Block(np.frombuffer(data, np.uint8), order))
    assert Plain(found.starts.tolist(), found.end, bool(found.is_damaged)) == plain_walk(data, order)


@given(streams())
@settings(max_examples=300, deadline=None)
def test_a_sound_stream(stream: tuple[bytes, str]):
    check(*stream)


@given(streams(), st.integers(0, 1 << 20))
@settings(max_examples=150, deadline=None)
def test_a_stream_that_is_cut(stream: tuple[bytes, str], cut: int):
    data, order = stream
    check(data[: cut % (len(data) // 8 + 1) * 8], order)


@given(streams(), st.integers(0, 1 << 20), st.binary(min_size=8, max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_stream_with_a_word_overwritten(stream: tuple[bytes, str], at: int, word: bytes):
    data, order = stream
    if data:
        begin = at % (len(data) // 8) * 8
        check(data[:begin] + word + data[begin + 8 :], order)


@given(st.binary(max_size=4096), st.sampled_from("<>"))
@settings(max_examples=100, deadline=None)
def test_noise(data: bytes, order: str):
    check(data[: len(data) & ~7], order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_large_block_with_the_lanes_of_every_day(order: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    random = np.random.default_rng(1)
    sizes = random.integers(2, 60, 20_000).tolist()
    check(b"".join(header(SAMPLE, words, order) + header(SAMPLE, 2, order) * (words - 1) for words in sizes), order)


@given(streams(), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_behind_damage_the_next_record_is_found(stream: tuple[bytes, str], damaged_words: int):
    """Words that cannot be headers, then records to the end: none of these is missed, be there enough of them."""
    data, order = stream
    sound = plain_walk(data, order)
    if len(sound.starts) < 5 or sound.end * 8 != len(data):
        return
    noise = b"\xff" * 8 * damaged_words
    assert next_header(Block(np.frombuffer(noise + data, np.uint8), order), 1) == damaged_words


def test_a_false_header_that_leaps_out_of_the_block_hides_nothing():
    false = header(5, 1000, "<")
    records = header(SAMPLE, 2, "<") + bytes(8)
    block = Block(np.frombuffer(b"\xff" * 16 + false + records * 6, np.uint8), "<")
    assert next_header(block, 1) == 3


@given(st.lists(streams().map(lambda s: s[0]), max_size=4))
@settings(max_examples=30, deadline=None)
def test_walks_are_remembered(blocks: list[bytes]):
    memory = WalkMemory()
    first = [memory.walk(Block(np.frombuffer(data, np.uint8), "<")) for data in blocks]
    memory.rewind()
    again = [memory.walk(Block(np.frombuffer(data, np.uint8), "<")) for data in blocks]
    for one, other in zip(first, again, strict=True):
        assert one.starts.tolist() == other.starts.tolist()
        assert (one.end, one.is_damaged) == (other.end, other.is_damaged)
