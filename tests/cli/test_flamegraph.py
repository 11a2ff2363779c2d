"""`perfkit flamegraph` as a person runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.query.flame_store import Frame, Sample, fold_plainly, write_store

from perfkit.cli import main

MAIN, WORK = Frame("main"), Frame("work")
SAMPLES = [
    Sample("my app", (MAIN, WORK), 70, tid=1, ts=0, cpu=0),
    Sample("my app", (MAIN,), 29, tid=1, ts=1_000_000_000, cpu=1),
    Sample("my app", (MAIN, Frame("dust")), 1, tid=1, ts=2_000_000_000, cpu=1),
]
OTHER = Sample("my app", (MAIN,), 5, tid=1, ts=3_000_000_000, metric="page-faults")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "perfkit.duckdb", [*SAMPLES, OTHER], SAMPLES[:1])


class Run:
    """Runs `perfkit flamegraph` in a folder of its own against the database."""

    def __init__(self, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.database = database
        self.monkeypatch = monkeypatch
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        command = ["perfkit", "flamegraph", *arguments, "--db", str(self.database)]
        self.monkeypatch.setattr(sys, "argv", command)
        try:
            main.main()
            code: object = 0
        except SystemExit as stop:
            code = stop.code
        out, err = self.capsys.readouterr()
        return int(str(code or 0)), out, err


@pytest.fixture
def run(database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(database, monkeypatch, capsys)


def test_default_is_a_page_whose_path_is_printed(run: Run, tmp_path: Path) -> None:
    assert run("1") == (0, "flamegraph.html\n", "Showing cycles; also sampled: page-faults (--metric).\n")
    assert (tmp_path / "flamegraph.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(("name", "start"), [("a.svg", "<?xml"), ("b.HTM", "<!doctype html>"), ("c.folded", "my_app;")])
def test_the_suffix_decides(run: Run, tmp_path: Path, name: str, start: str) -> None:
    assert run("1", "-o", name)[:2] == (0, f"{name}\n")
    assert (tmp_path / name).read_text().startswith(start)


def test_folded_lines_to_stdout(run: Run) -> None:
    code, out, _ = run("1", "-o", "-", "--format", "folded")
    assert code == 0
    assert out.splitlines() == fold_plainly(SAMPLES)


def test_the_latest_capture_is_the_default(run: Run) -> None:
    assert run("-o", "-", "--format", "folded") == (0, "my_app;main;work 70\n", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--metric", "page-faults"], ["my_app;main 5"]),
        (["--metric", "samples"], ["my_app;main 1", "my_app;main;dust 1", "my_app;main;work 1"]),
        (["--where", "cpu = 1 AND value > 1"], ["my_app;main 29"]),
        (["--from", "1s"], ["my_app;main 29", "my_app;main;dust 1"]),
        (["--to", "1s"], ["my_app;main;work 70"]),
        (["--root", "work"], ["work 70"]),
        (["--min-width", "2%"], ["my_app;main 30", "my_app;main;work 70"]),
        (["--min-width", "0.02"], ["my_app;main 30", "my_app;main;work 70"]),
        (["--by", "thread"], ["my_app-100/1;main 29", "my_app-100/1;main;dust 1", "my_app-100/1;main;work 70"]),
        (["--by", "none"], ["main 29", "main;dust 1", "main;work 70"]),
    ],
)
def test_options(run: Run, arguments: list[str], expected: list[str]) -> None:
    code, out, _ = run("1", "-o", "-", "--format", "folded", *arguments)
    assert (code, out.splitlines()) == (0, expected)


def test_pictures_take_title_and_orientation(run: Run, tmp_path: Path) -> None:
    run("1", "-o", "x.svg", "--title", "T & T", "--icicle")
    root = ET.fromstring((tmp_path / "x.svg").read_text())
    assert root.get("data-layout") == "icicle"
    assert [text.text for text in root.iter("{http://www.w3.org/2000/svg}text") if text.get("id") == "title"] == [
        "T & T"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.png"], "cannot tell from 'x.png' what to write."),
        (["--where", "cpu ="], "the condition 'cpu =' cannot be used"),
        (["--where", "nothing = 1"], "the condition 'nothing = 1' cannot be used"),
        (["--metric", "cycle"], "no samples of a metric named 'cycle'."),
        (["--from", "noon"], "'noon' is no time."),
        (["--root", "wrk"], "no sample of this selection passes through 'wrk'."),
        (["--min-width", "2"], "--min-width 2: expected a share of the whole."),
        (["--min-width", "wide"], "--min-width wide: expected a share of the whole."),
        (["-o", "no/such/folder/x.svg"], "cannot write no/such/folder/x.svg: No such file or directory."),
    ],
)
def test_mistakes_are_told_in_a_sentence(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run("1", *arguments)
    assert (code, out) == (2, "")
    assert f"perfkit: {message}" in err
    assert "Traceback" not in err


def test_an_unknown_capture_is_told(run: Run) -> None:
    code, _, err = run("77")
    assert code == 2
    assert "77" in err


def test_a_missing_database_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = Run(tmp_path / "none.duckdb", monkeypatch, capsys)()
    assert code == 2
    assert "there is no database" in err
