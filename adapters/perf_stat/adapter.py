"""Reads `perf stat` output: `lines` has the forms for machines, `table` the one for people.

Lossy: the counter's run time in ns, which CSV and JSON print beside its percentage, is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source, batch
from perfkit.adapters.ctime import parse_ctime
from perfkit.adapters.perf_stat.lines import find_separator, parse_csv, parse_json
from perfkit.adapters.perf_stat.reading import Counters, Reading
from perfkit.adapters.perf_stat.table import Table, is_table
from perfkit.adapters.text import looks_like_text, plain_lines, read_blocks, to_text
from perfkit.schema.errors import FormatError

_STARTED = re.compile(r"# started on (.+)")
_LINES_TO_JUDGE = 20

_Parse = Callable[[str, Reading | None], Reading | None]


class PerfStat:
    """`perf stat` output."""

    info = AdapterInfo(
        name="perf.stat",
        tool="perf",
        formats=(
            "perf stat -x (CSV)",
            "perf stat -j (JSON lines)",
            "perf stat (table)",
            "each with -I, -A, -r, --per-…",
        ),
        yields=("capture", "thread", "counter_track", "counter"),
        clock="`-I`: since the start of the measurement",
        specification="https://github.com/torvalds/linux/blob/v6.12/tools/perf/Documentation/perf-stat.txt",
    )

    def sniff(self, source: Source) -> bool:
        """Whether the first lines are perf stat's."""
        return not source.is_dir and _choose(source.head) is not None

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows.

        Raises:
            FormatError: no line carries a counter.
        """
        chosen = _choose(source.head)
        if chosen is None:
            raise FormatError(source.path, 0, "lines of `perf stat`", "none in the first 64 KiB")
        parse, table = chosen
        counters = Counters(issues)
        started: str | None = None
        previous: Reading | None = None
        with source.open() as stream:
            for block in read_blocks(stream, lambda data, end: data.rfind(b"\n", 0, end) + 1):
                position = 0
                for raw in block.data.split(b"\n"):
                    line = to_text(raw)
                    if started is None and (found := _STARTED.match(line)):
                        started = found.group(1)
                    elif reading := parse(line, previous):
                        previous = reading
                        yield from counters.add(reading)
                    elif line.strip() and not line.lstrip().startswith("#") and not is_table(line):
                        _report(issues, line, block.offset_of(position))
                    position += len(raw) + 1
        if counters.is_empty:
            raise FormatError(source.path, 0, "counters of `perf stat`", "none")
        counters.scope = table.scope if table else ""
        yield from counters.finish()
        yield batch(
            "capture",
            name=[""],
            tool=["perf"],
            format=["perf.stat"],
            command=[table.command if table else None],
            started_at=[parse_ctime(started or "", issues)],
            start_ts=[counters.first_ts],
            end_ts=[counters.last_ts],
            clock=["perf stat"],
        )


def _report(issues: IssueLog, line: str, offset: int) -> None:
    detail = f"a line that carries no counter was skipped; the first is {line.strip()[:120]!r}"
    issues.add("unparsed_line", "warning", detail, offset=offset)


def _choose(head: bytes) -> tuple[_Parse, Table | None] | None:
    """How to parse lines of an input that begins with `head`; None where it is no output of perf stat."""
    text = to_text(plain_lines(head)) if looks_like_text(head) else ""
    lines = [line for line in text.split("\n")[:200] if line.strip() and not line.startswith("#")][:_LINES_TO_JUDGE]
    if lines and lines[0].startswith("{"):
        return (parse_json, None) if any(_is_counter(line) for line in lines) else None
    if is_table(text):
        table, probe = Table.of(text), Table.of(text)
        return (table.parse, table) if any(probe.parse(line, None) for line in lines) else None
    separator = next(filter(None, map(find_separator, lines)), None)
    if separator is None:
        return None
    good = sum(parse_csv(line, separator, None) is not None for line in lines)
    return (lambda line, previous: parse_csv(line, separator, previous), None) if good * 2 >= len(lines) else None


def _is_counter(line: str) -> bool:
    return '"counter-value"' in line and parse_json(line, None) is not None
