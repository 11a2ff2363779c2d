"""Times as ctime(3) prints them, which perf puts at the head of its texts."""

from __future__ import annotations

from datetime import datetime

from perfkit.adapters.contract import IssueLog

# ctime(3) prints these in every locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_ctime(text: str, issues: IssueLog) -> datetime | None:
    """The time that ctime(3) printed; None where it is none. It names no time zone, so it is taken for UTC, and that
    is an issue.
    """
    try:
        _, month, day, clock, year = text.split()
        hour, minute, second = (int(part) for part in clock.split(":"))
        moment = datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None
    issues.add("time_zone_unknown", "info", f"`{text}` names no time zone; capture.started_at takes it for UTC")
    return moment
