"""Asks the saved queries about captures of callgrind and cachegrind, each ingested once for a whole module of tests."""

from __future__ import annotations

from pathlib import Path

from perfkit.ingest.pipeline import IngestOptions, ingest
from perfkit.ingest.store import Store
from perfkit.query.catalogue import statements

Named = dict[str, int]


class Costs:
    """A database that takes captures in as they are asked about."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "costs.duckdb", catalogue=statements(), threads=1)
        self._ids: dict[Path, int] = {}

    def capture_id(self, path: Path) -> int:
        if path not in self._ids:
            (outcome,) = ingest(self.store, [str(path)], IngestOptions(again=True))
            assert outcome.error is None, outcome.error
            assert outcome.capture_id is not None
            self._ids[path] = outcome.capture_id
        return self._ids[path]

    def rows(self, sql: str, *parameters: object) -> list[tuple]:
        return self.store.connection.execute(sql, list(parameters)).fetchall()

    def events(self, path: Path) -> list[str]:
        """Recorded metrics, in the order of the file."""
        sql = "SELECT name FROM metric WHERE capture_id = ? AND NOT is_estimate ORDER BY metric_id"
        return [row[0] for row in self.rows(sql, self.capture_id(path))]

    def totals(self, path: Path, event: str) -> int:
        """All self cost."""
        sql = (
            "SELECT coalesce(sum(value), 0) FROM sample JOIN metric USING (capture_id, metric_id) "
            "WHERE capture_id = ? AND name = ?"
        )
        return int(self.rows(sql, self.capture_id(path), event)[0][0])

    def by_file_function(self, path: Path, event: str, column: str) -> Named:
        """`self` or `inclusive` of each `file:function`, as the annotators name them."""
        sql = (
            "SELECT coalesce(source_file, '???') || ':' || replace(function, '[unknown]', '???'), "
            f"{column} FROM file_function_cost(capture := ?, metric := ?)"
        )
        named: Named = {}
        for name, value in self.rows(sql, self.capture_id(path), event):
            named[name] = named.get(name, 0) + value
        return named

    def issues(self, path: Path) -> dict[str, int]:
        """Counts of issues by code, those that are only information left out."""
        sql = "SELECT code, sum(count)::INT FROM import_issue WHERE capture_id = ? AND severity <> 'info' GROUP BY code"
        return dict(self.rows(sql, self.capture_id(path)))


def differing(found: Named, expected: Named) -> dict[str, tuple[int, int]]:
    """Names whose costs differ, (found, expected). The annotators leave out what cost nothing, so absent is zero."""
    names = found.keys() | expected.keys()
    pairs = {name: (found.get(name, 0), expected.get(name, 0)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
