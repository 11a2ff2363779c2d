"""Colours: a hue for each family of code, a shade for each function.

The shade is a hash of the function's name, so a function has one colour in all pictures of all runs. Every colour
leaves its text readable: at least `CONTRAST` to one, as WCAG 2.1 measures it.
"""

from __future__ import annotations

import colorsys
import zlib

from perfkit.query.flamegraph.symbols import Family

SHADES = 8
CONTRAST = 5.5
TEXT = {"light": "#14161a", "dark": "#f4f4f6"}

# Hue in degrees and saturation: user space is warm, the kernel cold, and what has no name has no colour.
_HUES: dict[Family, tuple[float, float]] = {
    Family.GROUP: (220, 0.16),
    Family.PROGRAM: (24, 0.92),
    Family.LIBRARY: (47, 0.88),
    Family.KERNEL: (208, 0.72),
    Family.JIT: (135, 0.52),
    Family.INTERPRETED: (275, 0.62),
    Family.VIRTUAL: (325, 0.65),
    Family.UNNAMED: (0, 0.0),
}
_LIGHTNESS = {"light": (0.66, 0.80), "dark": (0.30, 0.44)}
_HUE_SPREAD = 14.0


def shade_of(function: str) -> int:
    """The shade of a function, 0 to `SHADES` - 1, from its name alone."""
    return zlib.crc32(function.encode()) % SHADES


def palette(theme: str) -> dict[Family, list[str]]:
    """For `light` or `dark`, each family's shades as `#rrggbb`."""
    return {family: [_colour(theme, family, shade) for shade in range(SHADES)] for family in Family}


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours `#rrggbb`, from 1 to 21."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _colour(theme: str, family: Family, shade: int) -> str:
    hue, saturation = _HUES[family]
    low, high = _LIGHTNESS[theme]
    lightness = low + (high - low) * shade / (SHADES - 1)
    # Neighbouring shades swing to both sides of the hue, so that lightness is not the only difference.
    hue += _HUE_SPREAD * ((shade * 5 % SHADES) / (SHADES - 1) - 0.5)
    saturation *= 1 if theme == "light" else 0.75
    step = 0.01 if theme == "light" else -0.01
    while contrast(colour := _hex(hue, saturation, lightness), TEXT[theme]) < CONTRAST:
        lightness += step
    return colour


def _hex(hue: float, saturation: float, lightness: float) -> str:
    parts = colorsys.hls_to_rgb(hue % 360 / 360, lightness, saturation)
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)


def _luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
