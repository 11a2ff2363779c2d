"""Names of objects, files and functions, and their compression: `fn=(7) main` defines, `fn=(7)` refers.

Each of the three kinds has numbers of its own, shared by all lines that name the kind (`fl`, `fi`, `cfi` …). A number
may be given to another name later; callgrind does so from part to part of a combined dump.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perfkit.adapters.callgrind.lines import Lines, skip_blanks
from perfkit.adapters.contract import IssueLog
from perfkit.adapters.text import Interner, to_text

type_int32 = NDArray[np.int32]
type_int64 = NDArray[np.int64]

NONE = -1
"""Number of the name that is not known: `???`, or none given."""

_UNDEFINED = -2
_MAX_NUMBER = 1 << 24  # tools count from 1; a number past this is damage
_MAX_DIGITS = 9
_UNKNOWN_TEXTS = (b"", b"???")


class Names:
    """Names of one kind: `resolve` numbers them in the order of first appearance, `column` spells them."""

    def __init__(self, kind: str, issues: IssueLog) -> None:
        self._kind = kind
        self._issues = issues
        self._interned = Interner()
        self._spelled: list[str] = []
        self._meaning = np.full(1024, _UNDEFINED, np.int32)  # name by compression number

    def column(self, ids: NDArray[np.integer], unknown: str | None) -> pa.DictionaryArray:
        """The names with these ids; `unknown` stands for `NONE`."""
        self._spelled.extend(to_text(text) for text in self._interned.texts[len(self._spelled) :])
        names = pa.array([*self._spelled, unknown or ""], pa.string())
        is_unknown = ids < 0
        indices = np.where(is_unknown, len(self._spelled), ids).astype(np.int32)
        mask = is_unknown if unknown is None else None
        return pa.DictionaryArray.from_arrays(pa.array(indices, mask=mask), names)

    def resolve(self, lines: Lines, rows: type_int64, value_at: type_int64) -> type_int32:
        """Ids of the names that the lines `rows` give; `value_at` are the positions at which the names begin."""
        begins = skip_blanks(lines.data, value_at, lines.ends[rows])
        number, after = _parse_numbers(lines, rows, begins)
        is_compressed = after > begins
        is_reference = is_compressed & (after >= lines.ends[rows])
        spelled = np.flatnonzero(~is_reference)
        definitions = np.flatnonzero(is_compressed & ~is_reference)
        references = np.flatnonzero(is_reference)
        ids = np.full(len(rows), NONE, np.int32)
        ids[spelled] = [
            NONE if text in _UNKNOWN_TEXTS else self._interned[text]
            for text in lines.texts(after[spelled], rows[spelled])
        ]
        ids[references] = self._look_up(number, references, definitions, ids)
        self._remember(number[definitions], ids[definitions])
        undefined = references[ids[references] == _UNDEFINED]
        if len(undefined):
            first = int(rows[undefined[0]])
            detail = (
                f"a {self._kind} is referred to by a number that no name was given to; the first is "
                f"{to_text(lines.text(first)[:80])!r}"
            )
            self._issues.add(
                "undefined_name", "warning", detail,
                offset=lines.offset(first), count=len(undefined), subject=self._kind,
            )  # fmt: skip
            ids[undefined] = NONE
        return ids

    def _look_up(
        self, number: type_int64, references: type_int64, definitions: type_int64, ids: type_int32
    ) -> type_int32:
        """What the references mean: the last definition of their number before them, else what earlier text said."""
        wanted = number[references]
        known = np.minimum(wanted, len(self._meaning) - 1)
        meaning = np.where(wanted < len(self._meaning), self._meaning[known], _UNDEFINED).astype(np.int32)
        if len(definitions):
            order = np.lexsort((definitions, number[definitions]))
            ordered = definitions[order]
            keys = number[ordered] << 32 | ordered
            at = np.searchsorted(keys, wanted << 32 | references) - 1
            candidate = ordered[np.maximum(at, 0)]
            is_here = (at >= 0) & (number[candidate] == wanted)
            meaning = np.where(is_here, ids[candidate], meaning)
        return meaning

    def _remember(self, numbers: type_int64, ids: type_int32) -> None:
        fits = numbers < _MAX_NUMBER
        highest = int(numbers[fits].max(initial=0))
        if highest >= len(self._meaning):
            grown = np.full(max(highest + 1, 2 * len(self._meaning)), _UNDEFINED, np.int32)
            grown[: len(self._meaning)] = self._meaning
            self._meaning = grown
        self._meaning[numbers[fits]] = ids[fits]  # of several for one number, the last stays


def _parse_numbers(lines: Lines, rows: type_int64, begins: type_int64) -> tuple[type_int64, type_int64]:
    """The compression number of each name, and where the name itself begins: after `(7) `, or at `begins`."""
    data = lines.data
    number = np.zeros(len(rows), np.int64)
    opened = np.flatnonzero(data[begins] == ord("("))
    place = begins[opened] + 1
    reading = np.arange(len(opened))
    for _ in range(_MAX_DIGITS):
        digit = data[place[reading]].astype(np.int64) - ord("0")
        is_digit = (digit >= 0) & (digit <= 9)
        reading = reading[is_digit]
        number[opened[reading]] = number[opened[reading]] * 10 + digit[is_digit]
        place[reading] += 1
    is_closed = (data[place] == ord(")")) & (place > begins[opened] + 1)
    after = begins.copy()
    compressed = opened[is_closed]
    after[compressed] = skip_blanks(data, place[is_closed] + 1, lines.ends[rows[compressed]])
    return number, after
