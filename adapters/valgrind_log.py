"""Reads the plain text of memcheck, helgrind and DRD.

    ==21378== Memcheck, a memory error detector          the banner: tool, version, command
    ==21378== Thread 3 worker:                           of the errors below, until the next such line
    ==21378== Invalid read of size 1                     an error: text,
    ==21378==    at 0x10919A: invalid_read (memerr.c:11)     its stack,
    ==21378==    by 0x109426: main (memerr.c:34)
    ==21378==  Address 0x4a4304a is 0 bytes after …      auxiliary text, and its stack
    ==21378==    at 0x48417B4: malloc (in …)
    ==21378==                                            the end
    ==21378== HEAP SUMMARY: … LEAK SUMMARY: … ERROR SUMMARY: 14 errors from 14 contexts (suppressed: 0 from 0)

Lines of several processes and what the program prints may run through one another. `--` lines are Valgrind's own talk,
`**` lines the program's through client requests. helgrind parts its errors by a line of dashes, and blank lines stand
within them.

How it lands in the tables: see `valgrind_findings`. The text does not name the kind of an error: it is that which the
XML has for the message, `Other` where the message is not known. An error is counted once, unless -s or -v listed its
count at the end. Sums of the summaries are counters. Lossy: `--` lines but for used suppressions, client prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source
from perfkit.adapters.text import looks_like_text, plain_lines, to_text
from perfkit.adapters.valgrind_findings import LEAK, LEAK_KINDS, Finding, Findings, number_of, role_of
from perfkit.adapters.valgrind_stacks import Frame, capture_batch, lines_of, parse_frame
from perfkit.schema.errors import FormatError

# --time-stamp=yes puts the time before the pid.
_LINE = re.compile(rb"(==|--|\*\*)(?:\d\d:\d\d:\d\d:\d\d\.\d{3} )?(\d{1,10})\1(?: (.*))?\Z", re.DOTALL)
_HEAD = re.compile(
    rb"^==(?:\d\d:\d\d:\d\d:\d\d\.\d{3} )?\d{1,10}== (?:   (?:at|by) 0x[0-9A-Fa-f]+: |(?:Memcheck|Helgrind|drd), |"
    rb"(?:ERROR|HEAP|LEAK) SUMMARY:)",
    re.MULTILINE,
)
_FRAME = re.compile(r" +(?:at|by) (0x[0-9A-Fa-f]{1,16}: .*)\Z", re.DOTALL)
_BANNER = re.compile(r"(Memcheck|Helgrind|drd), a(?:n)? ")
_VERSION = re.compile(r"Using Valgrind-(\S+?),? and ")
_THREAD = re.compile(r"Thread (\d{1,9})(?: (.*))?:\Z")
_CREATED = re.compile(r"Thread #(\d{1,9}) was created")
_MENTION = re.compile(r"[Tt]hread #(\d{1,9})")
_CONTEXT = re.compile(r"(\d[\d,]*) errors? in context \d[\d,]* of \d[\d,]*:\Z")
_USED = re.compile(r"used_suppression: +(\d+) (.*)\Z")
_DASHES = re.compile(r"-{3,}(?:Thread-Announcement-+|-*)\Z")
_SUMS = (
    (re.compile(r" +in use at exit: ([\d,]+) bytes in ([\d,]+) blocks"), "in use at exit", ("byte", "block")),
    (
        re.compile(r" +total heap usage: ([\d,]+) allocs, ([\d,]+) frees, ([\d,]+) bytes allocated"),
        "total heap usage",
        ("alloc", "free", "byte"),
    ),
    (
        re.compile(
            r" +(definitely lost|indirectly lost|possibly lost|still reachable|suppressed): ([\d,]+) bytes in ([\d,]+)"
        ),
        "",
        ("byte", "block"),
    ),
    (
        re.compile(r"ERROR SUMMARY: ([\d,]+) errors from ([\d,]+) contexts \(suppressed: ([\d,]+) from ([\d,]+)\)"),
        "errors",
        ("error", "context", "suppressed error", "suppressed context"),
    ),
)
_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        ("Invalid read of size", "InvalidRead"),
        ("Invalid write of size", "InvalidWrite"),
        ("Conditional jump or move depends on uninitialised", "UninitCondition"),
        ("Use of uninitialised value", "UninitValue"),
        ("Syscall param ", "SyscallParam"),
        ("Invalid free\\(\\)", "InvalidFree"),
        ("Mismatched (?:free|new|delete|size)", "MismatchedFree"),
        ("Source and destination overlap", "Overlap"),
        ("Jump to the invalid address", "InvalidJump"),
        ("Argument '.*' of function .* has a fishy", "FishyValue"),
        ("Illegal memory pool address", "InvalidMemPool"),
        ("realloc\\(\\) with size 0", "ReallocSizeZero"),
        (".*found during client check request", "ClientCheck"),
        ("Process terminating with", "fatal_signal"),
        ("Possible data race", "Race"),
        ("Thread #\\d+: lock order ", "LockOrder"),
        ("Thread #\\d+ unlocked a not-locked lock", "UnlockUnlocked"),
        ("Thread #\\d+ unlocked lock at .* currently held", "UnlockForeign"),
        ("Thread #\\d+ unlocked an invalid lock", "UnlockBogus"),
        ("Thread #\\d+'s call to .* failed", "PthAPIerror"),
        ("Thread #\\d+: ", "Misc"),
        ("Conflicting (?:load|store) by", "ConflictingAccess"),
        ("Acquired at:", "HoldtimeError"),
        ("Open (?:file descriptor|.* socket)", "FdNotClosed"),
        ("Mutex |Recursive locking|Destroying locked mutex|The object at address .* is not a mutex", "MutexErr"),
        ("The impossible happened", "GenericErr"),
    )
)
_OTHER_KIND = "Other"


@dataclass(slots=True)
class _Part:
    """A text and the stack below it."""

    offset: int
    lines: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)


@dataclass(slots=True)
class _Process:
    """What is known of a process whose lines are being read."""

    upid: int
    tool: str = ""
    thread: int | None = None
    parts: list[_Part] = field(default_factory=list)
    known: dict[tuple[object, ...], Finding] = field(default_factory=dict)
    announced: dict[int, int] = field(default_factory=dict)
    is_parted: bool = False
    """Whether the error goes on until a line of dashes (helgrind)."""
    is_ended: bool = False


class _Reading:
    """What is known while lines come in."""

    def __init__(self, issues: IssueLog) -> None:
        self.issues = issues
        self.rows = Findings()
        self.tool = "memcheck"
        self.version: str | None = None
        self.processes: dict[int, _Process] = {}
        self.is_counted = False
        self._frames: dict[str, Frame] = {}

    def take(self, offset: int, line: bytes) -> None:
        """Read a line, which begins at `offset`."""
        found = _LINE.match(line)
        if not found:
            return  # the program's own output
        pid, text = int(found[2]), to_text(found[3] or b"")
        process = self.processes.get(pid)
        if process is None:
            process = _Process(self.rows.begin_process(pid if pid < 1 << 31 else None))
            self.processes[pid] = process
        if found[1] == b"==":
            self._take_text(process, offset, text)
        elif used := _USED.search(text):
            self.rows.count_record(f"suppression {used[2].partition(' ')[0]}", number_of(used[1]))

    def _take_text(self, process: _Process, offset: int, text: str) -> None:
        if not text.strip():
            if not process.is_parted:
                self.end(process)
        elif _DASHES.match(text):
            self.end(process)
            process.is_parted = True
        elif self._take_summary(process, text):
            pass
        elif frame := _FRAME.match(text):
            if process.parts:
                process.parts[-1].frames.append(self._frame(frame[1]))
            else:
                self.issues.add("damaged", "warning", "a stack without an error above it was skipped", offset=offset)
        elif thread := _THREAD.match(text):
            process.thread = self.rows.thread(process.upid, int(thread[1]), thread[2])
        else:
            if not process.parts or process.parts[-1].frames:
                process.parts.append(_Part(offset))
            process.parts[-1].lines.append(text.strip())

    def _frame(self, text: str) -> Frame:
        frame = self._frames.get(text)
        if frame is None:
            frame = self._frames[text] = parse_frame(text)
        return frame

    def _take_summary(self, process: _Process, text: str) -> bool:
        """Whether the line belongs to the banner or to a summary, which end an error."""
        if banner := _BANNER.match(text):
            self.tool = process.tool = banner[1].lower()
        elif version := _VERSION.match(text):
            self.version = version[1]
        elif text.startswith("Command: "):
            self.rows.commands[process.upid] = text[9:].strip()
        elif text.startswith(("HEAP SUMMARY:", "LEAK SUMMARY:", "ERROR SUMMARY:", "For lists of", "Use --history")):
            self.end(process)
            process.is_parted = False
            process.is_ended |= text.startswith("ERROR SUMMARY:")
            self._take_sums(process, text)
        else:
            return text.startswith("  ") and self._take_sums(process, text)
        return True

    def _take_sums(self, process: _Process, text: str) -> bool:
        for pattern, name, units in _SUMS:
            if found := pattern.match(text):
                values = found.groups() if name else found.groups()[1:]
                for unit, value in zip(units, values, strict=True):
                    self.rows.add_counter(process.upid, name or found[1], unit, number_of(value))
                return True
        return False

    def end(self, process: _Process) -> None:
        """The error that was being read is whole."""
        parts, process.parts = process.parts, []
        count = None
        if parts and (context := _CONTEXT.match(parts[0].lines[0])):
            count = number_of(context[1])
            del parts[0].lines[0]
            self.is_counted = True
        if not any(part.frames for part in parts):
            return  # talk between the errors
        if created := _CREATED.match(parts[0].lines[0] if parts[0].lines else ""):
            process.announced[int(created[1])] = self.rows.add_stack(parts[0].frames)
            return
        finding = self._finding(process, parts)
        key = (finding.message, *finding.stacks[:1])
        if count is None:
            process.known[key] = finding
            self.rows.findings.append(finding)
        elif key in process.known:
            process.known[key].count = count
        else:
            finding.count = count
            self.rows.findings.append(finding)

    def _finding(self, process: _Process, parts: list[_Part]) -> Finding:
        finding = Finding(_OTHER_KIND, "", process.thread)
        lines: list[str] = []
        for part in parts:
            said = "\n".join(part.lines)
            if not part.frames:
                lines.append(said)
            elif not finding.stacks:
                lines.append(said)
                finding.stacks.append(("error", self.rows.add_stack(part.frames), None))
            else:
                finding.stacks.append((role_of(said), self.rows.add_stack(part.frames), said))
        finding.message = "\n".join(lines)
        for mention in dict.fromkeys(map(int, _MENTION.findall("\n".join("\n".join(p.lines) for p in parts)))):
            if mention in process.announced:
                finding.stacks.append(("created", process.announced[mention], f"thread #{mention} was created"))
        if leak := LEAK.match(finding.message):
            finding.kind = LEAK_KINDS[leak[4]]
            finding.measure_leak()
        else:
            finding.kind = _kind_of(finding.message)
        return finding


def _kind_of(message: str) -> str:
    return next((kind for pattern, kind in _KINDS if pattern.match(message)), _OTHER_KIND)


class ValgrindLog:
    """The plain text of memcheck, helgrind and DRD."""

    info = AdapterInfo(
        name="valgrind.log",
        tool="memcheck, helgrind, drd",
        formats=("the text of memcheck, helgrind and DRD, alone or within the program's own output",),
        yields=(
            "capture",
            "process",
            "thread",
            "frame",
            "stack",
            "finding",
            "finding_stack",
            "metric",
            "sample",
            "counter_track",
            "counter",
            "record_count",
        ),
        clock="none",
        specification="https://valgrind.org/docs/manual/manual-core.html#manual-core.comment",
    )

    def sniff(self, source: Source) -> bool:
        """Whether a line of a checker's banner, stack or summary stands in the first bytes."""
        return not source.is_dir and looks_like_text(source.head) and bool(_HEAD.search(plain_lines(source.head)))

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows.

        Raises:
            FormatError: no line of Valgrind's is there.
        """
        reading = _Reading(issues)
        with source.open() as stream:
            for offset, line in lines_of(stream):
                reading.take(offset, line)
        for process in reading.processes.values():
            reading.end(process)
        if not reading.processes:
            raise FormatError(source.path, 0, "lines that begin with `==<pid>==`", "none")
        unended = sum(not process.is_ended for process in reading.processes.values())
        detail = "processes without ERROR SUMMARY: Valgrind or a copy was cut short, or -q was given"
        issues.add("truncated", "warning", detail, count=unended)
        if not reading.is_counted and reading.rows.findings:
            detail = "the text lists each error once (-s would count them); `count` is 1 throughout"
            issues.add("uncounted_errors", "info", detail, count=len(reading.rows.findings))
        command = next((c for c in reading.rows.commands if c), None)
        yield capture_batch(self.info.name, reading.tool, reading.version, command)
        yield from reading.rows.to_batches()
