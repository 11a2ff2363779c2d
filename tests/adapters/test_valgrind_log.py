"""The plain text of memcheck, helgrind and DRD: against the XML of the same programs, its own summaries, damage."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.reading import Tables, chains, nameless, read_tables
from tests.support import captures, corpus, fixtures, tool

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.source import Source
from perfkit.adapters.valgrind_log import ValgrindLog
from perfkit.schema.errors import FormatError
from perfkit.schema.validate import validate_batch


def _findings(tables: Tables) -> Counter[tuple[Any, ...]]:
    """(kind, first line, bytes, blocks, {(role, functions of the stack)}) of each finding."""
    frames = {row["frame_id"]: row for row in tables["frame"]}
    chain = chains(tables)
    stacks: dict[int, set[tuple[Any, ...]]] = {}
    for row in tables["finding_stack"]:
        functions = tuple((frames[f]["address"], _plain(frames[f]["function"])) for f in chain[row["stack_id"]])
        stacks.setdefault(row["finding_id"], set()).add((row["role"], functions))
    return Counter(
        (f["kind"], f["message"].split("\n")[0], f["bytes"], f["blocks"], frozenset(stacks.get(f["finding_id"], ())))
        for f in tables["finding"]
    )


def _plain(function: str) -> str:
    return "???" if function.startswith("[") else function


def test_text_of_memcheck_says_what_its_xml_says(tmp_path: Path) -> None:
    text = read_tables(nameless(fixtures("valgrind", "memcheck.txt"), tmp_path), adapter="valgrind.log")
    xml = read_tables(fixtures("valgrind", "memcheck.xml"), adapter="valgrind.xml")
    assert _findings(text) == _findings(xml)
    assert text["capture"][0]["tool"] == "memcheck"
    assert text["capture"][0]["tool_version"] == "3.19.0"
    assert text["capture"][0]["command"] == "/tmp/cap/wl/vg/memerr"
    assert [row["pid"] for row in text["process"]] == [32686]


@pytest.mark.parametrize("checker", ["helgrind", "drd"])
def test_text_of_thread_checkers_says_what_their_xml_says(checker: str) -> None:
    text = read_tables(captures("valgrind", checker, "races-plain.txt"), adapter="valgrind.log")
    xml = read_tables(captures("valgrind", checker, "races.xml"), adapter="valgrind.xml")

    def outline(tables: Tables) -> Counter[tuple[str, str]]:
        return Counter(
            (f["kind"], re.sub(r"0x[0-9a-f]{8,}", "0x", f["message"].split("\n")[0])) for f in tables["finding"]
        )

    assert outline(text) == outline(xml)
    if checker == "helgrind":
        roles = {role for *_, stacks in _findings(text) for role, _ in stacks}
        assert roles >= {"error", "conflict", "created", "first_observed", "required_order", "later_acquisition"}


@pytest.mark.parametrize(
    "path",
    ["memcheck/memerr-plain.txt", "memcheck/truth-plain.txt", "helgrind/races-plain.txt", "drd/races-plain.txt"],
)
def test_summaries_add_up(path: str) -> None:
    text = captures("valgrind", path).read_text()
    tables = read_tables(captures("valgrind", path), adapter="valgrind.log")
    errors, contexts = re.search(r"ERROR SUMMARY: (\d+) errors from (\d+) contexts", text).groups()  # type: ignore[union-attr]
    tracks = {(row["name"], row["unit"]): row["track_id"] for row in tables["counter_track"]}
    values = {row["track_id"]: row["value"] for row in tables["counter"]}
    assert values[tracks["errors", "error"]] == int(errors)
    # Leaks that are not lost are no errors to memcheck.
    counted = [f for f in tables["finding"] if f["kind"] not in ("Leak_StillReachable", "Leak_IndirectlyLost")]
    assert len(counted) == int(contexts)
    for name, kind in (
        ("definitely lost", "Leak_DefinitelyLost"),
        ("indirectly lost", "Leak_IndirectlyLost"),
        ("possibly lost", "Leak_PossiblyLost"),
        ("still reachable", "Leak_StillReachable"),
    ):
        if (name, "byte") in tracks:
            leaks = [f for f in tables["finding"] if f["kind"] == kind]
            assert values[tracks[name, "byte"]] == sum(f["bytes"] for f in leaks)
            assert values[tracks[name, "block"]] == sum(f["blocks"] for f in leaks)


def test_the_truth() -> None:
    tables = read_tables(captures("valgrind", "memcheck", "truth-plain.txt"), adapter="valgrind.log")
    tracks = {row["track_id"]: (row["name"], row["unit"]) for row in tables["counter_track"]}
    values = {tracks[row["track_id"]]: row["value"] for row in tables["counter"]}
    assert values["total heap usage", "alloc"] == 1_112
    assert values["total heap usage", "byte"] == 5_947_071
    assert values["definitely lost", "byte"] == 1_334_567
    assert values["definitely lost", "block"] == 101
    assert {row["code"] for row in tables["import_issue"]} == {"uncounted_errors"}


@pytest.mark.parametrize(
    "name",
    [
        "testDefaults/template_valgrind_1770",
        "testShowBelowMain/template_valgrind_630",
        "testTrackOrigins/template_valgrind_1192",
    ],
)
def test_texts_without_a_banner(name: str) -> None:
    path = corpus(f"eclipse-linuxtools/valgrind/valgrind.memcheck.tests/valgrindFiles/{name}.txt")
    tables = read_tables(path, adapter="valgrind.log")
    kinds = [(row["kind"], row["bytes"]) for row in tables["finding"]]
    assert kinds == [("InvalidRead", None), ("InvalidWrite", None), ("Leak_DefinitelyLost", 10)]
    frames = len(re.findall(r"   (?:at|by) 0x", path.read_text()))
    chain = chains(tables)
    assert sum(len(chain[row["stack_id"]]) for row in tables["finding_stack"]) == frames


def _read(data: bytes, folder: Path) -> Tables | None:
    path = folder / "damaged"
    path.write_bytes(data)
    issues = IssueLog()
    tables: Tables = {}
    try:
        with Source(path) as source:
            for table, rows in ValgrindLog().read(source, issues):
                validate_batch(table, rows)
                tables.setdefault(table, []).extend(rows.to_pylist())
    except FormatError:
        return None
    tables["import_issue"] = issues.to_batch().data.to_pylist()
    return tables


def test_a_text_cut_anywhere_yields_its_errors(tmp_path: Path) -> None:
    data = fixtures("valgrind", "memcheck.txt").read_bytes()
    last = 0
    for end in range(0, len(data) - 60, 97):
        tables = _read(data[:end], tmp_path)
        if tables is None:
            assert end < 30
            continue
        assert last <= len(tables["finding"]) <= last + 2
        last = len(tables["finding"])
        assert "truncated" in {row["code"] for row in tables["import_issue"]}
    assert last == 17


def test_flipped_bytes_break_nothing(tmp_path: Path) -> None:
    data = fixtures("valgrind", "memcheck.txt").read_bytes()
    for position in range(0, len(data), 71):
        tables = _read(data[:position] + bytes([data[position] ^ 0x15]) + data[position + 1 :], tmp_path)
        assert tables is not None
        assert 16 <= len(tables["finding"]) <= 19


def test_processes_may_run_through_one_another(tmp_path: Path) -> None:
    one = fixtures("valgrind", "memcheck.txt").read_bytes().splitlines(keepends=True)
    other = [line.replace(b"32686", b"777") for line in one]
    mixed = b"".join(line for pair in zip(one, other, strict=True) for line in (*pair, b"output of the program\n"))
    tables = _read(mixed, tmp_path)
    assert tables is not None
    assert [row["pid"] for row in tables["process"]] == [32686, 777]
    assert Counter(_findings(tables).values()) == {2: 17}


def test_live_run_with_counts(tmp_path: Path) -> None:
    """-s lists how often each error happened: together as often as the summary says."""
    out = tmp_path / "log"
    command = [tool("valgrind"), "-s", "--leak-check=full", "--time-stamp=yes", f"--log-file={out}"]
    subprocess.run([*command, str(captures("workloads", "vg", "memerr"))], capture_output=True, timeout=60, check=False)
    tables = read_tables(out, adapter="valgrind.log")
    errors = re.search(r"ERROR SUMMARY: (\d+) errors from (\d+) contexts", out.read_text())
    assert errors is not None
    assert sum(row["count"] for row in tables["finding"]) == int(errors[1])
    assert len(tables["finding"]) == int(errors[2])
    assert tables["import_issue"] == []
    assert "Other" not in {row["kind"] for row in tables["finding"]}


def test_a_crash_is_a_finding(tmp_path: Path) -> None:
    source = tmp_path / "crash.c"
    source.write_text("void crash(volatile int *p) { *p = 1; }\nint main(void) { crash(0); return 0; }\n")
    program = tmp_path / "crash"
    subprocess.run([tool("cc"), "-g", "-O0", "-o", str(program), str(source)], check=True)
    out = tmp_path / "log"
    command = [tool("valgrind"), f"--log-file={out}", str(program)]
    subprocess.run(command, capture_output=True, timeout=60, check=False)
    tables = read_tables(out, adapter="valgrind.log")
    found = {row["kind"]: row["message"] for row in tables["finding"]}
    assert found.keys() == {"InvalidWrite", "fatal_signal"}
    assert "SIGSEGV" in found["fatal_signal"]
