"""Quantities as people read them: `1.53 s` for a number of nanoseconds, `3.2 MiB` for one of bytes."""

from __future__ import annotations

_TIME = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))
_COUNT = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_WEIGHTS = frozenset({"self", "total", "value", "low", "high"})
"""Columns that a row's `unit` column speaks of."""


def unit_of(column: str, row_unit: str | None) -> str:
    """The unit of a column's numbers, told by its name or, for weights, by the row's own `unit`; empty if unknown."""
    if column.endswith("_ns"):
        return "ns"
    if column == "bytes" or column.endswith("_bytes") or column == "byte_count":
        return "byte"
    if column == "percent" or column.endswith("_percent"):
        return "%"
    return row_unit or "" if column in _WEIGHTS else ""


def humanize(value: float, unit: str) -> str:
    """A quantity in the unit's most readable multiple, to three digits."""
    if unit == "%":
        return f"{value:.2f}%"
    if unit == "ns":
        return _scaled(value, _TIME, " ns")
    if unit in ("byte", "B", "bytes"):
        return _scaled(value, _BYTES, " B")
    return _scaled(value, _COUNT, "")


def _scaled(value: float, scale: tuple[tuple[float, str], ...], plain: str) -> str:
    size = abs(value)
    for factor, name in scale:
        if size >= factor:
            return f"{_three_digits(value / factor)} {name}"
    return f"{value:g}{plain}"


def _three_digits(value: float) -> str:
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:.0f}"
