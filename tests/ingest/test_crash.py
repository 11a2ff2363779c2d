"""What a store is worth after the worst: a killed ingest, a full disk, somebody else at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support import fixtures

from perfkit.ingest.store import Store
from perfkit.schema.database import open_for_reading

PERFKIT = "from perfkit.cli.main import main; main()"


def perfkit(folder: Path, *arguments: str, before: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"PERFKIT_DB": str(folder / "x.duckdb"), "HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", before + PERFKIT, *arguments], cwd=folder, env=environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(folder: Path, *arguments: str, before: str = "") -> tuple[int, str]:
    """Exit code and what was said; `before` is Python to run first."""
    with perfkit(folder, *arguments, before=before) as process:
        out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, out + err


def large(folder: Path, size: int) -> Path:
    """A capture of about `size` bytes: the records of a real one over and over."""
    content = fixtures("perf", "truth-cpu.data").read_bytes()
    at, length = (int.from_bytes(content[i : i + 8], "little") for i in (40, 48))
    times = size // length
    target = folder / "large.data"
    head = content[:48] + (length * times).to_bytes(8, "little") + content[56:72] + bytes(32) + content[104:at]
    target.write_bytes(head + content[at : at + length] * times)
    return target


def counts(folder: Path) -> dict[str, int]:
    """Rows by table."""
    connection = open_for_reading(folder / "x.duckdb")
    try:
        tables = [row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]
            for name in ("capture", "sample", "stack", "frame", "thread", "mapping", "record_count")
            if name in tables
        }
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "while it writes", "while it commits"])
def test_a_killed_ingest_leaves_the_database_as_it_was(moment: str, tmp_path: Path):
    assert run(tmp_path, "ingest", str(fixtures("perf", "fp.data")))[0] == 0
    before = counts(tmp_path)
    capture = large(tmp_path, 50 << 20)
    wal = tmp_path / "x.duckdb.wal"
    with perfkit(tmp_path, "ingest", str(capture)) as process:
        ends = time.monotonic() + {"at once": 0.5, "while it writes": 1.5, "while it commits": 60}[moment]
        while time.monotonic() < ends and process.poll() is None:
            if moment == "while it commits" and wal.exists() and wal.stat().st_size:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = counts(tmp_path)
    # The later moments can come too late, after the commit: then the capture is there, and, as below, whole.
    assert left["capture"] in ({1} if moment == "at once" else {1, 2})
    if left["capture"] == 1:
        assert left == before
    code, said = run(tmp_path, "ingest", str(capture))
    assert code == 0, said
    after = counts(tmp_path)
    assert after["capture"] == 2
    assert after["sample"] == before["sample"] + 2004 * ((50 << 20) // data_size())


def data_size() -> int:
    content = fixtures("perf", "truth-cpu.data").read_bytes()
    return int.from_bytes(content[48:56], "little")


def test_a_full_disk_is_told_and_leaves_the_database_as_it_was(tmp_path: Path):
    assert run(tmp_path, "ingest", str(fixtures("perf", "fp.data")))[0] == 0
    before = counts(tmp_path)
    limit = (tmp_path / "x.duckdb").stat().st_size + (64 << 10)
    # To a program a limit on the size of files looks as a full disk does: a write fails.
    no_more_room = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    code, said = run(tmp_path, "ingest", str(large(tmp_path, 20 << 20)), before=no_more_room)
    assert code == 2
    assert "x.duckdb" in said
    assert "Free some disk space" in said
    assert counts(tmp_path) == before
    assert run(tmp_path, "ingest", str(fixtures("perf", "group-S.data")))[0] == 0


def test_somebody_else_is_writing(tmp_path: Path):
    with Store(tmp_path / "x.duckdb"):
        code, said = run(tmp_path, "ingest", str(fixtures("perf", "fp.data")))
    assert code == 2
    assert f"is held by process {os.getpid()}, which is writing to it" in said
    assert "--db" in said
    assert run(tmp_path, "ingest", str(fixtures("perf", "fp.data")))[0] == 0


def test_what_cannot_be_ingested_does_not_keep_the_rest_from_it(tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b\x08" + b"\xff" * 100)
    (tmp_path / "half.data").write_bytes(fixtures("perf", "fp.data").read_bytes()[:60])
    os.mkfifo(tmp_path / "pipe")
    names = ("empty", "broken.gz", "half.data", "pipe", "nothing")
    code, said = run(tmp_path, "ingest", *(str(tmp_path / name) for name in names), str(fixtures("perf", "fp.data")))
    assert code == 2
    for name in names:
        assert name in said
    assert counts(tmp_path)["capture"] == 1


def test_a_folder_of_junk(tmp_path: Path):
    folder = tmp_path / "junk"
    (folder / "below").mkdir(parents=True)
    for number in range(20):
        (folder / f"{number}").write_bytes(os.urandom(number * 100))
        (folder / "below" / f"data.{number}").write_bytes(b"PERFILE" * number)
    code, said = run(tmp_path, "ingest", str(folder))
    assert code == 2
    assert "holds no capture of a known format (40 files looked at)" in said
