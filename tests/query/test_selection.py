"""Which metric a picture is drawn of."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import fixtures

from perfkit.ingest.pipeline import IngestOptions, ingest
from perfkit.ingest.store import Store
from perfkit.query.flamegraph.selection import Selection, choose_metric
from perfkit.schema.errors import QueryError


@pytest.fixture
def callgrind(tmp_path: Path):
    with Store(tmp_path / "a.duckdb") as store:
        (outcome,) = ingest(store, [str(fixtures("valgrind", "callgrind.out"))], IngestOptions())
        assert outcome.capture_id is not None
        yield store.connection, outcome.capture_id


def test_a_call_graph_is_drawn_by_its_estimated_stacks(callgrind) -> None:
    connection, capture_id = callgrind
    chosen = choose_metric(connection, Selection(captures=(capture_id,)))
    assert (chosen.name, chosen.is_estimate) == ("Ir (estimated stacks)", True)
    exact = choose_metric(connection, Selection(captures=(capture_id,), metric="Ir"))
    assert (exact.name, exact.is_estimate) == ("Ir", False)


def test_an_unknown_metric_is_told_with_those_there_are(callgrind) -> None:
    connection, capture_id = callgrind
    with pytest.raises(QueryError, match="cycles") as caught:
        choose_metric(connection, Selection(captures=(capture_id,), metric="cycles"))
    assert "Ir" in caught.value.hint
