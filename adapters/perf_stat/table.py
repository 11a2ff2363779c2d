"""The table that `perf stat` prints for people.

     Performance counter stats for './multi' (3 runs):

                150.52 msec task-clock                #    0.978 CPUs utilized            ( +-  0.38% )  (99.8%)
       <not supported>      cycles
    CPU0           468      page-faults               #    8.543 K/sec                    place first with -A
         0.100539425  2502  page-faults               #   30.049 K/sec                    time first with -I

       0.15394 +- 0.00154 seconds time elapsed  ( +-  1.00% )
       0.496133000 seconds user

Numbers come with the marks of the locale perf ran in; which of them is the decimal one is judged once a file.
(tools/perf/util/stat-display.c.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfkit.adapters.perf_stat.lines import to_nanoseconds
from perfkit.adapters.perf_stat.reading import NOT_COUNTED, NOT_SUPPORTED, Reading

_TITLE = re.compile(r"\s*Performance counter stats for (.*?)(?: \((\d+) runs\))?:\s*\Z")
_INTERVALS = re.compile(r"#\s+time\b.*\bcounts\b.*\bevents\b")
_DIGITS = r"-?\d[\d.,'\u2019\u202f\u00a0]{0,40}"
_TIME = re.compile(r"\d{1,9}[.,]\d{9}\Z")
_PLACE = re.compile(rf"(CPU\d+|[SN]\d+\S{{0,30}}|[^\s\d<#-][^#<]{{0,60}}?-\d{{1,10}})\s+(?={_DIGITS}|<not)")
_COUNT = re.compile(rf"(?P<value>{_DIGITS}|{NOT_COUNTED}|{NOT_SUPPORTED})(?P<gap>[ ]+)(?P<words>[^#(]*)(?P<more>.*)\Z")
_ELAPSED = re.compile(
    rf"\s*(?P<value>{_DIGITS})(?: \+- {_DIGITS})? seconds (?P<what>time elapsed|user|sys)\b(?P<more>.*)\Z"
)
_METRIC = re.compile(rf"#\s*(?P<value>{_DIGITS}|nan)(?P<unit>[^(]*)")
_SPREAD = re.compile(rf"\(\s*\+-\s*(?P<value>{_DIGITS})%\s*\)")
_RUNNING = re.compile(rf"\(\s*(?P<value>{_DIGITS})%\s*\)\s*\Z")
_TIMES = {"time elapsed": "time elapsed", "user": "user time", "sys": "system time"}
_CLOCKS = ("cpu-clock", "task-clock")


def is_table(text: str) -> bool:
    """Whether lines of the table stand in the text: its title, or the heading of the intervals."""
    return any(_TITLE.match(line) or _INTERVALS.match(line) or _ELAPSED.match(line) for line in text.splitlines())


@dataclass(slots=True)
class Table:
    """Reads the table line by line."""

    decimal_mark: str = "."
    command: str | None = None
    scope: str = ""

    @classmethod
    def of(cls, head: str) -> Table:
        """A reader for a file that begins with `head`. Times have nine digits (five to seven with -r) behind the
        decimal mark, and so give it away.
        """
        mark = re.search(r"\d([.,])\d{5,9}(?: \+- \S+)? seconds|^\s+\d+([.,])\d{9}\s", head, re.MULTILINE)
        return cls(decimal_mark=(mark[1] or mark[2]) if mark else ".")

    def parse(self, line: str, previous: Reading | None) -> Reading | None:
        """The reading on a line; None for a line without one."""
        if title := _TITLE.match(line):
            self._take_title(title[1])
            return None
        if found := _ELAPSED.match(line):
            return Reading(
                event=_TIMES[found["what"]],
                value=self._number(found["value"]),
                unit="s",
                stddev_percent=self._find(_SPREAD, found["more"]),
            )
        ts, place, rest = self._split_start(line)
        if rest.startswith("#"):
            return self._bare_metric(rest, previous)
        found = _COUNT.match(rest)
        words = found["words"].split() if found else []
        if found is None or not words:
            return None
        # One blank stands between a value and its unit; without a unit there is room for one.
        unit = words.pop(0) if len(words) > 1 and len(found["gap"]) == 1 else ""
        metric = _METRIC.match(found["more"])
        return Reading(
            event=words[0],
            ts=ts,
            place=place,
            cgroup=" ".join(words[1:]),
            value=None if found["value"].startswith("<") else self._number(found["value"]),
            # perf printed clocks in milliseconds without saying so before it knew units (Linux 4.16).
            unit=unit or ("msec" if words[0].partition(":")[0] in _CLOCKS else ""),
            flag=found["value"] if found["value"].startswith("<") else "",
            running_percent=self._find(_RUNNING, _SPREAD.sub("", found["more"])),
            stddev_percent=self._find(_SPREAD, found["more"]),
            metric=self._number(metric["value"]) if metric else None,
            metric_unit=metric["unit"].strip() if metric else "",
        )

    def _split_start(self, line: str) -> tuple[int | None, str, str]:
        """Time, place, and what follows them."""
        rest = line.strip()
        ts = None
        first, _, after = rest.partition(" ")
        if _TIME.match(first):
            ts = to_nanoseconds(first.replace(",", "."))
            rest = after.strip()
        place = _PLACE.match(rest)
        if place is None:
            return ts, "", rest
        rest = rest[place.end() :]
        if re.match(r"[SN]\d", place[1]):
            rest = rest.partition(" ")[2].lstrip()  # the number of CPUs together
        return ts, place[1], rest

    def _bare_metric(self, text: str, previous: Reading | None) -> Reading | None:
        metric = _METRIC.match(text)
        if metric is None or previous is None or not metric["unit"].strip():
            return None
        return Reading(
            event=previous.event,
            ts=previous.ts,
            place=previous.place,
            cgroup=previous.cgroup,
            has_value=False,
            metric=self._number(metric["value"]),
            metric_unit=metric["unit"].strip(),
        )

    def _take_title(self, subject: str) -> None:
        if subject == "'system wide'":
            self.scope = "system"
        elif subject.startswith("'"):
            self.scope = "process"
            self.command = subject.strip("'")

    def _find(self, pattern: re.Pattern[str], text: str) -> float | None:
        found = pattern.search(text)
        return self._number(found["value"]) if found else None

    def _number(self, text: str) -> float | None:
        """A number in the file's locale."""
        other = "," if self.decimal_mark == "." else "."
        plain = re.sub(r"['\u2019\u202f\u00a0]", "", text).replace(other, "").replace(self.decimal_mark, ".")
        try:
            number = float(plain)
        except ValueError:
            return None
        return number if number == number else None  # noqa: PLR0124  (nan is not equal to itself)
