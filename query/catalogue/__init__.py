"""The saved queries: one `.sql` file a view or macro, whose opening comment is its documentation.

    -- One sentence that says what it answers.
    --
    -- More, if there is more to say.
    --
    -- group: functions
    -- param capture = NULL: what the parameter means      (without a default: it must be given)
    -- column self: what the column means                  (those whose names do not say it all)
    -- example: FROM hot_functions() LIMIT 10
    CREATE OR REPLACE MACRO …

They live in the database file too, so that every DuckDB program that opens it can ask them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from perfkit.schema.errors import QueryError

GROUPS = {
    "functions": "Where the cost is, by function",
    "threads": "Where the cost is, by thread and process",
    "time": "Over time, and how often",
    "memory": "Memory: who holds it, who leaks it, and the errors that checkers found",
    "trust": "What was captured, and how far to trust it",
    "views": "Tables joined for convenience",
    "helpers": "Building blocks of the others",
}
_FIELD = re.compile(r"^(group|example|(?:param|column) (\w+)(?: = (\S+))?): (.*)$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a saved query; `default` is SQL, or None where a value must be given."""

    name: str
    default: str | None
    doc: str


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A view or macro of the database: `name` in SQL (`hot_functions`), `title` on the command line
    (`hot-functions`).
    """

    name: str
    summary: str
    doc: str
    group: str
    parameters: tuple[Parameter, ...]
    columns: tuple[tuple[str, str], ...]
    example: str
    statement: str

    @property
    def title(self) -> str:
        """The name as it is typed after `@`."""
        return self.name.replace("_", "-")

    @property
    def is_view(self) -> bool:
        """Whether it is a view, which takes no parameters."""
        return self.statement.startswith("CREATE OR REPLACE VIEW")

    @property
    def is_scalar(self) -> bool:
        """Whether it yields one value, to be used inside an expression."""
        return not self.is_view and " AS TABLE" not in self.statement

    @property
    def signature(self) -> str:
        """How it is called, such as `hot_functions(capture := NULL, metric := NULL)`."""
        if self.is_view:
            return self.name
        parts = [p.name if p.default is None else f"{p.name} := {p.default}" for p in self.parameters]
        return f"{self.name}({', '.join(parts)})"


@cache
def saved_queries() -> dict[str, SavedQuery]:
    """All of them by SQL name, each after those it builds on."""
    parsed = {path.stem: _parse(path.stem, path.read_text("utf-8")) for path in Path(__file__).parent.glob("*.sql")}
    mentions = {
        query.name: sorted(set(re.findall(r"\w+", query.statement)) & parsed.keys() - {query.name})
        for query in sorted(parsed.values(), key=lambda query: query.name)
    }
    return {name: parsed[name] for name in TopologicalSorter(mentions).static_order()}


def statements() -> list[str]:
    """What puts all views and macros into a database, each with its summary as comment, replacing those of another
    version.
    """
    return [text for query in saved_queries().values() for text in (query.statement, _comment(query))]


def find_query(title: str) -> SavedQuery:
    """The saved query that `@title` names; `-` and `_` are the same.

    Raises:
        QueryError: there is none.
    """
    wanted = title.removeprefix("@").replace("-", "_")
    found = saved_queries().get(wanted)
    if found is not None and not found.is_scalar:
        return found
    from difflib import get_close_matches

    close = get_close_matches(wanted, [name for name, query in saved_queries().items() if not query.is_scalar], n=1)
    meant = f" Did you mean @{close[0].replace('_', '-')}?" if close else ""
    raise QueryError(
        f"there is no saved query @{title.removeprefix('@')}.{meant}", hint="`perfkit query --list` lists them."
    )


def call(query: SavedQuery, given: set[str]) -> str:
    """SQL that asks a saved query with the parameters `given`, bound as `$name`.

    Raises:
        QueryError: a parameter is missing, or is none of the query's.
    """
    known = {parameter.name for parameter in query.parameters}
    needed = [parameter.name for parameter in query.parameters if parameter.default is None]
    if unknown := sorted(given - known):
        takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        raise QueryError(f"@{query.title} has no parameter {unknown[0]}; {takes}.")
    if missing := [name for name in needed if name not in given]:
        raise QueryError(
            f"@{query.title} needs the parameter {missing[0]}.", hint=f"Give it as `-p {missing[0]}=VALUE`."
        )
    if query.is_view:
        return f"FROM {query.name}"
    # Parameters without a default go by position: DuckDB takes only those with one by name.
    arguments = [f"${name}" for name in needed] + [f"{name} := ${name}" for name in sorted(given - set(needed))]
    return f"FROM {query.name}({', '.join(arguments)})"


def _comment(query: SavedQuery) -> str:
    kind = "VIEW" if query.is_view else "MACRO" if query.is_scalar else "MACRO TABLE"
    text = query.summary.replace("'", "''")
    return f"COMMENT ON {kind} {query.name} IS '{text}'"


def _parse(name: str, text: str) -> SavedQuery:
    comment, statement = re.split(r"^(?=CREATE )", text, maxsplit=1, flags=re.MULTILINE)
    lines = [line.removeprefix("--").strip() for line in comment.splitlines()]
    fields = [match for line in lines if (match := _FIELD.match(line))]
    prose = "\n".join(line for line in lines if not _FIELD.match(line)).strip()
    paragraphs = [" ".join(paragraph.split()) for paragraph in prose.split("\n\n")]
    values = {match[1]: match[4] for match in fields}
    return SavedQuery(
        name=name,
        summary=paragraphs[0],
        doc="\n\n".join(paragraphs[1:]),
        group=values["group"],
        parameters=tuple(Parameter(m[2], m[3], m[4]) for m in fields if m[1].startswith("param ")),
        columns=tuple((m[2], m[4]) for m in fields if m[1].startswith("column ")),
        example=values["example"],
        statement=statement.strip(),
    )
