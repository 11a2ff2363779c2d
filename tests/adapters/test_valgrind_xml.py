"""The XML of memcheck, helgrind and DRD: every element against ElementTree reading of the whole, damage, live runs."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.reading import Tables, chains, nameless, read_tables
from tests.support import captures, corpus, fixtures, tool

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.source import Source
from perfkit.adapters.valgrind_xml import ValgrindXml
from perfkit.schema.errors import FormatError
from perfkit.schema.validate import validate_batch

_CAPTURES = [
    "drd/locktime",
    "drd/races",
    "helgrind/races-full",
    "helgrind/races",
    "memcheck/children-4026",
    "memcheck/children-4037",
    "memcheck/inl",
    "memcheck/memerr-default",
    "memcheck/memerr-gensupp",
    "memcheck/memerr-summary",
    "memcheck/memerr",
    "memcheck/mismatch",
    "memcheck/truth",
]
_CORPUS = [
    "jenkins-valgrind/aux-data.xml",
    "jenkins-valgrind/aux-noStacktrace.xml",
    "jenkins-valgrind/simple.xml",
    "sonar-cxx/valgrind-result-SAMPLE_1.xml",
    "sonar-cxx/valgrind-result-SAMPLE_2.xml",
    "sonar-cxx/valgrind-result-SAMPLE_3.xml",
    "qt-creator/tests/auto/valgrind/memcheck/data/memcheck-output-sample1.xml",
]


def _frames(tables: Tables, stack_id: int) -> list[tuple[Any, ...]]:
    """(address, function, module, line) of a stack, innermost first."""
    frames = {row["frame_id"]: row for row in tables["frame"]}
    rows = [frames[frame] for frame in reversed(chains(tables)[stack_id])]
    return [(r["address"], r["function"], r["module"], r["line"]) for r in rows]


def _plain_stack(stack: ET.Element) -> list[tuple[Any, ...]]:
    out = []
    for frame in stack.findall("frame"):
        module, line = frame.findtext("obj"), frame.findtext("line")
        function = frame.findtext("fn") or (f"[{module.rpartition('/')[2]}]" if module else "[unknown]")
        address = frame.findtext("ip") or ""
        out.append(
            (
                int(address, 16) if re.fullmatch("0x[0-9A-Fa-f]+", address) else None,
                function,
                module,
                int(line) if line and line.isdigit() else None,
            )
        )
    return out


def _check(path: Path, tables: Tables) -> None:
    """Hold every error against the same read by ElementTree: kind, texts, stacks, counts, leaks."""
    root = ET.parse(path).getroot()
    errors = [e for e in root if e.tag in ("error", "clientmsg", "fatal_signal")]
    counts = {p.findtext("unique"): p.findtext("count") for p in root.iterfind("errorcounts/pair")}
    stacks: dict[int, list[dict[str, Any]]] = {}
    for row in tables["finding_stack"]:
        stacks.setdefault(row["finding_id"], []).append(row)
    assert len(tables["finding"]) == len(errors)
    for finding, error in zip(tables["finding"], errors, strict=True):
        assert finding["kind"] == (error.findtext("kind") or error.tag)
        said = finding["message"] + "".join(f"\n{s['detail']}" for s in stacks[finding["finding_id"]])
        for tag in ("what", "xwhat/text", "auxwhat", "xauxwhat/text", "text"):
            for text in error.iterfind(tag):
                assert (text.text or "").strip() in said
        own = [row for row in stacks[finding["finding_id"]] if row["role"] != "created"]
        found = [_frames(tables, row["stack_id"]) for row in own]
        assert found == [_plain_stack(stack) for stack in error.iter("stack") if len(stack)]
        count = counts.get(error.findtext("unique"))
        assert finding["count"] == (int(count) if count and count.isdigit() else 1)
        if (leaked := error.findtext("xwhat/leakedblocks")) is not None:
            assert finding["blocks"] == int(leaked)
            direct = re.search(r"\(([\d,]+) direct", error.findtext("xwhat/text") or "")
            expected = direct[1].replace(",", "") if direct else error.findtext("xwhat/leakedbytes")
            assert finding["bytes"] == int(expected or "")
    suppressed = {p.findtext("name"): int(p.findtext("count") or 0) for p in root.iterfind("suppcounts/pair")}
    assert {row["record"]: row["count"] for row in tables["record_count"]} == {
        f"suppression {name}": count for name, count in suppressed.items()
    }


@pytest.mark.parametrize("name", _CAPTURES)
def test_every_error_of_the_captures(name: str, tmp_path: Path) -> None:
    path = captures("valgrind", f"{name}.xml")
    tables = read_tables(nameless(path, tmp_path), adapter="valgrind.xml")
    _check(path, tables)
    assert {row["code"] for row in tables["import_issue"]} <= {"uncounted_errors"}
    assert tables["capture"][0]["tool"] == name.partition("/")[0]
    assert tables["capture"][0]["tool_version"] == "3.19.0"


@pytest.mark.parametrize("name", _CORPUS)
def test_every_error_of_others_files(name: str) -> None:
    _check(corpus(name), read_tables(corpus(name), adapter="valgrind.xml"))


def test_valgrinds_own_expectations() -> None:
    folder = corpus("valgrind", "memcheck", "tests")
    paths = [p for p in folder.rglob("*_xml.stderr.exp*") if b"</valgrindoutput>" in p.read_bytes()]
    assert len(paths) > 10
    kinds: Counter[str] = Counter()
    for path in [*paths, folder / "client-msg-as-xml.stderr.exp", folder / "xml1.stderr.exp"]:
        tables = read_tables(path, adapter="valgrind.xml")
        assert len(tables["finding"]) == len(
            re.findall(rb"^<(?:error|clientmsg|fatal_signal)>", path.read_bytes(), re.MULTILINE)
        )
        kinds.update(row["kind"] for row in tables["finding"])
    assert {"clientmsg", "fatal_signal", "InvalidRead", "MismatchedFree", "SyscallParam"} <= kinds.keys()


def test_the_truth_of_memerr() -> None:
    tables = read_tables(fixtures("valgrind", "memcheck.xml"), adapter="valgrind.xml")
    leaked: Counter[str] = Counter()
    for row in tables["finding"]:
        leaked[row["kind"]] += row["bytes"] or 0
    # LEAK SUMMARY of captures/valgrind/memcheck/memerr-plain.txt.
    assert leaked["Leak_DefinitelyLost"] == 364
    assert leaked["Leak_IndirectlyLost"] == 128
    assert leaked["Leak_PossiblyLost"] == 1000
    assert leaked["Leak_StillReachable"] == 777
    assert [row["pid"] for row in tables["process"]] == [32679]
    assert tables["capture"][0]["command"] == "/tmp/cap/wl/vg/memerr"
    names = {row["metric_id"]: (row["name"], row["unit"]) for row in tables["metric"]}
    sums: Counter[tuple[str, str]] = Counter()
    for sample in tables["sample"]:
        sums[names[sample["metric_id"]]] += sample["value"]
    assert sums["errors", "error"] == 9
    assert sums["Leak_DefinitelyLost", "byte"] == 364
    roles = {row["role"] for row in tables["finding_stack"]}
    assert roles == {"error", "allocated", "freed", "origin"}


def test_a_race_knows_where_its_threads_were_created() -> None:
    tables = read_tables(captures("valgrind", "helgrind", "races.xml"), adapter="valgrind.xml")
    race = next(row for row in tables["finding"] if row["kind"] == "Race")
    stacks = [row for row in tables["finding_stack"] if row["finding_id"] == race["finding_id"]]
    assert [row["role"] for row in stacks] == ["error", "conflict", "created", "created"]
    assert [row["detail"] for row in stacks[2:]] == ["thread #3 was created", "thread #2 was created"]
    assert _frames(tables, stacks[2]["stack_id"])[-1][1] == "main"
    assert 'data symbol "shared_counter"' in race["message"]


def _read(data: bytes, folder: Path) -> Tables:
    path = folder / "damaged"
    path.write_bytes(data)
    issues = IssueLog()
    tables: Tables = {"finding": []}
    with Source(path) as source:
        for table, rows in ValgrindXml().read(source, issues):
            validate_batch(table, rows)
            tables.setdefault(table, []).extend(rows.to_pylist())
    tables["import_issue"] = issues.to_batch().data.to_pylist()
    return tables


def test_a_report_cut_anywhere_yields_its_errors(tmp_path: Path) -> None:
    data = fixtures("valgrind", "memcheck.xml").read_bytes()
    for end in range(data.index(b"<valgrindoutput>") + 16, len(data) - 20, 211):
        tables = _read(data[:end], tmp_path)
        whole = data[:end].count(b"</error>")
        assert whole <= len(tables["finding"]) <= whole + 1
        codes = {row["code"] for row in tables["import_issue"]}
        assert "truncated" in codes
        # The error that was cut stands with its begin, and is told.
        assert ("damaged" in codes) == (data[:end].count(b"<error>") > whole)
        assert len(tables["finding"]) == whole or "damaged" in codes


def test_flipped_bytes_cost_one_error_at_most(tmp_path: Path) -> None:
    data = fixtures("valgrind", "memcheck.xml").read_bytes()
    errors = data.count(b"</error>")
    for position in range(data.index(b"<valgrindoutput>") + 16, len(data), 199):
        tables = _read(data[:position] + bytes([data[position] ^ 0x15]) + data[position + 1 :], tmp_path)
        assert errors - 1 <= len(tables["finding"]) <= errors


def test_a_programs_own_output_may_run_through_it(tmp_path: Path) -> None:
    data = fixtures("valgrind", "memcheck.xml").read_bytes()
    mixed = data.replace(b"</error>\n", b"</error>\nhello <world> & more\n")
    assert len(_read(mixed, tmp_path)["finding"]) == data.count(b"</error>")


def test_reports_of_several_processes_in_one_file(tmp_path: Path) -> None:
    parts = [captures("valgrind", "memcheck", name).read_bytes() for name in ("memerr.xml", "truth.xml")]
    tables = _read(b"".join(parts), tmp_path)
    assert [row["pid"] for row in tables["process"]] == [
        int(re.search(rb"<pid>(\d+)", part)[1])  # type: ignore[index]
        for part in parts
    ]
    assert len(tables["finding"]) == sum(part.count(b"</error>") for part in parts)


def test_text_that_is_no_utf8_is_kept(tmp_path: Path) -> None:
    data = fixtures("valgrind", "memcheck.xml").read_bytes()
    tables = _read(data.replace(b"<fn>invalid_read</fn>", b"<fn>inv\xe4lid\x01_read</fn>"), tmp_path)
    assert len(tables["finding"]) == data.count(b"</error>")
    assert "inv\ufffdlid\ufffd_read" in {row["function"] for row in tables["frame"]}


@pytest.mark.parametrize(
    "prolog",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_entities_are_not_expanded(prolog: bytes, tmp_path: Path) -> None:
    error = b"<error><unique>0x0</unique><kind>K</kind><what>&a;</what></error>"
    path = tmp_path / "bomb"
    path.write_bytes(b'<?xml version="1.0"?>' + prolog + b"<valgrindoutput>" + error + b"</valgrindoutput>")
    with Source(path) as source, pytest.raises(FormatError, match="no document type"):
        list(ValgrindXml().read(source, IssueLog()))
    within = _read(b"<valgrindoutput>" + prolog + error + b"</valgrindoutput>", tmp_path)
    assert [row["message"] for row in within["finding"]] == ["\ufffda;"]


def test_junk_costs_linear_time(tmp_path: Path) -> None:
    for junk in (b"<error>", b"</error>", b"</pid>", b"<error></pid>"):
        tables = _read(b"<valgrindoutput>" + junk * (1_500_000 // len(junk)), tmp_path)
        assert len(tables["finding"]) == 0


@pytest.mark.parametrize(("checker", "program"), [("memcheck", "memerr"), ("helgrind", "races"), ("drd", "races")])
def test_live_run(checker: str, program: str, tmp_path: Path) -> None:
    out = tmp_path / "x.xml"
    command = [tool("valgrind"), f"--tool={checker}", "--xml=yes", f"--xml-file={out}"]
    command += ["--leak-check=full", "--show-leak-kinds=all"] if checker == "memcheck" else []
    binary = str(captures("workloads", "vg", program))
    subprocess.run([*command, binary], capture_output=True, timeout=60, check=False)
    tables = read_tables(out, adapter="valgrind.xml")
    _check(out, tables)
    assert tables["capture"][0]["command"] == binary
