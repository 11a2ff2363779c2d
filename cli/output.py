"""Tables for people. On a terminal they fit its width: headings break at `_`, long names lose their middle, and what
still does not fit is shown one value a line. In a pipe they are plain and as wide as they need to be.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

from perfkit.cli.units import humanize, unit_of

_GAP = "  "
_NARROWEST = 12
"""Text columns are not cut below this."""


@dataclass(frozen=True, slots=True)
class Style:
    """How to print: `width` in terminal cells (None: no limit), `color`, and `raw` to leave numbers as they are."""

    width: int | None = None
    color: bool = False
    raw: bool = False


def style_of(stream: TextIO, *, raw: bool = False) -> Style:
    """The style that fits a stream: narrow and emphasised on a terminal (unless NO_COLOR is set), else plain."""
    if not stream.isatty():
        return Style(raw=raw)
    return Style(shutil.get_terminal_size().columns, not os.environ.get("NO_COLOR"), raw)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, style: Style | None = None, stream: TextIO | None = None
) -> None:
    """Print rows under their column names; numbers to the right."""
    out = stream or sys.stdout
    style = style or style_of(out)
    names, cells, is_right = _cells(columns, rows, raw=style.raw)
    natural = [max([_cell_width(name), *(_cell_width(row[i]) for row in cells)]) for i, name in enumerate(names)]
    headings = [[name] for name in names]
    widths = natural
    if style.width is not None and _total(natural) > style.width:
        headings = [name.split("_") for name in names]
        cells, whole = [[_last_part(cell) for cell in row] for row in cells], cells
        needed = [
            max([*map(_cell_width, parts), *(_cell_width(row[i]) for row in cells)]) for i, parts in enumerate(headings)
        ]
        fitted = _fit(needed, is_right, style.width)
        if fitted is None:
            _print_records(names, whole, style, out)
            return
        widths = fitted
    height = max(map(len, headings), default=0)
    for level in range(height):
        parts = [[""] * (height - len(heading)) + heading for heading in headings]
        line = _line([part[level] for part in parts], widths, is_right)
        out.write(_bold(line, style) + "\n")
    out.write(_GAP.join("─" * width for width in widths) + "\n")
    out.writelines(_line(row, widths, is_right) + "\n" for row in cells)


def _cells(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, raw: bool
) -> tuple[list[str], list[list[str]], list[bool]]:
    """Names, texts and alignment. A `unit` column is worked into the weights it speaks of, and left out."""
    unit_at = columns.index("unit") if "unit" in columns and not raw else None
    shown = [i for i, name in enumerate(columns) if i != unit_at or not _has_weights(columns)]
    texts = []
    for row in rows:
        unit = None if unit_at is None else row[unit_at]
        texts.append([_text(row[i], "" if raw else unit_of(columns[i], unit), raw=raw) for i in shown])
    numeric = [all(_is_number(row[i]) or row[i] is None for row in rows) for i in shown]
    return [columns[i] for i in shown], texts, numeric


def _has_weights(columns: Sequence[str]) -> bool:
    return any(unit_of(name, "event") == "event" for name in columns)


def _is_number(value: object) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, bool)


def _text(value: object, unit: str, *, raw: bool) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case dict():
            text = ", ".join(f"{key}={item}" for key, item in value.items())
        case list():
            text = ", ".join(map(str, value))
        case datetime() if not raw:
            text = value.isoformat(" ", "seconds")
        case _ if unit and _is_number(value):
            text = humanize(float(value), unit)  # type: ignore[arg-type]
        case float() if not raw:
            text = f"{value:.6g}"
        case _:
            text = str(value)
    return _printable(text)


def _last_part(text: str) -> str:
    """A path's last part: of a module, that is what tells it apart."""
    return text.rpartition("/")[2] if text.startswith("/") and " " not in text else text


def _printable(text: str) -> str:
    """Names come from captured programs: a control character in one must not reach the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cell_width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _fit(needed: list[int], is_right: list[bool], width: int) -> list[int] | None:
    """Widths that fit, found by cutting the widest text column until they do; None where they cannot."""
    widths = list(needed)
    while (excess := _total(widths) - width) > 0:
        texts = [i for i in range(len(widths)) if not is_right[i] and widths[i] > _NARROWEST]
        if not texts:
            return None
        widest = max(texts, key=lambda i: widths[i])
        second = max((widths[i] for i in texts if i != widest), default=_NARROWEST)
        cut = max(1, min(excess, widths[widest] - max(second, _NARROWEST)))
        widths[widest] -= cut
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, is_right, strict=True):
        text = _shorten(cell, width)
        space = " " * (width - _cell_width(text))
        padded.append(space + text if right else text + space)
    return _GAP.join(padded).rstrip()


def _shorten(text: str, width: int) -> str:
    """The text with its middle taken out: both ends of a qualified name tell it apart from others."""
    if _cell_width(text) <= width:
        return text
    indent = len(text) - len(text.lstrip(" "))
    if indent > width // 2:  # a deep call tree: the name matters more than its depth
        text = "…" + text.lstrip(" ")
        if _cell_width(text) <= width:
            return text
    head = tail = (width - 1) // 2
    head += (width - 1) % 2
    short = f"{text[:head]}…{text[len(text) - tail :]}"
    while _cell_width(short) > width:  # wide characters
        head -= 1
        short = f"{text[:head]}…{text[len(text) - tail :]}"
    return short


def _print_records(names: Sequence[str], cells: Sequence[Sequence[str]], style: Style, out: TextIO) -> None:
    label = max(map(_cell_width, names))
    room = max((style.width or sys.maxsize) - label - len(_GAP), _NARROWEST)
    for number, row in enumerate(cells):
        if number:
            out.write("\n")
        pairs = zip(names, row, strict=True)
        out.writelines(f"{_bold(name.ljust(label), style)}{_GAP}{_shorten(cell, room)}\n" for name, cell in pairs)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one a line, leaving out what is not known."""
    known = {name: value for name, value in facts.items() if value not in (None, "", {}, [])}
    cells = [_text(value, unit_of(name, None), raw=False) for name, value in known.items()]
    _print_records(list(known), [cells], style_of(sys.stdout), sys.stdout)


def _bold(text: str, style: Style) -> str:
    return f"\x1b[1m{text}\x1b[0m" if style.color else text


def print_json(value: object, stream: TextIO | None = None) -> None:
    """Print a value as indented JSON; times in ISO 8601."""
    import json

    out = stream or sys.stdout
    json.dump(value, out, indent=2, default=_jsonable, ensure_ascii=False)
    out.write("\n")


def _jsonable(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
