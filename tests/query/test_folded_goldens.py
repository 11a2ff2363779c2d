"""perf script text, ingested and folded, line by line against what FlameGraph's stackcollapse-perf.pl made of it.

Where the results differ, `_REASONS` says why; `query/folded.py` explains each. (`--pid` is left out: there perfkit
writes the process's name, FlameGraph the thread's. tests/adapters holds the same texts against all of its options.)
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import corpus

from perfkit.ingest.pipeline import IngestOptions, ingest
from perfkit.ingest.store import Store
from perfkit.query.flamegraph.options import Grouping
from perfkit.query.flamegraph.profile import load_profile
from perfkit.query.flamegraph.selection import Selection
from perfkit.query.folded import fold
from perfkit.schema.database import open_for_reading

Folded = Counter[str]

_FLAMEGRAPH = (
    "perf-cycles-instructions-01",
    "perf-dd-stacks-01",
    "perf-funcab-cmd-01",
    "perf-java-faults-01",
    "perf-java-stacks-02",
    "perf-js-stacks-01",
    "perf-mirageos-stacks-01",
    "perf-numa-stacks-01",
    "perf-rust-Yamakaky-dcpu",
)
_PEER = "_peer_goldens/FlameGraph-41fee1f"
_PEERS = (
    "firefox-profiler/src/test/fixtures/upgrades/gzip.perf.gz",
    "firefox-profiler/src/test/fixtures/upgrades/test.perf.gz",
    "gprof2dot/perf/issue28.perf",
    "inferno/collapse-perf/cpp-stacks-std-function.txt",
    "inferno/collapse-perf/empty-line.txt",
    "inferno/collapse-perf/go-stacks.txt",
    "inferno/collapse-perf/java-inline.txt",
    "inferno/collapse-perf/sourcepawn-jitdump.txt",
    "ms-perf-tools-linux/TestData/Perf/perf.data.txt",
    "simpleperf/testdata/perf_display_bitmaps.perf-script",
    "speedscope/sample/profiles/linux-perf/forks.linux-perf.txt",
    "speedscope/sample/profiles/linux-perf/simple-with-pid.linux-perf.txt",
)

_REASONS: tuple[tuple[str, str], ...] = (
    # FlameGraph forgets the record that ends a text without an empty line.
    (r"(dd|mirageos|numa)-stacks-01|go-stacks|java-inline|perf\.data\.txt", "last-record"),
    # It takes a frame that begins with "(" for the name of a process.
    (r"upgrades/test\.perf|display_bitmaps", "anonymous"),
    # It goes by the module's name: jitted-PID-N.so is none of /tmp/perf-PID.map.
    (r"sourcepawn.* all", "jit-modules"),
    # It takes a thread id of 0 for none, and the process's id for the thread's.
    (r"perf\.data\.txt tid", "tid-0"),
    # Its results with --tid were made before it took the L off Java's classes.
    (r"perf-java-(stacks-02|faults-01) tid", "stale"),
    # Here kernel modules are kernel code, too, and no library is.
    (r"display_bitmaps.* all", "kernel-modules"),
)


def _by_frame(change: Callable[[str], str | None]) -> Callable[[Folded], Folded]:
    def apply(folded: Folded) -> Folded:
        changed: Folded = Counter()
        for stack, value in folded.items():
            names = [change(name) for name in stack.split(";")]
            changed[";".join(name for name in names if name is not None)] += value
        return changed

    return apply


_OURS_AS_THEIRS: dict[str, Callable[[Folded], Folded]] = {
    "anonymous": _by_frame(lambda name: None if name.startswith("(") else name),
    "jit-modules": _by_frame(lambda name: name.removesuffix("_[j]")),
    "tid-0": _by_frame(lambda name: re.sub(r"^swapper-0/0$", "swapper-?/0", name)),
    "kernel-modules": _by_frame(lambda name: name.removesuffix("_[k]")),
}
_THEIRS_AS_OURS: dict[str, Callable[[Folded], Folded]] = {
    "stale": _by_frame(lambda name: name.removeprefix("L") if "/" in name else name),
    "kernel-modules": _by_frame(lambda name: name.removesuffix("_[k]")),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A database of all the texts, and their captures' ids by path."""
    texts = [corpus(f"flamegraph/test/{name}.txt") for name in _FLAMEGRAPH] + [corpus(name) for name in _PEERS]
    path = tmp_path_factory.mktemp("goldens") / "goldens.duckdb"
    with Store(path) as opened:
        outcomes = list(ingest(opened, [str(text) for text in texts], IngestOptions()))
    return path, {outcome.path: outcome.capture_id for outcome in outcomes if outcome.capture_id is not None}


def _golden(text: str, option: str) -> tuple[Path, Path]:
    if text in _FLAMEGRAPH:
        return (
            corpus(f"flamegraph/test/{text}.txt"),
            corpus(f"flamegraph/test/results/{text}-collapsed-{option}.txt"),
        )
    # The results of FlameGraph's own tests have no plain variant; those of the other texts do.
    return corpus(text), corpus(f"{_PEER}/{text.replace('/', '~')}.folded-{option}.txt.gz")


def _read(path: Path) -> Folded:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return _counted(line for line in data.decode().splitlines() if line and not line.startswith("#"))


def _counted(lines: Iterator[str]) -> Folded:
    folded: Folded = Counter()
    for line in lines:
        stack, _, value = line.rpartition(" ")
        folded[stack] += int(value)
    return folded


@pytest.mark.parametrize(
    ("text", "option"),
    [(text, option) for text in _FLAMEGRAPH for option in ("all", "tid")]
    + [(text, option) for text in _PEERS for option in ("default", "all", "tid")],
)
def test_equals_stackcollapse_perf(store: tuple[Path, dict[str, int]], text: str, option: str) -> None:
    path, captures = store
    source, golden = _golden(text, option)
    by = Grouping.THREAD if option == "tid" else Grouping.COMM
    with open_for_reading(path) as connection:
        profile = load_profile(connection, Selection((captures[str(source)],), by=by))
    lines = list(fold(profile, annotate=option == "all"))
    assert lines == sorted(lines, key=lambda line: line.rpartition(" ")[0].encode())
    ours, theirs = _counted(iter(lines)), _read(golden)
    reasons = {reason for pattern, reason in _REASONS if re.search(pattern, f"{text} {option}")}
    assert not reasons or ours != theirs, "a reason that is not needed"
    for reason in sorted(reasons):
        ours = _OURS_AS_THEIRS.get(reason, Counter)(ours)
        theirs = _THEIRS_AS_OURS.get(reason, Counter)(theirs)
    if "last-record" in reasons:
        forgotten = ours - theirs
        assert len(forgotten) == 1
        ours -= forgotten
    assert ours == theirs
