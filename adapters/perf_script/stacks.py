"""Callchains of `perf script` text: the block of lines below a header, parsed once for each distinct text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from perfkit.adapters.contract import IssueLog
from perfkit.adapters.perf_script.frames import FrameTable, is_frame_line
from perfkit.adapters.stack_tree import StackTree
from perfkit.adapters.text import Block, to_text

_CACHE_BYTES = 256 << 20

_NOT_KEPT = (b" ABI:", b"ABI:", b" 0x")  # -F iregs,uregs and brstack print such lines behind the callchain
_ISSUES = {
    "unparsed_line": ("warning", "a line that is neither header nor frame was skipped"),
    "trace_decode_error": ("warning", "perf could not decode a stretch of the hardware trace"),
    "fields_not_kept": ("info", "registers or branch stacks were printed with the samples and are not kept"),
}


@dataclass(frozen=True, slots=True)
class _Chain:
    frames: list[int]
    """Frame ids, outermost first."""
    odd_lines: list[tuple[str, bytes]]
    """Lines that are no frames: code of the issue, and the line."""


class Stacks:
    """Interns texts of callchains as leaves of the call tree. The texts are only a cache of bounded size: a text that
    was forgotten is parsed again and finds its nodes again.
    """

    def __init__(self, frames: FrameTable, tree: StackTree, issues: IssueLog) -> None:
        self._frames = frames
        self._tree = tree
        self._issues = issues
        self._forget()

    def leaves(self, texts: list[bytes], block: Block) -> list[int]:
        """The innermost node of each text, -1 where it holds no frame. A text begins with the line feed that ends the
        header line, or with the frame beside it. `block` is where the texts stand.
        """
        if self._cached_bytes > _CACHE_BYTES:
            self._forget()
        unseen = {text for text in texts if text not in self._leaf_of_text}
        if unseen:
            self._intern(unseen)
        if self._odd:
            self._report(texts, block)
        return [self._leaf_of_text[text] for text in texts]

    def _forget(self) -> None:
        self._leaf_of_text: dict[bytes, int] = {b"": -1}
        self._odd: dict[bytes, list[tuple[str, bytes]]] = {}
        self._cached_bytes = 0

    def _intern(self, texts: Iterable[bytes]) -> None:
        ordered = list(texts)
        chains = [self._parse(text) for text in ordered]
        lengths = np.fromiter((len(chain.frames) for chain in chains), np.int64, len(chains))
        flat = np.fromiter((frame for chain in chains for frame in chain.frames), np.int32, int(lengths.sum()))
        leaves = self._tree.add(flat, np.cumsum(lengths) - lengths, lengths)
        for text, chain, leaf in zip(ordered, chains, leaves.tolist(), strict=True):
            self._leaf_of_text[text] = leaf
            self._cached_bytes += len(text)
            if chain.odd_lines:
                self._odd[text] = chain.odd_lines

    def _parse(self, text: bytes) -> _Chain:
        frames: list[int] = []
        odd: list[tuple[str, bytes]] = []
        lines = text.removeprefix(b"\n").split(b"\n")
        ended = False
        for index, line in enumerate(lines):
            if not line or line.isspace():
                ended = True
                continue
            if line.startswith(b"#") or (frames and _is_srcline(line)):
                continue
            source = lines[index + 1] if index + 1 < len(lines) and _is_srcline(lines[index + 1]) else b""
            frame = -1 if ended else self._frames.find(line, source)
            if frame >= 0:
                frames.append(frame)
            else:
                odd.append((_code(line), line))
        return _Chain(frames[::-1], odd)

    def _report(self, texts: list[bytes], block: Block) -> None:
        for text in texts:
            for code, line in self._odd.get(text, ()):
                severity, detail = _ISSUES[code]
                offset = None
                if not self._issues.count(code):  # only the first one's place is kept, and finding it costs a search
                    offset = block.offset_of(max(0, block.data.find(line)))
                self._issues.add(
                    code, severity, f"{detail}; the first is {to_text(line.strip()[:120])!r}", offset=offset
                )


def _is_srcline(line: bytes) -> bool:
    """Whether the line is what perf prints below a frame: `file:line` after just two blanks."""
    return line.startswith(b"  ") and line[2:3] not in b" \t" and not is_frame_line(line)


def _code(line: bytes) -> str:
    if line.lstrip().startswith(b"instruction trace error"):
        return "trace_decode_error"
    return "fields_not_kept" if line.startswith(_NOT_KEPT) else "unparsed_line"
