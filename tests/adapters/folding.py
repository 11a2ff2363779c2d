"""Folds the tables of a perf capture as FlameGraph's stackcollapse-perf.pl folds the text, by rules of our own.

What its options do is all a matter of names: `pid` and `tid` write them behind the process's name, `addrs` writes the
address into a frame that has no symbol, `kernel` and `jit` mark such frames, `all` does both.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tests.adapters.reading import Tables, chains

_ARGUMENTS = re.compile(r"\((?!anonymous namespace\)).*")
_GO_METHOD = re.compile(r"\.\(.*\)\.")


def fold(
    tables: Tables,
    option: str = "default",
    *,
    every_event: bool = False,
    jit: str = r"/tmp/perf-\d+\.map",
    kernel: str = r"\[|.*vmlinux\Z",
) -> Counter[str]:
    """Weights by folded line. Only the first event counts, as there, unless `every_event`; `jit` and `kernel` tell
    modules of these kinds.
    """
    marks = {}
    if option in ("kernel", "all"):
        marks["_[k]"] = re.compile(kernel)
    if option in ("jit", "all"):
        marks["_[j]"] = re.compile(jit)
    frames = {row["frame_id"]: row for row in tables["frame"]}
    chain = chains(tables)
    names = _Names(tables)
    folded: Counter[str] = Counter()
    for sample in tables["sample"]:
        if sample["metric_id"] != 0 and not every_event:
            continue
        comm = names.at(sample["utid"], sample["ts"]).replace(" ", "_")
        parts = [names.label(comm, sample["utid"], option)]
        for frame_id in chain.get(sample["stack_id"], ()):
            parts += _names_of(frames[frame_id], option, comm, marks)
        folded[";".join(parts)] += sample["value"]
    return folded


class _Names:
    """Names of threads by time, and their ids."""

    def __init__(self, tables: Tables) -> None:
        self._threads = {row["utid"]: row for row in tables["thread"]}
        self._pids = {row["upid"]: row["pid"] for row in tables["process"]}
        self._changes: dict[int, list[tuple[float, str]]] = {}
        for row in tables["thread_name"]:
            since = float("-inf") if row["ts"] is None else row["ts"]
            self._changes.setdefault(row["utid"], []).append((since, row["name"]))

    def at(self, utid: int, ts: int | None) -> str:
        when = float("inf") if ts is None else ts
        return [name for since, name in self._changes[utid] if since <= when][-1]

    def label(self, comm: str, utid: int, option: str) -> str:
        thread = self._threads[utid]
        pid = self._pids[thread["upid"]]
        shown = "?" if pid is None else pid
        return {"pid": f"{comm}-{shown}", "tid": f"{comm}-{shown}/{thread['tid']}"}.get(option, comm)


def _names_of(frame: dict[str, Any], option: str, comm: str, marks: dict[str, re.Pattern[str]]) -> list[str]:
    """What one frame reads as; perf-map-agent's `a->b` is a with b inlined."""
    if frame["function"].startswith("("):
        return []
    names: list[str] = []
    for name in frame["function"].split("->"):
        tidy = _tidy(_with_address(name, frame) if option == "addrs" else name, comm)
        names.append(tidy + ("_[i]" if names else _mark(frame["module"] or "", marks)))
    return names


def _with_address(name: str, frame: dict[str, Any]) -> str:
    base = (frame["module"] or "unknown").rpartition("/")[2]
    if name not in (f"[{base}]", base if base.startswith("[") else None):
        return name
    return f"[{base} <{frame['address']:x}>]"


def _tidy(name: str, comm: str) -> str:
    name = name.replace(";", ":")
    if not _GO_METHOD.search(name):
        name = _ARGUMENTS.sub("", name)
    name = name.replace('"', "").replace("'", "")
    return name.removeprefix("L") if comm.startswith("java") and "/" in name else name


def _mark(module: str, marks: dict[str, re.Pattern[str]]) -> str:
    return next((mark for mark, pattern in marks.items() if pattern.match(module)), "")
