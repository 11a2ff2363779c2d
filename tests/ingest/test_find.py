"""From paths to captures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.support import captures

from perfkit.ingest.find import find_captures
from perfkit.schema.errors import SourceError, UnknownFormatError


def test_folders_are_searched_and_what_is_no_capture_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    shutil.copy(captures("perf", "fp.data"), tmp_path / "a" / "b" / "nameless")
    shutil.copy(captures("perf", "stat-json.txt"), tmp_path / "a" / "counts")
    (tmp_path / "a" / "notes.txt").write_text("nothing of interest\n")
    found = find_captures([str(tmp_path / "a")])
    assert found.captures == [str(tmp_path / "a" / "b" / "nameless"), str(tmp_path / "a" / "counts")]
    assert found.passed_over == [str(tmp_path / "a" / "notes.txt")]
    assert not found.errors


def test_a_folder_that_is_a_capture_counts_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "threads.data"
    folder.mkdir()
    shutil.copy(captures("perf", "fp.data"), folder / "data")
    assert find_captures([str(tmp_path)]).captures == [str(folder)]


def test_globs_are_expanded_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b.data", "a.data", "c.txt"):
        shutil.copy(captures("perf", "fp.data"), tmp_path / name)
    found = find_captures([str(tmp_path / "*.data")])
    assert found.captures == [str(tmp_path / "a.data"), str(tmp_path / "b.data")]


def test_a_file_whose_name_looks_like_a_glob_is_taken_as_it_is(tmp_path: Path) -> None:
    odd = tmp_path / "run[1].data"
    shutil.copy(captures("perf", "fp.data"), odd)
    assert find_captures([str(odd)]).captures == [str(odd)]


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, SourceError), (b"", UnknownFormatError), (b"hello\n", UnknownFormatError)],
)
def test_what_was_named_outright_and_is_no_capture_is_an_error(
    tmp_path: Path, content: bytes | None, error: type[Exception]
) -> None:
    path = tmp_path / "named"
    if content is not None:
        path.write_bytes(content)
    found = find_captures([str(path)])
    assert not found.captures
    assert [type(e) for e in found.errors] == [error]
    assert str(path) in str(found.errors[0])


def test_an_empty_folder_and_a_folder_of_junk_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").mkdir()
    for index in range(3):
        (tmp_path / "junk" / str(index)).write_bytes(os.urandom(100))
    found = find_captures([str(tmp_path / "empty"), str(tmp_path / "junk")])
    assert [type(e) for e in found.errors] == [SourceError, SourceError]
    assert "3 files looked at" in str(found.errors[1])


def test_a_fifo_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    found = find_captures([str(tmp_path / "fifo")])
    assert "neither a file nor a folder" in str(found.errors[0])
    assert "perfkit ingest - <" in found.errors[0].hint
