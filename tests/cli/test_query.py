"""`perfkit query` as people and scripts use it."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from tests.cli.program import run
from tests.query.profiles import Sample, batches

from perfkit.cli.output import Style, print_table
from perfkit.cli.units import humanize, unit_of
from perfkit.ingest.store import CaptureStamp, Store
from perfkit.query.catalogue import saved_queries, statements

LONG = "std::vector<std::pair<int, long>, std::allocator<std::pair<int, long>>>::emplace_back"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("query")
    main, work = ("main", "/usr/bin/app", 0), (LONG, "/usr/lib/libwork.so", 1)
    with Store(path / "perfkit.duckdb", catalogue=statements()) as store:
        for name, weight in (("old", 1), ("new", 1_000_000)):
            samples = [Sample((main, work), 3 * weight, ts=5), Sample((main,), weight, ts=9, utid=2)]
            store.add(batches(samples), CaptureStamp(name, f"/{name}", name, 5000))
    return path


def test_a_table_with_units_and_aligned_numbers(folder):
    result = run("query", "@hot-functions", cwd=folder)
    assert result.code == 0
    assert result.text.splitlines() == [
        "function"
        + " " * (len(LONG) - 6)
        + "module               kind     self  self_percent    total  total_percent  samples",
        "  ".join("─" * width for width in (len(LONG), 19, 4, 7, 12, 7, 13, 7)),
        f"{LONG}  /usr/lib/libwork.so  user  3.00 ms        75.00%  3.00 ms         75.00%        1",
        f"{'main'.ljust(len(LONG))}  /usr/bin/app         user  1.00 ms        25.00%  4.00 ms        100.00%        1",
    ]


def test_raw_numbers(folder):
    text = run("query", "@hot-functions", "--raw", "--top", "1", cwd=folder).text
    assert re.search(r" 3000000 +75\.0 +3000000 +75\.0 +1 +ns$", text.splitlines()[2])


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_on_a_terminal_it_fits(folder, columns):
    text = run("query", "@hot-functions", cwd=folder, is_terminal=True, columns=columns).text
    plain = re.sub(r"\x1b\[\d*m", "", text)
    assert "\x1b[1m" in text
    assert max(map(len, plain.splitlines())) <= columns
    assert "3.00 ms" in plain
    assert "libwork.so" in plain
    if columns == 80:
        assert re.search(r"^std::\S+…\S*::emplace_back", plain, re.MULTILINE) or "…" in plain


def test_what_cannot_fit_is_shown_a_value_a_line(folder):
    text = run("query", "FROM capture LIMIT 1", cwd=folder, is_terminal=True, columns=60).text
    plain = re.sub(r"\x1b\[\d*m", "", text)
    assert re.search(r"^name +old$", plain, re.MULTILINE)
    assert re.search(r"^byte_count +4\.88 KiB$", plain, re.MULTILINE)


def test_no_color(folder, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("query", "SELECT 1 AS a", cwd=folder, is_terminal=True).text


def test_control_characters_do_not_reach_the_terminal(folder):
    text = run("query", "SELECT chr(27) || '[31mred' || chr(10) AS name", cwd=folder).text
    assert text.splitlines()[-1] == r"\x1b[31mred\n"


def test_a_long_table_is_cut_and_says_so(folder):
    result = run("query", "SELECT range AS n FROM range(5000)", cwd=folder)
    assert len(result.text.splitlines()) == 2 + 1000
    assert "the first 1000 rows" in result.err
    result = run("query", "SELECT range AS n FROM range(5000)", "--limit", "5000", cwd=folder)
    assert len(result.text.splitlines()) == 2 + 5000
    assert result.err == ""


def test_no_rows_are_told(folder):
    assert "no rows" in run("query", "SELECT 1 AS a WHERE false", cwd=folder).err


@pytest.mark.parametrize("form", [["--format", "json"], ["--json"], ["--json", "-o", "-"]])
def test_json(folder, form):
    result = run("query", "SELECT name, labels FROM capture ORDER BY capture_id", *form, cwd=folder)
    assert json.loads(result.out) == [{"name": "old", "labels": {}}, {"name": "new", "labels": {}}]


def test_csv_and_jsonl(folder):
    out = run("query", "@hot-functions", "--format", "csv", cwd=folder).text
    assert [row["self"] for row in csv.DictReader(io.StringIO(out))] == ["3000000", "1000000"]
    out = run("query", "@hot-functions", "--format", "jsonl", "--limit", "1", cwd=folder).text
    assert json.loads(out)["function"] == LONG


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet"])
def test_files_by_their_suffix(folder, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    assert run("query", "FROM sample", "-o", str(path), cwd=folder).code == 0
    assert duckdb.sql(f"SELECT count(*), sum(value) FROM '{path}'").fetchall() == [(4, 4_000_004)]


def test_a_table_in_a_file(folder, tmp_path):
    path = tmp_path / "out.txt"
    assert run("query", "SELECT 1 AS one", "-o", str(path), "--format", "table", cwd=folder).out == b""
    assert path.read_text() == "one\n───\n  1\n"
    result = run("query", "SELECT 1 AS one", "-o", str(tmp_path / "no" / "t"), "--format", "table", cwd=folder)
    assert result.code == 2
    assert "cannot be written: No such file or directory" in result.err


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_binary_formats_are_not_for_a_terminal(folder, name):
    result = run("query", "SELECT 1", "--format", name, cwd=folder, is_terminal=True)
    assert (result.code, result.out) == (2, b"")
    assert f"{name} is not for a terminal" in result.err


def test_sql_from_stdin_and_from_a_file(folder, tmp_path):
    assert run("query", "-", "--json", cwd=folder, stdin=b"SELECT 'h\xc3\xa9' AS a").text == '[\n\t{"a":"hé"}\n]\n'
    (tmp_path / "q.sql").write_text("-- how many\nSELECT count(*) AS n FROM sample;\n")
    assert json.loads(run("query", "-f", str(tmp_path / "q.sql"), "--json", cwd=folder).out) == [{"n": 4}]


def test_parameters_and_their_types(folder):
    sql = "SELECT typeof($i) AS i, typeof($f) AS f, typeof($t) AS t, typeof($q) AS q, $e AS e"
    given = ["-p", "i=42", "-p", "f=1e3", "-p", "t=x=y", "-p", "q='42'", "-p", "e="]
    (row,) = json.loads(run("query", sql, *given, "--json", cwd=folder).out)
    assert row == {"i": "INTEGER", "f": "DOUBLE", "t": "VARCHAR", "q": "VARCHAR", "e": ""}


def test_a_capture_is_chosen_for_macros_and_for_sql(folder):
    def weight(*arguments: str) -> int:
        return json.loads(run("query", *arguments, "--json", cwd=folder).out)[0]["self"]

    assert weight("@hot-functions") == weight("FROM hot_functions()") == 3_000_000
    assert weight("@hot-functions", "--capture", "old") == weight("FROM hot_functions()", "--capture", "old") == 3
    assert weight("@hot-functions", "-p", "capture=old") == weight("@hot-functions", "-p", "capture=1") == 3
    assert weight("SELECT max(value) AS self FROM sample WHERE capture_id = $capture", "--capture", "1") == 3


def test_saved_queries_are_listed_shown_and_asked(folder, tmp_path):
    text = run("query", "--list", cwd=tmp_path).text
    for query in saved_queries().values():
        assert (f"@{query.title} " in text) is not query.is_scalar
    assert run("query", "--show", "@callers", cwd=tmp_path).text.endswith(saved_queries()["callers"].statement + "\n")
    (row,) = json.loads(run("query", "@callers", "-p", "function=%emplace_back", "--json", cwd=folder).out)
    assert (row["caller"], row["total"], row["percent"]) == ("main", 3_000_000, 100)


def test_tables_and_columns(folder):
    text = run("query", "--tables", cwd=folder).text
    assert re.search(r"^sample +4 +a weight on a stack$", text, re.MULTILINE)
    assert "sample_named" in text
    text = run("query", "--tables", "sample", cwd=folder).text
    assert re.search(r"^value +BIGINT +weight in the metric's unit", text, re.MULTILINE)


def test_a_plan_is_drawn(folder):
    assert "╭" in run("query", "EXPLAIN SELECT 1", cwd=folder).text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SELEC 1"], 'perfkit: syntax error at or near "SELEC"\nLINE 1: SELEC 1\n        ^^^^^\n'),
        (["SELECT functon FROM frame"], 'Candidate bindings: "function"'),
        (["SELECT functon FROM frame"], "`perfkit query --tables TABLE` lists the columns of a table."),
        (["FROM sampel"], 'Did you mean "sample"?'),
        (["FROM sampel", "--format", "csv"], "LINE 1: FROM sampel\n             ^^^^^^"),
        (["FROM hot_functons()"], "`perfkit query --list` lists the saved queries."),
        (["DELETE FROM sample"], "`perfkit query` only reads"),
        (["CREATE TABLE t (a INT)"], "`perfkit query` only reads"),
        (["SELECT error('boo')"], "perfkit: boo"),
        (["SELECT $x"], "uses $x, which has no value"),
        (["SELECT 1", "-p", "x=1"], "does not use the parameter $x"),
        (["SELECT 1", "-p", "x"], "-p x is not NAME=VALUE"),
        (["@callers"], "@callers needs the parameter function"),
        (["@hot-functoins"], "Did you mean @hot-functions?"),
        (["@hot-functions", "-p", "metric=nope"], "no metric nope in this capture"),
        (["@hot-functions", "--capture", "nope"], "no capture is called nope; there is 2 (new), 1 (old)."),
        ([], "there is no SQL to run"),
        (["SELECT 1", "-f", "q.sql"], "from the command line or from a file"),
        (["-f", "missing.sql"], "missing.sql cannot be read: No such file or directory"),
        (["SELECT 1", "-o", "out.txt"], "does not say a format"),
        (["SELECT 1", "--db", "missing.duckdb"], "there is no database at missing.duckdb"),
        (["--show"], "--show needs a saved query"),
        (["--tables", "nope"], "there is no table nope"),
        (["SELECT '\udcff'"], "not UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value).encode("ascii", "replace").decode(),
)
def test_what_cannot_be_answered_is_explained(folder, arguments, message):
    result = run("query", *arguments, cwd=folder)
    assert (result.code, result.out) == (2, b"")
    assert message in result.err
    assert "Traceback" not in result.err


def test_stdin_that_is_no_text(folder):
    result = run("query", "-", cwd=folder, stdin=b"SELECT '\xff'")
    assert result.code == 2
    assert "the SQL in stdin is not UTF-8 text" in result.err


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    perfkit = f'perfkit() {{ {sys.executable} -m perfkit.cli.main "$@"; }}; '
    return subprocess.run(["bash", "-c", perfkit + command], cwd=cwd, capture_output=True, text=True, check=False)


def test_a_reader_that_stops_early_is_no_error(folder):
    done = shell(
        "perfkit query 'SELECT range FROM range(3000000)' --format csv | head -n 2; echo ${PIPESTATUS[0]}", folder
    )
    assert done.stdout.split() == ["range", "0", "0"]
    assert done.stderr == ""


@pytest.mark.parametrize("form", ["table", "csv"])
def test_an_interrupt_ends_it_with_130(folder, form):
    endless = "SELECT count(*) FROM range(1000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"
    # A shell lets its background jobs ignore the signal, and they pass that on to their children.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from perfkit.cli.main import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "query", endless, "--format", form],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.strip()) == (130, "perfkit: interrupted.")


def test_stdout_that_is_a_file_keeps_what_it_holds(folder, tmp_path):
    path = tmp_path / "out"
    done = shell(f"(echo first; perfkit query 'SELECT 1 AS a' --format csv; echo last) > {path}", folder)
    assert done.returncode == 0
    assert path.read_text() == "first\na\n1\nlast\n"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "ns", "0 ns"),
        (999, "ns", "999 ns"),
        (1_500, "ns", "1.50 µs"),
        (-2_345_678, "ns", "-2.35 ms"),
        (61e9, "ns", "61.0 s"),
        (1023, "byte", "1023 B"),
        (1536, "byte", "1.50 KiB"),
        (5 << 30, "byte", "5.00 GiB"),
        (12.345, "%", "12.35%"),
        (999, "event", "999"),
        (12_345_678, "event", "12.3 M"),
    ],
)
def test_units(value, unit, text):
    assert humanize(value, unit) == text


def test_units_come_from_names_or_the_row():
    assert [unit_of(name, None) for name in ("span_ns", "memory_bytes", "self_percent", "self")] == [
        "ns",
        "byte",
        "%",
        "",
    ]
    assert unit_of("self", "ns") == "ns"
    assert unit_of("samples", "ns") == ""


def test_wide_and_missing_values():
    out = io.StringIO()
    print_table(["name", "count"], [["日本語" * 8, 1], [None, None]], style=Style(width=30), stream=out)
    lines = out.getvalue().splitlines()
    assert lines[2].endswith("      1")
    assert lines[3] == ""
    assert "…" in lines[2]
