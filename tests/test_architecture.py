"""The worked example of ARCHITECTURE.md works."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.support import ROOT

from perfkit.adapters import registry
from perfkit.ingest.pipeline import IngestOptions, ingest
from perfkit.ingest.store import Store

VMSTAT = b"nr_free_pages 123456\nnr_zone_inactive_anon 42\nnonsense\nunstable 0\n"


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "example_vmstat.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "OWN", ("example_vmstat:VmStat", *registry.OWN))
    monkeypatch.delitem(sys.modules, "example_vmstat", raising=False)


def test_the_example_adapter_reads(tmp_path: Path) -> None:
    capture = tmp_path / "vmstat.txt"
    capture.write_bytes(VMSTAT)
    with Store(tmp_path / "p.duckdb") as store:
        (outcome,) = ingest(store, [str(capture)], IngestOptions())
        assert outcome.error is None
        points = "FROM counter JOIN counter_track USING (capture_id, track_id) SELECT name, value ORDER BY track_id"
        rows = store.connection.execute(points).fetchall()
        issues = store.connection.execute('SELECT code, "offset", count FROM import_issue').fetchall()
    assert rows == [("nr_free_pages", 123456.0), ("nr_zone_inactive_anon", 42.0), ("unstable", 0.0)]
    assert issues == [("unparsed_line", VMSTAT.index(b"nonsense"), 1)]


def test_the_example_adapter_refuses_what_holds_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "vmstat.txt"
    empty.write_bytes(b"nr_free_pages \n")
    with Store(tmp_path / "p.duckdb") as store:
        (outcome,) = ingest(store, [str(empty)], IngestOptions())
    assert outcome.error is not None
    assert "expected lines `name value`, found none" in outcome.error.message
