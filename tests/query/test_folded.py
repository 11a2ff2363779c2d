"""Folded lines, held against a plain fold of the same rows and against FlameGraph's rules for names."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from tests.query.flame_store import Frame, Sample, fold_plainly, write_store

from perfkit.query.flamegraph.options import Grouping
from perfkit.query.flamegraph.profile import Profile, load_profile
from perfkit.query.flamegraph.selection import Selection
from perfkit.query.flamegraph.symbols import Symbol
from perfkit.query.folded import fold, tidy
from perfkit.schema.database import open_for_reading


def load(path: Path, **selection: object) -> Profile:
    with open_for_reading(path) as connection:
        return load_profile(connection, Selection(**{"captures": (1,), **selection}))  # type: ignore[arg-type]


def folded(tmp_path: Path, samples: list[Sample], *, annotate: bool = False, **selection: object) -> list[str]:
    path = tmp_path / "folded.duckdb"
    if not path.exists():
        write_store(path, samples)
    return list(fold(load(path, **selection), annotate=annotate))


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_plain_fold_of_the_same_samples(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    # One function at many addresses: nodes of the stack tree that are one frame of the picture.
    names = ["main", "run loop", "a b", "a", "std::vector<int>::push_back", "operator new"]
    samples = [
        Sample(
            chance.choice(["app", "my app", "kworker/0:1"]),
            tuple(
                Frame(chance.choice(names), f"/lib/{chance.randrange(2)}.so", address=chance.randrange(4))
                for _ in range(chance.randrange(1, 8))
            ),
            value=chance.randrange(1, 1000),
            pid=number % 3,
            tid=number % 3,
            ts=number,
        )
        for number in range(600)
    ]
    assert folded(tmp_path, samples) == fold_plainly(samples)


def test_a_stack_of_its_own_beside_deeper_ones_sorts_before_them(tmp_path: Path) -> None:
    samples = [
        Sample("app", (Frame("a"), Frame("b"))),
        Sample("app", (Frame("a b"),)),
        Sample("app", (Frame("a"),), value=7),
        Sample("app", ()),
    ]
    assert folded(tmp_path, samples) == ["app 1", "app;a 7", "app;a b 1", "app;a;b 1"]


def test_samples_belong_to_the_name_their_thread_had_at_the_time(tmp_path: Path) -> None:
    stack = (Frame("main"),)
    samples = [
        Sample("bash", stack, value=1, tid=1, ts=10),
        Sample("make", stack, value=2, tid=1, ts=20),
        Sample("make", stack, value=4, tid=1, ts=29),
        Sample("cc1", stack, value=8, tid=1, ts=30),
        Sample("steady", stack, value=16, tid=2, ts=15),
    ]
    assert folded(tmp_path, samples) == ["bash;main 1", "cc1;main 8", "make;main 6", "steady;main 16"]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (Grouping.COMM, ["a;main 3", "b_c;main 4"]),
        (Grouping.PROCESS, ["a-1;main 3", "parent-2;main 4"]),
        (Grouping.THREAD, ["a-1/1;main 3", "b_c-2/3;main 4"]),
        (Grouping.NONE, ["main 7"]),
    ],
)
def test_groups_read_as_flamegraphs_pid_and_tid(tmp_path: Path, by: Grouping, expected: list[str]) -> None:
    stack = (Frame("main"),)
    samples = [Sample("a", stack, 3, pid=1, tid=1), Sample("b c", stack, 4, pid=2, tid=3)]
    assert folded(tmp_path, samples, by=by) == expected


def test_without_groups_samples_without_a_stack_are_not_lost(tmp_path: Path) -> None:
    samples = [Sample("a", (Frame("main"),), 3), Sample("a", (), 4)]
    assert folded(tmp_path, samples, by=Grouping.NONE) == ["[no_stack] 4", "main 3"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
            "std::vector<int, std::allocator<int> >::push_back",
        ),
        ("(anonymous namespace)::run(char*)", "(anonymous namespace)::run"),
        ("net/http.(*Client).Do", "net/http.(*Client).Do"),
        ("operator()", "operator"),
        ("RegExp:[&<>\"']", "RegExp:[&<>]"),
        ("Lorg/x/Y;::call", "Lorg/x/Y:::call"),
        ("two\nlines\x1b[31m", "two lines [31m"),
        ("[libc.so.6]", "[libc.so.6]"),
        ("(below main)", "(below main)"),
        ("<T as core::fmt::Display>::fmt", "<T as core::fmt::Display>::fmt"),
    ],
)
def test_names_are_tidied_as_stackcollapse_perf_does(name: str, expected: str) -> None:
    assert tidy(Symbol(name, "/bin/app", "user", inlined=False)) == expected


def test_the_prefix_of_java_classes_goes_only_in_java_processes(tmp_path: Path) -> None:
    stack = (Frame("Lorg/x/Y;::call", "/tmp/perf-1.map", "jit"),)
    samples = [Sample("java", stack, pid=1, tid=1), Sample("node", stack, pid=2, tid=2)]
    assert folded(tmp_path, samples) == ["java;org/x/Y:::call 1", "node;Lorg/x/Y:::call 1"]


def test_annotations_are_flamegraphs(tmp_path: Path) -> None:
    stack = (
        Frame("user"),
        Frame("compiled", "/tmp/perf-1.map", "jit"),
        Frame("inner", "/tmp/perf-1.map", "jit", inlined=True),
        Frame("vfs_read", "[kernel.kallsyms]", "kernel"),
    )
    samples = [Sample("app", stack)]
    assert folded(tmp_path, samples) == ["app;user;compiled;inner_[i];vfs_read 1"]
    assert folded(tmp_path, samples, annotate=True) == ["app;user;compiled_[j];inner_[i];vfs_read_[k] 1"]


def test_frames_that_nobody_named_read_as_their_module(tmp_path: Path) -> None:
    stack = (Frame(None, None, "unknown"), Frame(None, "/usr/lib/libc.so.6"), Frame(None, "[vdso]"))
    assert folded(tmp_path, [Sample("app", stack)]) == ["app;[unknown];[libc.so.6];[[vdso]] 1"]


def test_overloads_meet_in_one_line(tmp_path: Path) -> None:
    samples = [Sample("app", (Frame("f(int)"),), 2), Sample("app", (Frame("f(char)"),), 3)]
    assert folded(tmp_path, samples) == ["app;f 5"]


def test_several_captures_are_merged(tmp_path: Path) -> None:
    first = [Sample("app", (Frame("main"), Frame("a")), 2), Sample("app", (Frame("main"),), 1)]
    second = [Sample("app", (Frame("main"), Frame("b")), 3), Sample("app", (Frame("main"), Frame("a")), 10)]
    path = write_store(tmp_path / "two.duckdb", first, second)
    lines = list(fold(load(path, captures=(1, 2))))
    assert lines == fold_plainly(first + second)
    assert list(fold(load(path, captures=(2,)))) == fold_plainly(second)


def test_values_add_up_to_the_samples(tmp_path: Path) -> None:
    chance = random.Random(5)
    samples = [
        Sample("x", tuple(Frame(chance.choice("abcd")) for _ in range(chance.randrange(6))), chance.randrange(1, 2**40))
        for _ in range(200)
    ]
    lines = folded(tmp_path, samples)
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == sum(sample.value for sample in samples)
    assert max(Counter(line.rpartition(" ")[0] for line in lines).values()) == 1
