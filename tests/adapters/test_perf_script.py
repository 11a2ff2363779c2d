"""perf script text: against perf's own counts and sums, against an independent reading, and damaged."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.reading import Tables, read_tables, samples_of
from tests.support import captures, corpus

from perfkit.adapters import text as text_kit

_CAPTURES = [
    "addr-phys",
    "allfields",
    "clockid",
    "fp",
    "group-S",
    "java-perfmap",
    "lost2",
    "mmap-data",
    "nocallgraph",
    "overwrite",
    "pipe",
    "pipe-multi",
    "switch-events",
    "truth-bpf-cpu-period",
    "truth-cpu",
    "truth-dwarf",
    "truth-faults",
    "user-only",
]


def _script(name: str, folder: Path) -> Path:
    """The capture's text under a name that says nothing."""
    packed = name == "lost2"
    raw = captures("perf", f"{name}.script.txt{'.gz' if packed else ''}").read_bytes()
    path = folder / "x"
    path.write_bytes(gzip.decompress(raw) if packed else raw)
    return path


def _read(text: str | bytes, folder: Path) -> Tables:
    path = folder / "text"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_tables(path, adapter="perf.script")


_LINE = re.compile(
    r"\s*(?P<comm>\S.*?)\s+(?P<tid>\d+)(?: \[(?P<cpu>\d+)\])?\s+(?P<time>[\d.]+):\s+(?P<period>\d+)\s+(\S+):(.*)"
)
_FRAME = re.compile(r"\s*(?P<ip>[0-9a-f]+) (?P<symbol>.*) \((?P<module>[^()]*)\)$")


def _plainly(text: str) -> list[tuple[Any, ...]]:
    """What perf's default fields say, read line by line: good for these captures only."""
    out: list[tuple[Any, ...]] = []
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if header := _LINE.match(line):
            cpu = int(header["cpu"]) if header["cpu"] else None
            seconds, _, fraction = header["time"].partition(".")
            ts = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
            out.append((header["comm"], None, int(header["tid"]), cpu, ts, header[6], int(header["period"]), []))
            frame = _FRAME.match(header[7])
        if frame:
            name = re.sub(r"\+0x[0-9a-f]+$", "", frame["symbol"])
            if name == "[unknown]":
                base = frame["module"].rpartition("/")[2]
                name = base if base.startswith("[") else f"[{base}]"
            out[-1][7].append((int(frame["ip"], 16), name))
    return out


@pytest.mark.parametrize("name", _CAPTURES)
def test_every_sample_is_as_printed(name: str, tmp_path: Path) -> None:
    path = _script(name, tmp_path)
    tables = read_tables(path, adapter="perf.script")
    expected = _plainly(path.read_text())
    assert samples_of(tables) == expected
    assert len(expected) > 10
    assert {row["code"] for row in tables["import_issue"]} == {"pid_unknown"}


@pytest.mark.parametrize("name", _CAPTURES)
def test_counts_are_those_of_perf_report_stats(name: str, tmp_path: Path) -> None:
    tables = read_tables(_script(name, tmp_path), adapter="perf.script")
    stats = captures("perf", f"{name}.stats.txt").read_text()
    expected = {
        event: int(n) for event, n in re.findall(r"^(\S+) stats:\n\s+SAMPLE events:\s+(\d+)", stats, re.MULTILINE)
    }
    names = {row["metric_id"]: row["name"] for row in tables["metric"]}
    found = {names[r["metric_id"]]: r["count"] for r in tables["record_count"] if r["record"] == "SAMPLE"}
    assert found == {event: count for event, count in expected.items() if count}


@pytest.mark.parametrize("name", ["fp", "truth-cpu", "truth-faults", "nocallgraph", "lost2", "java-perfmap"])
def test_weights_of_symbols_are_those_of_perf_report(name: str, tmp_path: Path) -> None:
    tables = read_tables(_script(name, tmp_path), adapter="perf.script")
    frames = {row["frame_id"]: row for row in tables["frame"]}
    leaf = {row["stack_id"]: frames[row["frame_id"]] for row in tables["stack"]}
    found: Counter[tuple[str, str]] = Counter()
    for sample in tables["sample"]:
        frame = leaf[sample["stack_id"]]
        found[(frame["module"] or "[unknown]").rpartition("/")[2], frame["function"]] += sample["value"]
    report = captures("perf", f"{name}.report-flat.txt").read_text()
    rows = re.findall(r"^\s+[\d.]+%\s+\d+\s+(\d+)  (\S.*?)  +(\S+)\s+\[.\] (.*?)\s*$", report, re.MULTILINE)
    expected: Counter[tuple[str, str]] = Counter()
    for period, _, module, symbol in rows:
        if not re.match(r"0x[0-9a-f]{16}", symbol):
            expected[module, symbol] += int(period)
    assert len(expected) > 3
    assert {key: found[key] for key in expected} == expected


def test_the_truth_burns_60_30_10(tmp_path: Path) -> None:
    tables = read_tables(_script("truth-cpu", tmp_path), adapter="perf.script")
    leaves = Counter(sample[7][0][1] for sample in samples_of(tables))
    assert (leaves["burn_a"], leaves["burn_b"], leaves["burn_c"]) == (1195, 598, 199)


def _peer_scripts() -> list[Path]:
    try:
        return sorted(corpus("_peer_goldens", "perf-6.1.192").glob("*.script.txt.gz"))
    except pytest.skip.Exception:
        return []


@pytest.mark.parametrize("path", _peer_scripts(), ids=lambda path: path.name)
def test_perf_scripts_of_other_projects_captures(path: Path) -> None:
    if not gzip.decompress(path.read_bytes()).strip():
        pytest.skip("perf printed nothing")
    tables = read_tables(path, adapter="perf.script")
    stats = path.with_name(path.name.replace(".script.txt.gz", ".stats.txt")).read_text()
    total = re.search(r"^\s+SAMPLE events:\s+(\d+)", stats, re.MULTILINE)
    expected = int(total[1]) if total else 0
    if "probe.data.stream" in path.name:
        expected += 1  # perf report --stats counts no sample in this stream, of which perf script prints one
    assert len(tables.get("sample", ())) == expected
    assert not [row for row in tables["import_issue"] if row["code"] == "unparsed_line"]


def _perf(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["perf", "script", "-f", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("perf is not installed")
    if not done.stdout:
        pytest.skip(f"perf script prints nothing: {done.stderr.decode()[:80]}")
    return done.stdout


@pytest.mark.parametrize(
    "fields",
    [
        "comm,pid,tid,time,period,event,ip,sym,dso",
        "comm,tid,time,event,ip,sym,symoff,dso",
        "pid,tid,time,event,ip,sym,dso",
        "comm,time,event,ip,sym,dso",
        "comm,pid,tid,time,ip,sym,dso",
        "comm,pid,tid,ip,sym,dso",
        "comm,ip,sym,dso",
        "ip,sym,dso",
        "comm,pid,time,event,ip",
    ],
)
def test_any_choice_of_fields_gives_the_same_stacks(fields: str, tmp_path: Path) -> None:
    name = str(captures("perf", "fp.data"))
    full = _read(_perf("-i", name, "-F", "comm,pid,tid,time,period,event,ip,sym,dso"), tmp_path)
    tables = _read(_perf("-i", name, "-F", fields), tmp_path)
    chosen = fields.split(",")
    assert len(full["sample"]) == 218
    for got, want in zip(samples_of(tables), samples_of(full), strict=True):
        assert [address for address, _ in got[7]] == [address for address, _ in want[7]]
        assert "sym" not in chosen or got[7] == want[7]
        assert got[4] == (want[4] if "time" in chosen else None)
        assert got[2] == (want[2] if "tid" in chosen or "pid" in chosen else None)
        assert got[6] == (want[6] if "period" in chosen else 1)
    assert "unparsed_line" not in {row["code"] for row in tables["import_issue"]}


@pytest.mark.parametrize("fields", ["comm,tid,time,event,ip,sym,dso", "pid,tid,time,ip,sym,dso", "time,event,ip,sym"])
def test_frames_beside_the_header(fields: str, tmp_path: Path) -> None:
    name = str(captures("perf", "nocallgraph.data"))
    tables = _read(_perf("-i", name, "-F", fields), tmp_path)
    ips = [int(ip, 16) for ip in _perf("-i", name, "-F", "ip").split()]
    assert [sample[7][0][0] for sample in samples_of(tables)] == ips
    assert len(ips) == 218


def test_sideband_records_are_counted_and_applied(tmp_path: Path) -> None:
    name = str(captures("perf", "lost2.data"))
    shown = ("--show-task-events", "--show-mmap-events", "--show-lost-events")
    tables = _read(_perf("-i", name, *shown), tmp_path)
    stats = captures("perf", "lost2.stats.txt").read_text()
    expected = {kind: int(n) for kind, n in re.findall(r"^\s+(\w+) events:\s+(\d+)  \(", stats, re.MULTILINE)}
    counts = {row["record"]: row["count"] for row in tables["record_count"]}
    for kind in ("COMM", "FORK", "EXIT", "MMAP", "MMAP2", "LOST", "SAMPLE"):
        assert counts.get(kind, 0) == expected.get(kind, 0), kind
    lost = next(row for row in tables["import_issue"] if row["code"] == "lost_records")
    assert lost["count"] == 453
    assert [row["pid"] for row in tables["process"]] == [5281]
    assert {row["name"] for row in tables["thread"]} == {"multi", "worker-1", "worker-2"}
    assert any(row["path"].endswith("/multi") and row["start"] == 0x564264777000 for row in tables["mapping"])
    assert [row["is_exec"] for row in tables["thread_name"] if row["name"] == "multi"] == [True]


def test_srcline_below_a_frame(tmp_path: Path) -> None:
    raw = captures("perf", "fp.script-fields.txt").read_text()
    tables = _read(raw, tmp_path)
    frame = next(row for row in tables["frame"] if row["function"] == "lib2_leaf" and row["address"] == 0x112A)
    assert (frame["source_file"], frame["line"]) == ("libwork2.c", 8)
    assert "unparsed_line" not in {row["code"] for row in tables["import_issue"]}


_HEADER = """\
# ========
# captured on: Thu Aug 17 14:14:43 2017
# hostname : box
# os release : 4.13.0-rc1
# perf version : 4.13.rc1
# arch : x86_64
# nrcpus online : 8
# cpudesc : Intel(R) Xeon(R) CPU E3-1245 v5 @ 3.50GHz
# total memory : 8058796 kB
# cmdline : /usr/bin/perf record -F 99 -a -g -- sleep 1
# event : name = cycles:ppp, , id = { 1 }, size = 112, { sample_period, sample_freq } = 99, freq = 1, x
# ========
#
"""
_RECORD = "java 100/101 [003] 12.000001:   5 cycles:ppp: \n\t      7f0012345678 f(int)+0x1 (/lib/a b (deleted))\n\n"


def test_header_fills_the_capture(tmp_path: Path) -> None:
    tables = _read(_HEADER + _RECORD, tmp_path)
    capture = tables["capture"][0]
    assert capture["hostname"] == "box"
    assert capture["os_release"] == "4.13.0-rc1"
    assert capture["tool_version"] == "4.13.rc1"
    assert capture["cpu_count"] == 8
    assert capture["memory_bytes"] == 8058796 * 1024
    assert capture["command"] == "/usr/bin/perf record -F 99 -a -g -- sleep 1"
    assert capture["started_at"].isoformat() == "2017-08-17T14:14:43"
    assert (capture["start_ts"], capture["end_ts"]) == (12000001000, 12000001000)
    assert tables["metric"][0]["frequency"] == 99
    assert tables["metric"][0]["unit"] == "event"
    frame = tables["frame"][0]
    assert (frame["function"], frame["module"]) == ("f(int)", "/lib/a b (deleted)")
    assert frame["address"] == 0x7F0012345678


@pytest.mark.parametrize("comm", ["a b 7", "x/2", "k:2", "(sd-pam)", "[kworker]", "CPU 0/KVM", "12", "né"])
def test_comms_of_all_kinds(comm: str, tmp_path: Path) -> None:
    tables = _read(f"{comm:>16} 7/8 [000] 1.000000: 1 cycles: \n\t{'a' * 16} f (/x)\n\n" * 2, tmp_path)
    assert [sample[:3] for sample in samples_of(tables)] == [(comm, 7, 8)] * 2


def test_names_with_semicolons_spaces_and_arrows_are_kept(tmp_path: Path) -> None:
    names = ["Ljava/io/A;::b->Lc/D;::e", "LazyCompile:~f /x/y.js:39", "regexp/syntax.(*p).push", "<A as B>::c"]
    frames = "".join(f"\t    7f00000000{n:02x} {name}+0x10 (/tmp/perf-7.map)\n" for n, name in enumerate(names))
    tables = _read(f"java 7/7 1.000000: 1 cycles: \n{frames}\n", tmp_path)
    assert [row["function"] for row in tables["frame"]][::-1] == names[::-1]
    assert {row["kind"] for row in tables["frame"]} == {"jit"}


def test_kinds_and_names_of_frames(tmp_path: Path) -> None:
    lines = {
        "ffffffff81000000 f ([kernel.kallsyms])": ("f", "kernel"),
        "          3d6b4c g (/lib/modules/4.1.0/build/vmlinux)": ("g", "kernel"),
        "            2000 h ([nf_conntrack])": ("h", "kernel"),
        "ffffffffc0000000 i (/lib/modules/x/y.ko.xz)": ("i", "kernel"),
        "    7ffd00000700 [unknown] ([vdso])": ("[vdso]", "user"),
        "            4000 [unknown] (/usr/lib/libz.so.1)": ("[libz.so.1]", "user"),
        "            5000 [unknown] ([unknown])": ("[unknown]", "user"),
        "ffffffff82000000 [unknown] ([unknown])": ("[unknown]", "kernel"),
        "            6000 j (/tmp/jitted-12-3.so)": ("j", "jit"),
        "            7000 [unknown] ([kernel.kallsyms])": ("[kernel.kallsyms]", "kernel"),
        "            8000 k (inlined)": ("k", "user"),
    }
    tables = _read("a 1/1 1.000000: 1 cycles: \n" + "".join(f"\t{line}\n" for line in lines) + "\n", tmp_path)
    frames = {row["address"]: row for row in tables["frame"]}
    for line, (function, kind) in lines.items():
        frame = frames[int(line.split()[0], 16)]
        assert (frame["function"], frame["kind"]) == (function, kind), line
        assert frame["inlined"] == line.endswith("(inlined)")
    assert frames[0x5000]["module"] is None


_SWITCH = "prev_comm=a b prev_pid=1 prev_prio=120 prev_state=S ==> next_comm=c next_pid=2 next_prio=120"


def test_tracepoints_are_samples_and_events(tmp_path: Path) -> None:
    text = (
        f"a b 1/1 [000] 1.000000: 1 sched:sched_switch: {_SWITCH}\n\tffffffff81000000 schedule ([kernel.kallsyms])\n\n"
        "swapper 0/0 [001] 2.000000: 1 sched:sched_wakeup: comm=a b pid=1 prio=120 target_cpu=031 "
        "ffffffff81000001 ttwu ([kernel.kallsyms])\n"
        "swapper 0/0 [001] 3.000000: 1 cycles: \n\tffffffff81000002 idle ([kernel.kallsyms])\n\n"
    )
    tables = _read(text, tmp_path)
    assert len(tables["sample"]) == 3
    switch = tables["event.sched_switch"][0]
    assert switch["detail"] == _SWITCH
    assert (switch["prev_comm"], switch["prev_pid"], switch["prev_state"], switch["next_pid"]) == ("a b", 1, "S", 2)
    wakeup = tables["event.sched_wakeup"][0]
    assert (wakeup["comm"], wakeup["target_cpu"], wakeup["cpu"], wakeup["ts"]) == ("a b", 31, 1, 2 * 10**9)
    assert [sample[7][0][1] for sample in samples_of(tables)] == ["schedule", "ttwu", "idle"]
    assert wakeup["stack_id"] is not None


def test_branches_have_their_frames_and_ends(tmp_path: Path) -> None:
    raw = corpus("magic-trace", "test", "btree_rebalance_decode_error.perf").read_text()
    tables = _read(raw, tmp_path)
    assert len(tables["branch"]) == raw.count(" => ") == len(tables["sample"])
    first = tables["branch"][0]
    assert (first["from_address"], first["to_address"], first["branch_type"]) == (0x40BB19, 0x40BAB9, 2)
    errors = next(row for row in tables["import_issue"] if row["code"] == "trace_decode_error")
    assert errors["count"] == raw.count("instruction trace error")
    assert raw.encode()[errors["offset"] :].lstrip().startswith(b"instruction trace error")


def test_odd_lines_are_counted_at_their_offset(tmp_path: Path) -> None:
    text = _RECORD + "java 100/101 13.0: 1 cycles:ppp: \n\t   WHAT_IS_THIS\n\n" + _RECORD
    tables = _read(text, tmp_path)
    issue = next(row for row in tables["import_issue"] if row["code"] == "unparsed_line")
    assert issue["count"] == 1
    assert text[issue["offset"] :].lstrip().startswith("WHAT_IS_THIS")
    assert len(tables["sample"]) == 3


def test_samples_come_in_time_order_and_stay_in_place_when_equal(tmp_path: Path) -> None:
    times = ["3.000000", "1.000000", "2.000000", "1.000000"]
    text = "".join(f"a 1/{n + 1} {t}: {n + 10} cycles: \n\t{'b' * 16} f (/x)\n\n" for n, t in enumerate(times))
    assert [sample[6] for sample in samples_of(_read(text, tmp_path))] == [11, 13, 12, 10]


def test_line_ends_and_byte_order_mark_make_no_difference(tmp_path: Path) -> None:
    raw = captures("perf", "fp.script.txt").read_bytes()
    plain = samples_of(_read(raw, tmp_path))
    assert samples_of(_read(b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n"), tmp_path)) == plain


def test_offsets_count_carriage_returns(tmp_path: Path) -> None:
    text = (_RECORD * 3 + "java 100/101 13.0: 1 cycles:ppp: \n\t   WHAT\n\n").replace("\n", "\r\n")
    issue = next(row for row in _read(text, tmp_path)["import_issue"] if row["code"] == "unparsed_line")
    assert text[issue["offset"] :].lstrip().startswith("WHAT")


def test_blocks_of_any_size_give_the_same_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _script("fp", tmp_path)
    whole = read_tables(path, adapter="perf.script")
    for size in (1, 100, 4096):
        monkeypatch.setattr(text_kit.read_blocks, "__kwdefaults__", {"size": size})
        assert samples_of(read_tables(path, adapter="perf.script")) == samples_of(whole)


def test_texts_of_callchains_may_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _script("truth-cpu", tmp_path)
    whole = read_tables(path, adapter="perf.script")
    monkeypatch.setattr("perfkit.adapters.perf_script.stacks._CACHE_BYTES", 1000)
    monkeypatch.setattr(text_kit.read_blocks, "__kwdefaults__", {"size": 8192})
    again = read_tables(path, adapter="perf.script")
    assert samples_of(again) == samples_of(whole)
    assert len(again["stack"]) == len(whole["stack"])


def test_numbers_too_big_are_kept_within_bounds(tmp_path: Path) -> None:
    text = "a 1/1 [5] 1.000000: 99999999999999999999 cycles: \n\tffffffffffffffff f (/x)\n\n"
    tables = _read(text, tmp_path)
    assert tables["sample"][0]["value"] == (1 << 63) - 1
    assert tables["frame"][0]["address"] == (1 << 64) - 1
