"""What callgrind_annotate and cg_annotate print, as numbers."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

Costs = dict[str, dict[str, int]]
"""By event, the cost of each `file:function`."""

_COST = r"(?:-?[\d,]+(?: \([^)]*\))?|\.)"


def read_golden(path: Path) -> str:
    """Text of a golden, packed or not."""
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8", "replace")


def run_annotate(tool: str, *arguments: str | Path) -> str:
    """What the tool prints for a file, all its functions."""
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, errors="replace", check=False)
    return done.stdout


def parse(text: str, *, has_objects: bool) -> tuple[list[str], Costs, Costs]:
    """Events, program totals (under the name `totals`) and costs of functions. Of a tree (`--tree`), the functions
    themselves. `has_objects` says that names end in ` [object]` where the object is known.
    """
    recorded = re.search(r"^Events recorded: +(.*)$", text, re.MULTILINE)
    assert recorded, text
    events = recorded[1].split()
    row = re.compile(rf"\s*((?:{_COST}\s+){{{len(events)}}})(?:\*\s+)?(\S.*)")
    totals: Costs = {event: {} for event in events}
    costs: Costs = {event: {} for event in events}
    table = None
    for line in text.splitlines():
        if re.search(r" file:function\s*$", line):
            table = costs
        elif line.startswith(("-- ", "The following")):
            break
        match = row.fullmatch(line.rstrip())
        if match is None or match[2].startswith(("<", ">")):
            continue
        name = match[2]
        if table is None and "PROGRAM TOTALS" not in name:
            continue
        if has_objects:
            name = re.sub(r" \[(?!clone )[^\[\]]*\]$", "", name)
        values = [value.replace(",", "") for value in re.findall(r"(-?[\d,]+|\.)(?: \([^)]*\))?\s+", match[1])]
        target = totals if table is None else table
        for event, value in zip(events, values, strict=True):
            key = "totals" if table is None else name
            target[event][key] = target[event].get(key, 0) + (0 if value == "." else int(value))
    return events, totals, costs
