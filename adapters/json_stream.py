"""One JSON object, its members and the elements of its long arrays one by one, in bounded memory.

    { "a": 1, "long": [ {…}, {…}, … ], "b": "x" }
        ──members({"long"})──▶ ("a", 1), ("long", {…}), ("long", {…}), …, ("long", END), ("b", "x")

The C scanner of the standard library does the work: short elements are scanned many at a time. An element that is
damaged is counted and stands as None, and reading goes on with the next line or object; what ends early yields all
before the end.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import BinaryIO, cast

from perfkit.adapters.contract import IssueLog

_CHUNK_BYTES = 4 << 20
_MAX_VALUE_CHARS = 64 << 20  # a value that does not end within this is damage
_MANY_CHARS = 1 << 18
_NEAR_END = 64  # an error so near to the end of what was read may be owed to the end
_SPACE = re.compile(r"[ \t\r\n]*")


END = object()
"""Stands for the end of an array."""


class _DamagedError(Exception):
    """What stands at the position is not the JSON that belongs there."""


class JsonStream:
    """Reads one object out of `raw`."""

    def __init__(self, raw: BinaryIO, issues: IssueLog) -> None:
        self._raw = raw
        self._issues = issues
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._consumed = 0
        self._is_ended = False
        self._is_cut = False
        self._one_by_one_until = 0

    @property
    def offset(self) -> int:
        """How far the text has been read, in bytes of ASCII text (in characters of other text)."""
        return self._consumed + self._at

    def members(self, arrays: Collection[str]) -> Iterator[tuple[str, object]]:
        """(key, value) of each member; for the keys in `arrays` a pair an element, and `END` last."""
        try:
            self._expect("{")
            if self._peek() == "}":
                return
            while True:
                key = str(self._value())
                self._expect(":")
                if key in arrays:
                    for element in self._elements(arrays):
                        yield key, element
                    yield key, END
                else:
                    yield key, self._value()
                if self._expect(",}") == "}":
                    return
        except _DamagedError:
            code, what = ("truncated", "ends early") if self._at_end() else ("damaged", "is damaged")
            self._issues.add(code, "error", f"the text {what}; nothing after this was read", offset=self.offset)

    def _elements(self, arrays: Collection[str]) -> Iterator[object]:
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        # Lists of objects go on with the next object, others with the next line.
        begin = r"\{" if self._peek() == "{" else r"\n"
        resume = re.compile(rf'{begin}|(?=\]\s*,\s*"(?:{"|".join(map(re.escape, arrays))})"\s*:)')
        while True:
            yield from self._many()
            start = self.offset
            try:
                value = self._value()
            except _DamagedError:
                value = None
            yield value
            if value is None or (found := self._peek()) not in (",", "]"):
                if self._at_end():
                    raise _DamagedError
                detail = "a damaged element of an array was skipped"
                self._issues.add("damaged", "error", detail, offset=start)
                found = self._skip_to(resume)
                if found != "]":
                    continue
            self._at += 1
            if found == "]":
                return

    def _many(self) -> list[object]:
        """Elements of an array of objects that are whole in what was read, in one go; none where that is not so simple,
        at the array's end or where there is damage.
        """
        if self._peek() != "{" or self.offset < self._one_by_one_until:
            return []
        last = self._text.rfind("{", self._at, self._at + _MANY_CHARS)
        comma = self._text.rfind(",", self._at, last)
        if comma < 0:
            return []
        try:
            values = cast("list[object]", json.loads(f"[{self._text[self._at : comma]}]"))
        except (ValueError, RecursionError):
            self._one_by_one_until = self.offset + comma - self._at
            return []
        self._at = comma + 1
        return values

    def _value(self) -> object:
        """The value at the position, once all of it is there."""
        self._peek()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated") or len(self._text) - error.pos <= _NEAR_END
                if self._is_ended or not is_open or len(self._text) - self._at > _MAX_VALUE_CHARS:
                    self._is_cut = self._is_ended and is_open
                    raise _DamagedError from None
            except (StopIteration, RecursionError, ValueError):
                raise _DamagedError from None
            else:
                # A number at the end of what was read may go on, even behind `12.`.
                if len(self._text) - end > _NEAR_END or self._is_ended or self._text[end - 1] in '"]}':
                    self._at = end
                    return cast("object", value)
            self._read()

    def _skip_to(self, pattern: re.Pattern[str]) -> str:
        """Go on where an element may begin, or an array end."""
        while True:
            self._at += 1
            found = pattern.search(self._text, self._at)
            if found is None:
                self._at = max(self._at, len(self._text) - _NEAR_END)
                if self._is_ended:
                    raise _DamagedError
                self._read()
                continue
            self._at = found.start()
            if found[0] == "\n" and self._peek() == ",":
                self._at += 1
            return self._peek()

    def _at_end(self) -> bool:
        """Whether the trouble is that the text ends."""
        return self._is_ended and (self._is_cut or self._peek() == "")

    def _expect(self, wanted: str) -> str:
        found = self._peek()
        if not found or found not in wanted:
            raise _DamagedError
        self._at += 1
        return found

    def _peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_ended:
                return ""
            self._read()

    def _read(self) -> None:
        chunk = self._raw.read(max(_CHUNK_BYTES, len(self._text) - self._at))
        self._is_ended = not chunk
        text = self._decode(chunk, self._is_ended)
        if not self._consumed and not self._text:
            text = text.removeprefix("\ufeff")
        self._consumed += self._at
        self._text = self._text[self._at :] + text
        self._at = 0
