from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfkit.ingest.symbols.perf_map import parse_perf_map


def names(content: bytes, *addresses: int) -> list[str]:
    table, _ = parse_perf_map(content)
    hits = table.find(np.array(addresses, np.uint64))
    found = iter(table.names(hits[hits >= 0]))
    return [next(found) if hit >= 0 else "-" for hit in hits.tolist()]


def test_names_keep_their_spaces() -> None:
    content = b"7f0010 20 long JitWork.hotOuter(int)\n7f0040 0x8 Interpreter\r\n"
    assert names(content, 0x7F0010, 0x7F002F, 0x7F0030, 0x7F0041) == ["long JitWork.hotOuter(int)"] * 2 + [
        "-",
        "Interpreter",
    ]


def test_later_code_hides_earlier_code() -> None:
    content = b"1000 100 old\n1080 10 new inside\n2000 10 before\n2000 8 after\n"
    assert names(content, 0x1000, 0x1080, 0x108F, 0x1090, 0x2000, 0x2008) == [
        "old",
        "new inside",
        "new inside",
        "old",
        "after",
        "before",
    ]


def test_damaged_lines_are_counted() -> None:
    table, damaged = parse_perf_map(b"1000 10 ok\nnonsense\n\n10 zz name\n20 30\n40 50 \n2000 0 empty\n3000 10 cut off")
    assert damaged == 4
    assert len(table) == 2


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12))
def test_every_address_belongs_to_the_last_line_that_covers_it(lines: list[tuple[int, int]]) -> None:
    content = b"".join(b"%x %x f%d\n" % (start, size, index) for index, (start, size) in enumerate(lines))
    expected = ["-"] * 90
    for index, (start, size) in enumerate(lines):
        for address in range(start, start + size):
            expected[address] = f"f{index}"
    assert names(content, *range(90)) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(content: bytes) -> None:
    table, damaged = parse_perf_map(content)
    assert len(table.names(np.arange(len(table)))) == len(table)
    assert damaged <= content.count(b"\n") + 1
