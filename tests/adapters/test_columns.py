"""The kit of whole columns against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.adapters.columns import KeyIndex, combine, gather_strings, ragged_indices

KEYS = st.integers(0, 20) | st.integers(0, 2**64 - 2)


def check_index(batches: list[np.ndarray]) -> None:
    index, known = KeyIndex(), dict[int, int]()
    for keys in batches:
        ids, firsts = index.intern(keys)
        expected, new = [], []
        for position, key in enumerate(keys.tolist()):
            if key not in known:
                known[key] = len(known)
                new.append(position)
            expected.append(known[key])
        assert ids.tolist() == expected
        assert firsts.tolist() == new
        assert len(index) == len(known)


@given(st.lists(st.lists(KEYS, max_size=200), max_size=6))
@settings(max_examples=100, deadline=None)
def test_an_index_of_keys_is_a_dict(batches: list[list[int]]):
    check_index([np.array(keys, np.uint64) for keys in batches])


def test_a_large_index_of_keys_is_a_dict():
    random = np.random.default_rng(2)
    few = random.integers(0, 2**63, 5_000, dtype=np.uint64)
    check_index([
        random.integers(0, 2**63, 60_000, dtype=np.uint64),
        random.choice(few, 100_000),
        np.arange(50_000, dtype=np.uint64) << np.uint64(12),
        random.choice(few, 10),
    ])  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9)), max_size=50))
def test_ragged_indices(rows: list[tuple[int, int]]):
    starts = np.array([start for start, _ in rows], np.int64)
    lengths = np.array([length for _, length in rows], np.int64)
    expected = [start + step for start, length in rows for step in range(length)]
    assert ragged_indices(starts, lengths).tolist() == expected


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9), max_size=20))
def test_strings(names: list[str]):
    pieces = [name.encode() + b"\0" for name in names]
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    starts = ends - np.array([len(piece) for piece in pieces], np.int64)
    data = np.frombuffer(b"".join(pieces), np.uint8)
    assert gather_strings(data, starts, ends).to_pylist() == names


def test_strings_end_at_their_limit_and_replace_what_is_no_text():
    data = np.frombuffer(b"abc\xff\xfedef", np.uint8)
    found = gather_strings(data, np.array([0, 3, 5]), np.array([2, 5, 8]))
    assert found.to_pylist() == ["ab", "\N{REPLACEMENT CHARACTER}" * 2, "def"]


def test_combined_keys_differ_where_any_column_does():
    columns = np.meshgrid(*[np.arange(9)] * 5)
    keys = combine(*(column.ravel().astype(np.int64) for column in columns))
    assert len(np.unique(keys)) == 9**5
