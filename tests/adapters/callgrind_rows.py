"""Rows that callgrind files become, as tuples to compare."""

from __future__ import annotations

from pathlib import Path

from tests.adapters.reading import Tables, chains

CYCLE = """\
# callgrind format
events: Ir
ob=/bin/x
fl=x.c
fn=main
1 10
cfn=a
calls=1 2
1 100
fn=a
2 20
cfn=b
calls=3 3
2 90
cfn=c
calls=1 5
2 5
fn=b
3 30
cfn=a
calls=2 2
3 60
cfn=c
calls=1 5
3 7
fn=c
5 12
cfn=c
calls=4 5
5 8
"""
"""A cycle of a and b, and c, which calls itself."""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "x"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def edges_of(tables: Tables) -> list[tuple]:
    frames = {frame["frame_id"]: frame for frame in tables["frame"]}
    return [
        (frames[e["caller_frame_id"]]["function"], frames[e["caller_frame_id"]]["line"],
         frames[e["callee_frame_id"]]["function"], frames[e["callee_frame_id"]]["line"],
         e["call_count"], e["value"], e["is_recursive"])
        for e in tables["call_edge"]
    ]  # fmt: skip


def instructions_of(tables: Tables) -> list[tuple[int, int]]:
    return [(row["address"], row["value"]) for row in tables["instruction_cost"]]


def estimates_of(tables: Tables) -> list[tuple]:
    """(metric, path, value)"""
    return samples_of(tables, is_estimate=True)


def samples_of(tables: Tables, *, is_estimate: bool = False) -> list[tuple]:
    """(metric, function, file, line, module, value), or (metric, path, value) of estimates."""
    metrics = {row["metric_id"]: row for row in tables["metric"]}
    frames = {row["frame_id"]: row for row in tables["frame"]}
    chain = chains(tables)
    found: list[tuple] = []
    for sample in tables["sample"]:
        metric = metrics[sample["metric_id"]]
        path = [frames[frame] for frame in chain[sample["stack_id"]]]
        if metric["is_estimate"] and is_estimate:
            found.append((metric["name"], ";".join(frame["function"] for frame in path), sample["value"]))
        elif not metric["is_estimate"] and not is_estimate:
            (frame,) = path
            place = tuple(frame[key] for key in ("function", "source_file", "line", "module"))
            found.append((metric["name"], *place, sample["value"]))
    return sorted(found, key=str)
