"""perf script text, folded, against what FlameGraph's and inferno's collapsers make of it.

A golden is compared line by line. Where it differs, `_DIFFERS` names the reasons, each of which is explained in
docs/perf-script-differences.md and undone by a function here; a reason that is not needed is an error too.
"""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.folding import fold
from tests.adapters.reading import nameless, read_tables
from tests.support import ROOT, corpus

from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import Source
from perfkit.schema.errors import UnknownFormatError

_CORPUS = Path(os.environ.get("PERFKIT_CORPUS") or ROOT.parent / "shared" / "corpus")
_PEERS = "_peer_goldens/FlameGraph-41fee1f"

_DIFFERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r".*~(weird-stack-line|go-stacks|java-inline)\.txt\.folded-\w+", ("last-record",)),
    (r"ms-perf-tools-linux~.*\.folded-(default|all|addrs)", ("last-record",)),
    (r"ms-perf-tools-linux~.*\.folded-(pid|tid)", ("last-record", "tid-0")),
    (r"inferno~.*~cpp-stacks-std-function\.txt\.folded-(default|all|pid|tid)", ("kernel-name",)),
    (r"speedscope~.*~(forks|simple-with-pid)\.linux-perf\.txt\.folded-(default|all|pid|tid)", ("kernel-name",)),
    (r"perf-(dd-stacks|mirageos-stacks|numa-stacks)-01-collapsed-\w+", ("last-record",)),
    (r"perf-java-(stacks-02|faults-01)-collapsed-(pid|tid)", ("stale",)),
    (r"cpp-stacks-std-function-collapsed", ("kernel-name", "template-arguments")),
    (r"single-event-collapsed", ("rust-names",)),
    (r"perf-rust-Yamakaky-dcpu-collapsed-\w+", ("rust-names",)),
    (r"single-line-stacks-collapsed", ("every-event",)),
    (r"sourcepawn-jitdump-collapsed-jit", ("jit-modules",)),
    (r"versioned-vmlinux-collapsed-kernel", ("kernel-modules",)),
)


def _each_frame(change: Callable[[str], str]) -> Callable[[Counter[str]], Counter[str]]:
    def apply(folded: Counter[str]) -> Counter[str]:
        changed: Counter[str] = Counter()
        for line, weight in folded.items():
            changed[";".join(change(part) for part in line.split(";"))] += weight
        return changed

    return apply


_GOLDEN_BECOMES = {
    "kernel-name": _each_frame(lambda part: part.replace("[[kernel.kallsyms]]", "[kernel.kallsyms]")),
    "tid-0": _each_frame(lambda part: re.sub(r"\Aswapper-\?(?=\Z|/0\Z)", "swapper-0", part)),
    "stale": _each_frame(lambda part: part.removeprefix("L") if "/" in part else part),
    "template-arguments": _each_frame(lambda part: re.sub(r"\((?!anonymous namespace\)).*", "", part)),
}
_RUST = {"LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ",", "RF": "&", "BP": "*"}


def _demangle(part: str) -> str:
    """Undo Rust's legacy mangling of what C++ demanglers leave of it (rustc_demangle's table)."""
    part = re.sub(r"::h[0-9a-f]{16}\Z", "", part)
    part = re.sub(r"\$u([0-9a-f]{2,4})\$", lambda found: chr(int(found[1], 16)), part)
    part = re.sub(r"\$([A-Z]+)\$", lambda found: _RUST[found[1]], part)
    return re.sub(r"\A_(?=<)", "", part).replace("..", "::")


def _goldens() -> list[tuple[str, str, str]]:
    """`(input, option, golden)`, each relative to the corpus."""
    found = []
    for path in sorted((_CORPUS / _PEERS).glob("*.txt.gz")):
        stem, _, option = path.name.removesuffix(".txt.gz").rpartition(".folded-")
        found.append((stem.replace("~", "/"), option, f"{_PEERS}/{path.name}"))
    for folder in ("flamegraph/test", "inferno/collapse-perf"):
        for path in sorted((_CORPUS / folder / "results").glob("*.txt")):
            stem, _, option = path.stem.rpartition("-collapsed")
            source = f"{folder}/{stem}.txt"
            if not (_CORPUS / source).exists():  # inferno's Rust capture is FlameGraph's
                source = f"flamegraph/test/{stem}.txt"
            found.append((source, option.removeprefix("-") or "default", f"{folder}/results/{path.name}"))
    return found


_GOLDENS = _goldens() or [("flamegraph", "default", "flamegraph")]


def _reasons(golden: str) -> tuple[str, ...]:
    if golden.startswith("flamegraph/test/results/perf-rust"):
        return ()  # the same capture as inferno's, but FlameGraph leaves Rust's names alone
    name = Path(golden).name.removesuffix(".gz").removesuffix(".txt")
    return next((reasons for pattern, reasons in _DIFFERS if re.fullmatch(pattern, name)), ())


@cache
def _tables(source: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    return read_tables(nameless(corpus(source), folder), adapter="perf.script")


@cache
def _golden(path: str) -> Counter[str]:
    raw = corpus(path).read_bytes()
    text = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode()
    folded: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, weight = line.rpartition(" ")
        folded[stack] += int(weight)
    return folded


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nameless")


def _compare(source: str, option: str, golden: str, folder: Path, reasons: tuple[str, ...]) -> bool:
    """Whether the golden and our folding agree once the reasons are taken into account."""
    tables = _tables(source, folder)
    if "last-record" in reasons:
        tables = {**tables, "sample": tables["sample"][:-1]}
    ours = fold(
        tables,
        option,
        every_event="every-event" in reasons,
        jit=r"/tmp/(perf-\d+\.map|jitted-\d+-\d+\.so)" if "jit-modules" in reasons else r"/tmp/perf-\d+\.map",
        kernel=r"\[|.*(vmlinux[^/]*|\.ko)\Z" if "kernel-modules" in reasons else r"\[|.*vmlinux\Z",
    )
    if "rust-names" in reasons:
        ours = _each_frame(_demangle)(ours)
    theirs = _golden(golden)
    for reason in reasons:
        theirs = _GOLDEN_BECOMES.get(reason, lambda folded: folded)(theirs)
    return ours == theirs


@pytest.mark.parametrize(("source", "option", "golden"), _GOLDENS, ids=[golden for _, _, golden in _GOLDENS])
def test_folds_as_the_golden_but_for_the_reasons_listed(source: str, option: str, golden: str, folder: Path) -> None:
    if not corpus(source).stat().st_size:
        with Source(corpus(source)) as empty, pytest.raises(UnknownFormatError):
            find_adapter(empty)
        assert not _golden(golden)
        return
    reasons = _reasons(golden)
    assert _compare(source, option, golden, folder, reasons)
    for needless in reasons:
        rest = tuple(reason for reason in reasons if reason != needless)
        assert not _compare(source, option, golden, folder, rest), f"{needless} makes no difference"


def test_every_reason_is_documented() -> None:
    text = (ROOT / "docs" / "perf-script-differences.md").read_text()
    documented = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    assert documented == {reason for _, reasons in _DIFFERS for reason in reasons}
