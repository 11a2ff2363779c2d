"""Samples leave in time order, by rounds that arrive exactly or roughly, and none is handed on too early."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.adapters.perf_data.ordering import TimeOrder


def columns(times: list[int], first: int) -> dict[str, np.ndarray]:
    return {"time": np.array(times, np.int64), "number": np.arange(first, first + len(times))}


@st.composite
def rounds(draw: st.DrawFn) -> list[list[int]]:
    """Times in file order, a list a round: none is older than the newest of the round before the last."""
    out: list[list[int]] = []
    newest = [0, 0]
    for _ in range(draw(st.integers(0, 12))):
        times = [newest[-2] + draw(st.integers(0, 50)) for _ in range(draw(st.integers(0, 8)))]
        out.append(times)
        newest.append(max([newest[-1], *times]))
    return out


def drain(order: TimeOrder, out: list[tuple[int, int]], **options: bool) -> None:
    for part in order.take(at_least=1, **options):
        out += zip(part["time"].tolist(), part["number"].tolist(), strict=True)


@given(rounds())
@settings(max_examples=100, deadline=None)
def test_rounds(file: list[list[int]]):
    order, out, expected = TimeOrder(), [], []
    for times in file:
        order.add(columns(times, len(expected)))
        expected += [(time, len(expected) + index) for index, time in enumerate(times)]
        order.end_round()
        drain(order, out)
    drain(order, out, everything=True)
    assert out == sorted(expected)
    assert order.late == 0


@given(rounds(), st.lists(st.integers(1, 9), min_size=100, max_size=100))
@settings(max_examples=100, deadline=None)
def test_rounds_whose_place_is_known_to_the_block_only(file: list[list[int]], sizes: list[int]):
    """Blocks are cut anywhere; the rounds that ended inside one are told after its samples."""
    order, out = TimeOrder(), []
    times = [time for part in file for time in part]
    ends = np.cumsum([len(part) for part in file]).tolist()
    at = 0
    for size in sizes:
        if at >= len(times):
            break
        order.add(columns(times[at : at + size], at))
        for _ in range(sum(at < end <= at + size for end in ends)):
            order.end_round_somewhere()
        drain(order, out)
        at += size
    drain(order, out, everything=True)
    assert out == sorted((time, index) for index, time in enumerate(times[:at]))
    assert order.late == 0


def test_samples_that_break_their_round_are_counted_and_kept():
    order, out = TimeOrder(), []
    for times in ([100], [200], [300], [50]):
        order.add(columns(times, 0))
        order.end_round()
        drain(order, out)
    drain(order, out, everything=True)
    assert sorted(time for time, _ in out) == [50, 100, 200, 300]
    assert order.late == 1


def test_what_goes_leaves_memory():
    order, out = TimeOrder(), []
    held = []
    for number in range(50):
        order.add(columns([number * 10], number))
        order.end_round()
        drain(order, out)
        held.append(number + 1 - len(out))
    assert max(held) <= 2
