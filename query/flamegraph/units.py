"""Values and shares as people read them."""

from __future__ import annotations

_TIMES = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def format_value(value: int, unit: str) -> str:
    """A value of a metric with its unit: `1.23 s` from nanoseconds, `4.00 MiB` from bytes, `1,234 samples`."""
    if unit == "ns":
        scale, name = next(((scale, name) for scale, name in _TIMES if abs(value) >= scale), _TIMES[-1])
        return f"{value} ns" if scale == 1 else f"{_three_digits(value / scale)} {name}"
    if unit == "byte":
        for scale, name in _SIZES:
            if abs(value) >= scale:
                return f"{_three_digits(value / scale)} {name}"
    return f"{value:,} {unit}" if abs(value) == 1 else f"{value:,} {plural(unit)}"


def format_share(part: int, whole: int) -> str:
    """A share in per cent, with as many digits as tell small ones apart."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def plural(unit: str) -> str:
    """The unit of more than one: events, samples, bytes; a symbol such as `ns` stays."""
    return unit if not unit.isalpha() or len(unit) < 4 or unit.endswith("s") else f"{unit}s"


def _three_digits(number: float) -> str:
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.{2 if abs(number) < 10 else 1 if abs(number) < 100 else 0}f}"
