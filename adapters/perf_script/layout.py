r"""The header line of a record in `perf script` text, whichever fields `-F` chose.

    comm     pid/tid [cpu] misc    time      period event:  rest of the line
    truth   5594/5594 [001] U   4976.958090: 1001001 cpu-clock:ppp:
            ffffffff815ec03c do_anonymous_page+0x4ac ([kernel.kallsyms])        after a tab: frames, innermost first
                        1c53 touch_pages+0x61 (/tmp/truth)
                                                                                an empty line ends the callchain
    swapper 0/0       [000]     4976.958091:       1 sched:sched_wakeup: comm=x pid=1   side by side: no callchain

Every field may be missing; their order is fixed (tools/perf/builtin-script.c: perf_sample__fprintf_start and
process_event). Which are there is judged once, from the input's first bytes, since a comm may hold spaces, digits,
colons and slashes, and fields cannot be told apart line by line. Side-band records print the same start, then
`PERF_RECORD_…` in place of the event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfkit.adapters.perf_script.frames import is_frame_line
from perfkit.adapters.text import looks_like_text, plain_lines

_BEGIN = rb"\n(?![\t\r\n#])[ ]*+"
# Two cheap looks ahead spare the search for ids in lines that cannot be headers: frames whose tab became blanks, and
# lines without a colon.
_NO_FRAME = rb"(?![0-9a-f]{6,16} [^\d\s\[-])"
_HAS_COLON = rb"(?=[^\n:]*+:)"
# Runs are bounded, so that no line takes more than linear time. A comm has at most 15 bytes, but converters print
# whole command lines.
_IDS = rb"-?\d{1,10}(?:/-?\d{1,10})?"
_COMM = rb"\S[^\n]{0,120}?"
_WHO = rb"((?:" + _COMM + rb"[ \t]{1,40})??" + _IDS + rb")[ \t]+"
_CPU = rb"(?:\[(\d{1,6})\][ \t]+)?"
_MISC = rb"(?:[KUHGgMES]p?[ \t]+)?"
_TIME = rb"(\d{1,9}|[1-8]\d{9})\.(\d{1,9}):"
_PERIOD = rb"(?:(\d{1,20})[ \t]+)?"
_EVENT = rb"(PERF_RECORD_[A-Z0-9_]+|(?!\d+\.\d+:\s)[^\s:]\S*?(?<!:)(?=:\s)):?"
_REST = rb"([^\n]*)"
_NONE = rb"((?!))?"  # a field that is not there: a group that takes no part
# Where only the callchain tells a header, it must be as perf prints it: addresses right-aligned in 16 columns.
_CHAIN = rb"\r?\n\t(?=[ 0-9a-f]{16}[ \r\n])[ ]*+[0-9a-f][^\t\n]*+\n"
_CHAIN_FOLLOWS = rb"(?=[ \t]*" + _CHAIN + rb")"

_TIME_INSIDE = re.compile(rb"\d\.\d{6,9}:\s")
_LOOKBACK_LINES = 20_000
_LINES_TO_JUDGE = 400  # more than the deepest callchain has by default (sysctl kernel.perf_event_max_stack)


@dataclass(frozen=True)
class Layout:
    """A way to find records. `pattern` begins at the line feed before a header and has the groups who, cpu, seconds,
    fraction, period, event and rest of the line, so that `pattern.split` yields them and the lines up to the next
    header, with the line feed that ends the header line.
    """

    pattern: re.Pattern[bytes]
    has_ids: bool = True

    def find_last_begin(self, data: bytes, end: int) -> int:
        """Where the last record in `data[:end]` begins; 0 where it is the only one, or nothing is."""
        line_feed = end - 1
        for _ in range(_LOOKBACK_LINES):
            line_feed = data.rfind(b"\n", 0, line_feed)
            if line_feed < 0:
                return 0
            if self.pattern.match(data, line_feed, end):
                return line_feed + 1
        return 0


STANDARD = Layout(
    re.compile(
        _BEGIN
        + _NO_FRAME
        + _HAS_COLON
        + _WHO
        + _CPU
        + _MISC
        + rb"(?:"
        + _TIME
        + rb"[ \t]*)?"
        + _PERIOD
        + _EVENT
        + _REST
    )
)
_WITHOUT_IDS = Layout(
    re.compile(
        _BEGIN
        + _NO_FRAME
        + _HAS_COLON
        + rb"("
        + _COMM
        + rb"|)[ \t]*"
        + _CPU
        + _MISC
        + _TIME
        + rb"[ \t]*"
        + _PERIOD
        + _EVENT
        + _REST
    ),
    has_ids=False,
)
# Without the event's name a period cannot be told from an address, so that only a callchain may follow it.
_WITHOUT_EVENT = Layout(re.compile(_BEGIN + _NO_FRAME + _HAS_COLON + _WHO + _CPU + _MISC + _TIME + _NONE * 2 + _REST))
_WITHOUT_TIME_AND_EVENT = Layout(
    re.compile(_BEGIN + _WHO + _CPU + _MISC + _NONE * 2 + _PERIOD + _NONE + _CHAIN_FOLLOWS + _REST)
)
_COMM_ONLY = Layout(re.compile(_BEGIN + rb"(\S[^\n]{0,120}?)" + _NONE * 5 + _CHAIN_FOLLOWS + _REST), has_ids=False)
_FRAMES_ONLY = Layout(re.compile(rb"\n()" + _NONE * 5 + rb"()(?=" + _CHAIN + rb")"), has_ids=False)

# The stricter before the looser; each matches what the next ones do not need to see.
_LAYOUTS = (STANDARD, _WITHOUT_IDS, _WITHOUT_EVENT, _WITHOUT_TIME_AND_EVENT, _COMM_ONLY, _FRAMES_ONLY)


def choose_layout(head: bytes) -> Layout | None:
    """The layout of an input that begins with `head`; None where it is no `perf script` text."""
    if not looks_like_text(head):
        return None
    lines = [line for line in plain_lines(head).split(b"\n") if not line.startswith(b"#")]
    text = b"\n" + b"\n".join(lines[:_LINES_TO_JUDGE]) + b"\n"
    return next((layout for layout in _LAYOUTS if _explains(layout, text)), None)


def _explains(layout: Layout, text: bytes) -> bool:
    """Whether records of this layout stand in `text`. A header alone is weak evidence, as other tools print similar
    lines: it takes pid, time and event together, or a frame right behind it.
    """
    matches = 0
    swallowed = 0
    evident = False
    for match in layout.pattern.finditer(text):
        who, _, seconds, _, _, event, _ = match.groups()
        matches += 1
        swallowed += layout.has_ids and bool(_TIME_INSIDE.search(who))
        evident = evident or bool(layout is STANDARD and seconds and event) or _frame_follows(text, match.start(7))
        if matches >= 64 and evident:
            break
    return evident and swallowed * 2 <= matches


def _frame_follows(text: bytes, position: int) -> bool:
    """Whether the rest of this line, or the next line where it is blank, is a frame."""
    end = text.find(b"\n", position)
    line = text[position : end if end >= 0 else len(text)]
    if not line.strip() and end >= 0:
        line = text[end + 1 : text.find(b"\n", end + 1)]
    return is_frame_line(line)
