"""The lines that `perf stat` prints for machines.

CSV (`-x SEP`, one or more characters; fields are never quoted), fields in brackets as options ask for them:

    [time] [place] [CPUs] value unit event [cgroup] [spread%] run-time percent [metric unit]
         0.100635168,S0,2,96.97,msec,task-clock,0.38%,96970703,100.00,0.970,CPUs utilized
    ,,,,,1.23,insn per cycle                                  a further metric of the event before

JSON (`-j`): one object a line, with keys for the same fields. (tools/perf/util/stat-display.c.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from perfkit.adapters.perf_stat.reading import AGGREGATE, NOT_COUNTED, NOT_SUPPORTED, Reading, is_place

_FLAGS = (NOT_COUNTED, NOT_SUPPORTED)
_NUMBER = re.compile(r"-?\d{1,30}(?:\.\d{1,20})?\Z")
_TIME = re.compile(r"\d{1,9}\.\d{9}\Z")
_PERCENT = re.compile(r"\d{1,3}\.\d\d\Z")
# Run time and percentage stand between separators on every line that carries a value.
_SEPARATOR = re.compile(r"([^\w\s.<>%-]{1,4}|[\t ]|-{2,4})\d{1,20}\1\d{1,3}\.\d\d(?:\1|\Z)")
_PLACES = ("cpu", "core", "cache", "die", "cluster", "socket", "node", "thread")


def find_separator(line: str) -> str | None:
    """The separator of a CSV line; None where the line is none."""
    found = _SEPARATOR.search(line[:1000])
    return found.group(1) if found else None


def parse_csv(line: str, separator: str, previous: Reading | None) -> Reading | None:
    """The reading on a CSV line; None where it is no such line. `previous` is the event that a bare metric is of."""
    fields = line.split(separator)
    index = 0
    ts: int | None = None
    if _TIME.match(fields[0].strip()):
        ts = to_nanoseconds(fields[0])
        index = 1
    elif fields[0].strip() == "summary":  # -I --summary: the sum of the intervals
        index = 1
    place = ""
    if index < len(fields) and fields[index] and not _is_value(fields[index]):
        place = fields[index].strip()
        if not is_place(place):
            return None
        index += 2 if AGGREGATE.match(place) else 1
    if index + 4 >= len(fields) or not _is_value(fields[index]):
        return _bare_metric(fields, previous)
    run = next(
        (n for n in range(index + 3, len(fields) - 1) if fields[n].isdecimal() and _PERCENT.match(fields[n + 1])), None
    )
    if run is None:
        return None
    event, cgroup, spread = _split_event(fields[index + 2 : run], separator)
    if not any(map(str.isalpha, event)):
        return None
    metric = fields[run + 2 : run + 4]
    return Reading(
        event=event,
        ts=ts,
        place=place,
        cgroup=cgroup,
        value=_value(fields[index]),
        unit=fields[index + 1],
        flag=fields[index] if fields[index] in _FLAGS else "",
        running_percent=float(fields[run + 1]),
        stddev_percent=spread,
        metric=_value(metric[0]) if metric else None,
        metric_unit=metric[1].strip() if len(metric) > 1 else "",
    )


def parse_json(line: str, previous: Reading | None) -> Reading | None:
    """The reading on a JSON line; None where it is no such line."""
    try:
        item = json.loads(line, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError):
        return None
    if not isinstance(item, Mapping) or not ({"event", "metric-value"} & item.keys()):
        return None
    text = {key: str(value) for key, value in item.items()}
    get = text.get
    value = get("counter-value", "")
    is_own = "event" in item and "counter-value" in item
    event = get("event") or (previous.event if previous else "")
    return Reading(
        event=event,
        ts=to_nanoseconds(text["interval"]) if "interval" in text else None,
        place=next((text[key] for key in _PLACES if key in text), ""),
        cgroup=get("cgroup", ""),
        value=_value(value),
        unit=get("unit", ""),
        flag=value if value in _FLAGS else "",
        has_value=is_own,
        running_percent=_value(get("pcnt-running", "")),
        stddev_percent=_value(get("variance", "")),
        metric=_value(get("metric-value", "")),
        metric_unit=get("metric-unit", "").strip(),
    )


def to_nanoseconds(seconds: str) -> int | None:
    """Seconds in decimal as nanoseconds, exactly; None for what is no time."""
    try:
        nanoseconds = Decimal(seconds.strip()) * 1_000_000_000
        return int(nanoseconds) if abs(nanoseconds) < 1 << 62 else None
    except (InvalidOperation, OverflowError, ValueError):
        return None


def _is_value(field: str) -> bool:
    return field in _FLAGS or bool(_NUMBER.match(field.strip()))


def _value(field: str) -> float | None:
    return float(field) if _NUMBER.match(field.strip()) else None


def _split_event(fields: list[str], separator: str) -> tuple[str, str, float | None]:
    """Event, cgroup and spread. An event such as `cpu/event=0x3c,umask=1/` or `sched:sched_switch` may hold the
    separator itself.
    """
    spread = None
    if len(fields) > 1 and fields[-1].endswith("%"):
        spread = _value(fields[-1][:-1])
        fields = fields[:-1]
    for count in range(1, len(fields)):
        event = separator.join(fields[:count])
        if separator != ":" and event.count("/") % 2 == 0:
            return event, separator.join(fields[count:]), spread
    return separator.join(fields), "", spread


def _bare_metric(fields: list[str], previous: Reading | None) -> Reading | None:
    if previous is None or len(fields) < 3 or not _NUMBER.match(fields[-2].strip()) or any(fields[-5:-2]):
        return None
    return Reading(
        event=previous.event,
        ts=previous.ts,
        place=previous.place,
        cgroup=previous.cgroup,
        has_value=False,
        metric=_value(fields[-2]),
        metric_unit=fields[-1].strip(),
    )
