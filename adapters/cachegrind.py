"""Reads cachegrind's output: callgrind's format without calls, objects and name compression.

    desc: I1 cache: …      any number, or none
    cmd: ./program         exactly one
    events: Ir I1mr …
    fl=main.c
    fn=main
    16 20 1                line, costs; trailing zeros may be left out
    summary: 20 1

`cg_merge` and `cg_diff` write the same; differences may be negative, and are of whole functions: their lines are 0.

Each (function, file, line) becomes a frame, a stack of one frame, and a sample an event, as for callgrind. cachegrind
does not say which object code lies in, so `frame.module` is null. Lossy: `desc:` lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perfkit.adapters.callgrind.adapter import read_costs
from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source
from perfkit.adapters.text import looks_like_text, plain_lines

_HEAD = re.compile(rb"(?:(?:desc:[^\n]*|#[^\n]*|[ \t]*)\n)*cmd:[^\n]*\n(?:(?:#[^\n]*|[ \t]*)\n)*events:[ \t]*\S")
_CALLGRIND = re.compile(rb"^(?:calls|cfn|cfi|cfl|cob|ob)=", re.MULTILINE)


class Cachegrind:
    """`cachegrind.out` files."""

    info = AdapterInfo(
        name="cachegrind.out",
        tool="cachegrind",
        formats=("cachegrind.out before and since Valgrind 3.21", "cg_merge, cg_diff"),
        yields=("capture", "process", "thread", "frame", "stack", "metric", "sample"),
        clock="none",
        specification="https://valgrind.org/docs/manual/cg-manual.html#cg-manual.impl-details.file-format",
    )

    def sniff(self, source: Source) -> bool:
        """Whether the text begins with `desc:`, `cmd:` and `events:` lines and nothing of callgrind's follows."""
        if source.is_dir or not looks_like_text(source.head):
            return False
        head = plain_lines(source.head)
        return bool(_HEAD.match(head)) and not _CALLGRIND.search(head)

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows.

        Raises:
            FormatError: no line says which events the costs are of.
        """
        yield from read_costs(source, issues, self.info.name, "cachegrind")
