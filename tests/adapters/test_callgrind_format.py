"""callgrind's format: its corners, other programs that write it, and what is left of damaged files."""

from __future__ import annotations

from tests.adapters.callgrind_rows import CYCLE, edges_of, instructions_of, samples_of, write
from tests.adapters.integrity import read_checked
from tests.adapters.reading import nameless, read_tables
from tests.support import captures, corpus, fixtures

import perfkit.adapters.callgrind.adapter
from perfkit.adapters.callgrind import Callgrind


def test_edges_lead_from_the_line_of_the_call_to_the_function(tmp_path):
    assert edges_of(read_tables(write(tmp_path, CYCLE), adapter="callgrind.out")) == [
        ("main", 1, "a", None, 1, 100, False),
        ("a", 2, "b", None, 3, 90, True),
        ("a", 2, "c", None, 1, 5, False),
        ("b", 3, "a", None, 2, 60, True),
        ("b", 3, "c", None, 1, 7, False),
        ("c", 5, "c", None, 4, 8, True),
    ]


def test_blocks_may_end_anywhere(monkeypatch):
    """What is in effect at a block's end goes on in the next: with blocks of a few lines everything is the same."""
    path = fixtures("valgrind", "callgrind.out")
    whole = read_tables(path, adapter="callgrind.out")
    monkeypatch.setattr(perfkit.adapters.callgrind.adapter, "_BLOCK_BYTES", 1009)
    pieces = read_tables(path, adapter="callgrind.out")
    for view in (
        samples_of,
        edges_of,
        instructions_of,
    ):  # estimates are rounded in the order of their functions' numbers
        assert sorted(view(pieces), key=str) == sorted(view(whole), key=str)


def test_compression_is_only_a_way_of_writing():
    folder = captures("valgrind", "callgrind")
    tables = [read_tables(folder / name, adapter="callgrind.out") for name in ("default.out", "nocompress.out")]
    assert samples_of(tables[0]) == samples_of(tables[1])
    assert sorted(map(str, edges_of(tables[0]))) == sorted(map(str, edges_of(tables[1])))
    fine = [read_tables(folder / name, adapter="callgrind.out") for name in ("dumpinstr.out", "nocompress-instr.out")]
    assert samples_of(fine[0]) == samples_of(fine[1]) == samples_of(tables[0])
    assert sorted(instructions_of(fine[0])) == sorted(instructions_of(fine[1]))


def test_a_name_may_be_given_to_another_number_again(tmp_path):
    text = "# callgrind format\nevents: Ir\nfn=(1) a\n1 1\nfn=(2) b\n1 2\nfn=(1)\n1 4\nfn=(1) c\n1 8\nfn=(1)\n1 16\n"
    found = samples_of(read_tables(write(tmp_path, text), adapter="callgrind.out"))
    assert found == [("Ir", "a", None, 1, None, 5), ("Ir", "b", None, 1, None, 2), ("Ir", "c", None, 1, None, 24)]


def test_derived_events_are_metrics(tmp_path):
    text = (
        "# callgrind format\r\nevent: Sum = Ir + 2 Dr : all of it\r\nevent: Ir : Instructions\r\n"
        "events: Ir Dr\r\nfn=f\r\n1 5 7"
    )
    tables = read_tables(write(tmp_path, text), adapter="callgrind.out")
    assert [(name, value) for name, *_, value in samples_of(tables)] == [("Dr", 7), ("Ir", 5), ("Sum", 19)]
    assert not any(metric["is_estimate"] for metric in tables["metric"])


def test_times_of_system_calls_have_their_unit():
    tables = read_tables(captures("valgrind", "callgrind", "allevents.out"), adapter="callgrind.out")
    assert {m["name"]: m["unit"] for m in tables["metric"]}["sysTime"] == "ms"


def test_addresses_are_relative_and_wrap(tmp_path):
    text = (
        "# callgrind format\npositions: instr\nevents: Ir\nob=(1) /bin/x\nfn=f\n"
        "0xfffffffffffffff0 3\n+8 4\n-16 1\n* 2\n"
    )
    tables = read_tables(write(tmp_path, text), adapter="callgrind.out")
    assert instructions_of(tables) == [
        ((1 << 64) - 16, 3),
        ((1 << 64) - 8, 4),
        ((1 << 64) - 24, 1),
        ((1 << 64) - 24, 2),
    ]
    assert samples_of(tables) == [("Ir", "f", None, None, "/bin/x", 10)]


def test_jumps_are_counted_and_cost_nothing(tmp_path):
    text = (
        "# callgrind format\nevents: Ir\nfl=x\nfn=f\n3 1\njcnd=1/2 +4\n5\n"
        "jfi=(3) y\njfn=(4) g\njump=7 9\n+1\n+1 2\nfl=(3)\nfn=(4)\n1 1\n"
    )
    tables = read_tables(write(tmp_path, text), adapter="callgrind.out")
    places = [("Ir", "f", "x", 3, None, 1), ("Ir", "f", "x", 7, None, 2), ("Ir", "g", "y", 1, None, 1)]
    assert samples_of(tables) == places
    assert [(i["code"], i["count"]) for i in tables["import_issue"]] == [("jumps_not_kept", 2)]


def test_xdebug_writes_the_format_too(tmp_path):
    text = (
        "version: 1\ncreator: xdebug 3.1.6 (PHP 8.1)\ncmd: /var/www/index.php\npart: 1\npositions: line\n\n"
        "events: Time_(10ns) Memory_(bytes)\n\nfl=(1) php:internal\nfn=(1) php::define\n7 12 0\n\n"
        "fl=(2) /var/www/index.php\nfn=(2) {main}\n\nsummary: 22 -20\n\n"
        "3 10 -20\ncfl=(1)\ncfn=(1)\ncalls=1 0 0\n4 12 0\n"
    )
    tables = read_tables(write(tmp_path, text), adapter="callgrind.out")
    (capture,) = tables["capture"]
    assert (capture["tool"], capture["tool_version"]) == ("xdebug", "3.1.6 (PHP 8.1)")
    assert ("Memory_(bytes)", "{main}", "/var/www/index.php", 3, None, -20) in samples_of(tables)
    assert edges_of(tables)[0] == ("{main}", 4, "php::define", None, 1, 12, False)
    assert tables["import_issue"] == []


def test_what_is_wrong_is_counted_where_it_stands(tmp_path):
    text = (
        "# callgrind format\nevents: Ir\nfn=(1) main\n5 3 4\nnonsense\n7 abc\n"
        "fn=(9)\n9 1\ntotals: 11\ncfn=(1)\ncalls=1 5\n"
    )
    tables = read_tables(write(tmp_path, text), adapter="callgrind.out")
    issues = {issue["code"]: (issue["offset"], issue["count"]) for issue in tables["import_issue"]}
    assert issues == {
        "malformed_cost": (text.index("5 3 4"), 2),
        "unparsed_line": (text.index("nonsense"), 1),
        "undefined_name": (text.index("fn=(9)"), 1),
        "totals_differ": (None, 1),
        "truncated": (None, 1),
    }
    assert samples_of(tables) == [("Ir", "[unknown]", None, 9, None, 1), ("Ir", "main", None, 5, None, 3)]


def test_is_recognised_without_its_name(tmp_path):
    for name in ("default.out", "threads-sep.out-02", "nocompress-instr.out"):
        path = nameless(captures("valgrind", "callgrind", name), tmp_path)
        assert read_tables(path, adapter="callgrind.out")["capture"][0]["tool"] == "callgrind"
    assert (
        read_tables(corpus("gprof2dot/callgrind/empty.callgrind"), adapter="callgrind.out")["capture"][0][
            "tool_version"
        ]
        == "3.5.0-Debian"
    )


def test_damage_costs_no_more_than_what_it_hits(tmp_path):
    whole = captures("valgrind", "callgrind", "threads-combined.out").read_bytes()
    head = whole[:6_000]
    path = tmp_path / "x"
    for cut in range(0, len(head), 411):
        path.write_bytes(head[:cut])
        read_checked(path, Callgrind())
    for position in range(0, len(head), 397):
        for flip in (0x01, 0x10, 0xFF):
            damaged = bytearray(head)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            read_checked(path, Callgrind())
    path.write_bytes(whole[: len(whole) // 2])
    tables = read_checked(path, Callgrind())
    assert tables is not None
    assert "totals_differ" in tables["import_issue"]["code"].to_pylist()
