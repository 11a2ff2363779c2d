"""Reads the XML of memcheck, helgrind and DRD (--xml=yes), protocol 4 and later.

    <?xml version="1.0"?> <valgrindoutput>
    <protocolversion>4</protocolversion> <protocoltool>memcheck</protocoltool> <preamble>…</preamble>
    <pid>…</pid> <ppid>…</ppid> <tool>…</tool> <args>…</args>
    <status>…</status>
    <announcethread>…</announcethread>      helgrind, DRD: where a thread was created
    <error>…</error> …
    <errorcounts>…</errorcounts>            how often each error happened, by its <unique>
    <suppcounts>…</suppcounts>
    </valgrindoutput>

The text is cut into these top-level elements at their closing tags, and each is parsed by itself: so a file that a
crash cut short, that a program's own output runs through, or that holds the reports of several processes yields all
elements that are whole. Of an element that is not, what stands before the damage is used where it ends a frame. There
is no document type in the middle of XML, hence no entities to expand; one in front is refused.

How it lands in the tables: see `valgrind_findings`. A `fatal_signal` and a `clientmsg` are findings of these kinds.
Texts without a stack are further lines of a finding's message. Lossy: suppressions that --gen-suppressions wrote (they
repeat the error's frames), a frame's `dir` is joined to its `file`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from perfkit.adapters.contract import AdapterInfo, Batch, IssueLog, Source
from perfkit.adapters.text import plain_lines, to_text
from perfkit.adapters.valgrind_findings import LEAK_KINDS, Finding, Findings, role_of
from perfkit.adapters.valgrind_stacks import Frame, capture_batch, fit_int64, name_of
from perfkit.schema.errors import FormatError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_HEAD = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<valgrindoutput>", re.DOTALL)
_ELEMENTS = (
    b"protocolversion|protocoltool|preamble|pid|ppid|tool|args|logfilequalifier|usercomment|status|announcethread|"
    b"error|errorcounts|suppcounts|clientmsg|fatal_signal|heap_summary|error_summary|leak_summary"
)
_CLOSE = re.compile(rb"</(" + _ELEMENTS + rb")>")
_LOST = re.compile(rb"<(?:error|announcethread|clientmsg|fatal_signal)>")
_NOT_XML = re.compile(r"&(?!(?:lt|gt|amp|quot|apos|#\d+|#x[0-9a-fA-F]+);)|[\x00-\x08\x0b\x0c\x0e-\x1f]")
_INTEGER = re.compile(r"\s*(0x[0-9a-fA-F]{1,16}|\d{1,19})\s*\Z")
_VERSION = re.compile(r"Valgrind-(\S+)")
_CHUNK_BYTES = 4 << 20
_MAX_ELEMENT_BYTES = 64 << 20
_MAX_SUMMARY_DEPTH = 8


def _segments(stream: BinaryIO) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """(offset of the element, text before it, its name, its bytes) of each top-level element, and last what remains,
    without a name. Each byte is looked at a bounded number of times.
    """
    data, base, floor = b"", 0, 0
    while chunk := stream.read(_CHUNK_BYTES):
        searched = max(0, len(data) - 32)
        data += chunk
        done = 0
        for close in _CLOSE.finditer(data, searched):
            # The last opening tag is the one that belongs here: an earlier one has lost its end.
            begin = data.rfind(b"<" + close[1] + b">", floor, close.start())
            floor = close.end()
            if begin >= 0:
                yield base + begin, data[done:begin], close[1], data[begin : close.end()]
                done = close.end()
        if len(data) - done > _MAX_ELEMENT_BYTES:
            yield base + done, data[done:], b"", b""
            done = len(data)
        data, base, floor = data[done:], base + done, max(0, floor - done)
    yield base, data, b"", b""


@dataclass(slots=True)
class _Process:
    """What is known of the process whose report is being read."""

    upid: int
    by_unique: dict[str, Finding] = field(default_factory=dict)
    announced: dict[int, int] = field(default_factory=dict)
    """Number of the stack at which a thread was created, by helgrind's number of the thread."""
    is_counted: bool = False


class _Reading:
    """What is known while elements come in."""

    def __init__(self, issues: IssueLog) -> None:
        self.issues = issues
        self.rows = Findings()
        self.tool = "valgrind"
        self.version: str | None = None
        self.processes: list[_Process] = []
        self._frames: dict[tuple[str, ...], Frame] = {}

    @property
    def process(self) -> _Process:
        """The process that is being read of; one of unknown pid where none was named."""
        if not self.processes:
            self.begin_process(None)
        return self.processes[-1]

    def begin_process(self, pid: int | None) -> None:
        """Its report begins."""
        if pid is not None and not 0 <= pid < 1 << 31:
            pid = None
        self.processes.append(_Process(self.rows.begin_process(pid)))

    def take(self, name: str, element: Element) -> None:
        """Read a top-level element."""
        if name in ("error", "clientmsg", "fatal_signal"):
            self._take_error(name, element)
        elif name.endswith("_summary"):
            self._take_summary(name, element, ())
        elif name in _READERS:
            _READERS[name](self, element)

    def take_pid(self, element: Element) -> None:
        """The report of another process begins."""
        self.begin_process(_integer(element.text))

    def take_tool(self, element: Element) -> None:
        """Name of the tool."""
        self.tool = _strip(element.text) or self.tool

    def take_preamble(self, element: Element) -> None:
        """Version of Valgrind."""
        found = _VERSION.search(" ".join(line.text or "" for line in element))
        self.version = found[1] if found else self.version

    def take_arguments(self, element: Element) -> None:
        """Command line of the program."""
        program = element.find("argv")
        if program is not None:
            self.rows.commands[self.process.upid] = " ".join(_strip(part.text) for part in program)

    def take_suppressions(self, element: Element) -> None:
        """How often each suppression was used."""
        for pair in element.iter("pair"):
            count = _integer(pair.findtext("count"))
            self.rows.count_record(f"suppression {_strip(pair.findtext('name'))}", count or 0)

    def announce(self, element: Element) -> None:
        """Where a thread was created."""
        number = _integer(element.findtext("hthreadid"))
        stack = element.find("stack")
        if number is not None and stack is not None:
            self.process.announced[number] = self._stack(stack)

    def _take_error(self, name: str, element: Element) -> None:
        tid = _integer(element.findtext("tid"))
        thread_name = _strip(element.findtext("threadname")) or None
        upid = self.process.upid
        kind = _strip(element.findtext("kind")) or name
        finding = Finding(kind, "", None if tid is None else self.rows.thread(upid, tid, thread_name))
        lines = self._take_parts(element, finding)
        if kind in LEAK_KINDS.values():
            finding.bytes = _integer(element.findtext("xwhat/leakedbytes"))
            finding.blocks = _integer(element.findtext("xwhat/leakedblocks"))
        finding.message = "\n".join(lines)
        if kind in LEAK_KINDS.values():
            finding.measure_leak()
        for mention in dict.fromkeys(_integer(found.text) for found in element.iter("hthreadid")):
            if mention is not None and mention in self.process.announced:
                said = f"thread #{mention} was created"
                finding.stacks.append(("created", self.process.announced[mention], said))
        if unique := _strip(element.findtext("unique")):
            self.process.by_unique[unique] = finding
        self.rows.findings.append(finding)

    def _take_parts(self, element: Element, finding: Finding) -> list[str]:
        """Add the stacks of an error, each with the text above it; returns the texts without a stack."""
        lines: list[str] = []
        said: str | None = None
        for part in element:
            if part.tag in ("what", "xwhat", "text"):
                lines.append(_strip(part.text) if len(part) == 0 else _strip(part.findtext("text")))
            elif part.tag in ("auxwhat", "xauxwhat"):
                if said:
                    lines.append(said)
                said = _strip(part.text) if len(part) == 0 else _strip(part.findtext("text"))
            elif part.tag == "stack":
                has_error = any(role == "error" for role, _, _ in finding.stacks)
                role = role_of(said) if said else ("auxiliary" if has_error else "error")
                finding.stacks.append((role, self._stack(part), said))
                said = None
            elif part.tag not in ("unique", "tid", "threadname", "kind", "suppression"):
                lines += self._take_other(part, finding)
        return [line for line in (*lines, said) if line]

    def _take_other(self, part: Element, finding: Finding) -> list[str]:
        """Parts of other names: DRD's `other_segment_start`, `first_observed_at`; fields such as `signame`."""
        texts = [f"{_strip(found.text)}" for found in part if found.tag != "stack" and _strip(found.text)]
        stack = part.find("stack")
        if stack is not None:
            role = part.tag.removesuffix("_at")
            finding.stacks.append((role, self._stack(stack), " ".join(texts) or None))
            return []
        text = _strip(part.text) or " ".join(texts)
        return [f"{part.tag}: {text}"] if text else []

    def take_counts(self, element: Element) -> None:
        """How often each error happened."""
        process = self.process
        process.is_counted = True
        for pair in element.iter("pair"):
            count, unique = _integer(pair.findtext("count")), _strip(pair.findtext("unique"))
            if count and unique in process.by_unique:
                process.by_unique[unique].count = count

    def _take_summary(self, name: str, element: Element, path: tuple[str, ...]) -> None:
        for part in element:
            below = (*path, part.tag)
            if (value := _integer(part.text)) is not None and len(part) == 0:
                unit = next((u for u in ("byte", "block", "error") if u in part.tag), "count")
                self.rows.add_counter(self.process.upid, " ".join((name.removesuffix("_summary"), *below)), unit, value)
            elif len(below) < _MAX_SUMMARY_DEPTH:
                self._take_summary(name, part, below)

    def _stack(self, element: Element) -> int:
        return self.rows.add_stack([self._frame(frame) for frame in element.iter("frame")])

    def _frame(self, element: Element) -> Frame:
        key = tuple(f"{part.tag}={part.text or ''}" for part in element)
        frame = self._frames.get(key)
        if frame is None:
            said = {part.tag: _strip(part.text) for part in element}
            module, file, folder = said.get("obj") or None, said.get("file") or None, said.get("dir")
            line = _integer(said.get("line"))
            frame = self._frames[key] = Frame(
                _integer(said.get("ip")),
                name_of(said.get("fn", ""), module),
                module,
                f"{folder}/{file}" if folder and file else file,
                line if line is not None and line < 1 << 31 else None,
            )
        return frame


_READERS: dict[str, Callable[[_Reading, Element], None]] = {
    "pid": _Reading.take_pid,
    "protocoltool": _Reading.take_tool,
    "tool": _Reading.take_tool,
    "preamble": _Reading.take_preamble,
    "args": _Reading.take_arguments,
    "announcethread": _Reading.announce,
    "errorcounts": _Reading.take_counts,
    "suppcounts": _Reading.take_suppressions,
}


def _strip(text: str | None) -> str:
    return (text or "").strip()


def _integer(text: str | None) -> int | None:
    found = _INTEGER.match(text or "")
    if not found:
        return None
    return int(found[1], 16) if found[1].startswith("0x") else fit_int64(int(found[1]))


def _parse(data: bytes) -> Element | None:
    """The element; None where it is no XML. What is neither UTF-8 nor allowed in XML is replaced: Valgrind writes the
    bytes of arguments and names as they are.
    """
    from xml.etree import ElementTree as ET

    try:
        return ET.fromstring(data)  # noqa: S314 - an element alone has no document type, hence no entities
    except ET.ParseError:
        text = _NOT_XML.sub("\ufffd", to_text(data))
    try:
        return ET.fromstring(text)  # noqa: S314
    except ET.ParseError:
        return None


def _salvage(data: bytes) -> tuple[str, Element] | None:
    """The begin of an element whose end is missing, up to its last whole frame, or to its text."""
    opened = list(_LOST.finditer(data))
    if not opened:
        return None
    name = opened[-1][0][1:-1]
    body = data[opened[-1].start() :]
    for end, closing in ((b"</frame>", b"</stack>"), (b"</xwhat>", b""), (b"</what>", b"")):
        cut = body.rfind(end)
        if cut >= 0 and (element := _parse(body[: cut + len(end)] + closing + b"</" + name + b">")) is not None:
            return name.decode(), element
    return None


class ValgrindXml:
    """The XML of memcheck, helgrind and DRD."""

    info = AdapterInfo(
        name="valgrind.xml",
        tool="memcheck, helgrind, drd",
        formats=("--xml=yes of memcheck, helgrind, DRD: protocol 4 to 6", "cut short, or of several processes"),
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
        specification="https://sourceware.org/git/?p=valgrind.git;a=blob;f=docs/internals/xml-output-protocol4.txt;hb=HEAD",
    )

    def sniff(self, source: Source) -> bool:
        """Whether the text is XML whose root is `valgrindoutput`, without a document type."""
        return not source.is_dir and bool(_HEAD.match(plain_lines(source.head)))

    def read(self, source: Source, issues: IssueLog) -> Iterator[Batch]:
        """Yield the capture's rows.

        Raises:
            FormatError: the root is not `valgrindoutput`, or a document type stands before it.
        """
        if not self.sniff(source):
            raise FormatError(source.path, 0, "<valgrindoutput> and no document type before it", repr(source.head[:32]))
        reading = _Reading(issues)
        is_ended = False
        with source.open() as stream:
            for offset, before, name, data in _segments(stream):
                is_ended = b"</valgrindoutput>" in before
                element = _parse(data) if name else None
                rest = before + data if element is None else before
                lost = len(_LOST.findall(rest))
                if lost and (found := _salvage(rest)) is not None:
                    reading.take(*found)
                detail = "an element that is damaged or cut; at most what stands before the damage was read"
                issues.add("damaged", "error", detail, offset=offset, count=lost or int(bool(name) and element is None))
                if element is not None:
                    reading.take(name.decode(), element)
                source.report(offset + len(data))
        if not is_ended:
            issues.add("truncated", "warning", "the report has no end: Valgrind or a copy was cut short")
        uncounted = sum(len(p.by_unique) for p in reading.processes if not p.is_counted)
        detail = "errors without <errorcounts> are counted once each"
        issues.add("uncounted_errors", "warning", detail, count=uncounted)
        yield capture_batch(
            self.info.name, reading.tool, reading.version, next((c for c in reading.rows.commands if c), None)
        )
        yield from reading.rows.to_batches()
