"""One self-contained SVG file: a picture that stands by itself, with a script that lets a browser zoom and search it.

Positions and widths are percentages of the picture, so that it fills any width while its text keeps its size. Each
frame says its exact place: `data-o` is where it begins and `data-v` how wide it is, in the metric's unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from perfkit.query.flamegraph.html import asset
from perfkit.query.flamegraph.options import Options
from perfkit.query.flamegraph.palette import SHADES, palette
from perfkit.query.flamegraph.picture import Label, Picture, compose
from perfkit.query.flamegraph.profile import Profile
from perfkit.query.flamegraph.symbols import FAMILY_NAMES, Family
from perfkit.query.flamegraph.units import format_share, format_value

MOST_FRAMES = 10_000
"""A browser holds an element for each; the narrowest beyond are left out, and the picture says so."""
LEAST_SHARE = 0.0003
"""About a third of a pixel at `WIDTH`."""
WIDTH = 1200
"""Pixels the picture has where nothing else gives it a width."""
LEAST_WIDTH = 780
"""Pixels within which the legend is kept."""
ROW = 18
_CHARACTER = 7.0
"""Pixels of a character at the font's size, on the wide side: the static text must not leave its frame."""
_FAMILIES = list(Family)


def render(profile: Profile, options: Options) -> Iterator[str]:
    """The picture, in parts."""
    picture = compose(profile, options, most_frames=MOST_FRAMES, least_share=LEAST_SHARE)
    head, top = _head(picture)
    end = top + (picture.tree.level_count + 1) * ROW
    # What is pointed at is told beside the outermost frames, where the eye is: below a flame, above an icicle.
    details = top - 10 if picture.icicle else end + 16
    height = end + (8 if picture.icicle else 26)
    yield '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img" '
        f'aria-labelledby="title subtitle" data-total="{picture.tree.value}" data-unit={quoteattr(picture.unit)} '
        f'data-layout="{"icicle" if picture.icicle else "flame"}">\n'
    )
    yield f"<style><![CDATA[\n{_style(picture)}]]></style>\n"
    yield '<rect class="page" width="100%" height="100%"/>\n'
    yield from head
    yield f'<text id="details" x="8" y="{details}" aria-live="polite"></text>\n'
    yield from _frames(picture, top)
    yield f'<script><![CDATA[\n"use strict";\n(() => {{\n{asset("tree.js")}\n{asset("svg.js")}}})();\n]]></script>\n'
    yield "</svg>\n"


def _head(picture: Picture) -> tuple[list[str], int]:
    """Everything above the frames, and how many pixels it takes."""
    parts = [
        f'<text id="title" class="title" x="8" y="24">{escape(picture.title)}</text>\n',
        f'<text id="subtitle" class="muted" x="8" y="42">{escape(picture.subtitle)}</text>\n',
    ]
    # Without a script the buttons would do nothing: it shows them.
    for place, (name, text) in enumerate((("reset", "reset"), ("search", "search (/)"), ("theme", "dark or light"))):
        parts.append(
            f'<text id="do-{name}" class="button" style="display:none" tabindex="0" role="button" x="100%" '
            f'dx="{(-250, -200, -120)[place]}" y="24">{text}</text>\n'
        )
    parts.append('<text id="matched" x="100%" dx="-8" y="42" text-anchor="end"></text>\n')
    y = 42
    for kind, sentence in picture.notices:
        y += 18
        parts.append(f'<text class="{kind}" x="8" y="{y}">{escape(sentence)}</text>\n')
    y += 20
    legend, y = _legend(picture, y)
    parts.append(legend)
    return parts, y + (30 if picture.icicle else 10)


def _legend(picture: Picture, y: int) -> tuple[str, int]:
    """The swatches, and the base line of their last row."""
    parts = []
    x = 8.0
    for family, share in picture.shares:
        text = FAMILY_NAMES[family] + (f" {share:.1%}" if share or family is not Family.GROUP else "")
        if x + 17 + len(text) * _CHARACTER > LEAST_WIDTH:
            x, y = 8.0, y + 18
        parts.append(
            f'<rect class="{_class(family, 4)}" x="{x:.0f}" y="{y - 10}" width="12" height="12" rx="3"/>'
            f'<text class="muted" x="{x + 17:.0f}" y="{y}">{text}</text>\n'
        )
        x += 17 + len(text) * _CHARACTER + 12
    return "".join(parts), y


def _frames(picture: Picture, top: int) -> Iterator[str]:
    tree = picture.tree
    rows = tree.level_count + 1
    whole = f"all: {format_value(tree.value, picture.unit)}"
    y = _y(0, rows, top, icicle=picture.icicle)
    yield (
        f'<rect id="all" class="{_class(Family.GROUP, 4)}" x="0" y="{y}" width="100%" height="{ROW - 1}"/>'
        f'<text x="0" dx="3" y="{y + 13}" pointer-events="none">{escape(whole)}</text>\n'
    )
    offset, total, own = tree.offset.tolist(), tree.total.tolist(), tree.self_value.tolist()
    symbol, parent = tree.symbol.tolist(), tree.parent.tolist()
    for level in range(tree.level_count):
        y = _y(level + 1, rows, top, icicle=picture.icicle)
        yield f'<g data-level="{level}">\n'
        for node in range(tree.level_start[level], tree.level_start[level + 1]):
            label = picture.labels[symbol[node]]
            caller = total[parent[node]] if parent[node] >= 0 else tree.value
            facts = (
                f"{format_value(total[node], picture.unit)}, {format_share(total[node], tree.value)} of all, "
                f"{format_share(total[node], caller)} of its caller\n"
                f"self {format_value(own[node], picture.unit)}\n{_place(label)}"
            )
            left, width = 100 * offset[node] / tree.value, 100 * total[node] / tree.value
            yield (
                f'<g class="frame" data-o="{offset[node]}" data-v="{total[node]}">'
                f"<title>{escape(label.name)}\n{escape(facts)}</title>{_box(label, left, width, y)}</g>\n"
            )
        yield "</g>\n"


def _box(label: Label, left: float, width: float, y: int) -> str:
    """The rectangle and its text; `left` and `width` in per cent of the picture."""
    shown = _fit(label.name, WIDTH * width / 100 - 6)
    text = f'<text x="{left:.5f}%" dx="3" y="{y + 13}">{escape(shown)}</text>' if shown else ""
    # An edge in the page's colour parts neighbours; narrow frames would be nothing but edge.
    fill = _class(label.family, label.shade) + (" wide" if WIDTH * width / 100 > 4 else "")
    return f'<rect class="{fill}" x="{left:.5f}%" y="{y}" width="{width:.5f}%" height="{ROW - 1}"/>{text}'


def _y(row: int, rows: int, top: int, *, icicle: bool) -> int:
    return top + (row if icicle else rows - 1 - row) * ROW


def _place(label: Label) -> str:
    kind = FAMILY_NAMES[label.family] + (", inlined" if label.inlined else "")
    return f"{kind} · {label.module}" if label.module else kind


def _fit(text: str, width: float) -> str:
    if len(text) * _CHARACTER <= width:
        return text
    kept = int(width / _CHARACTER) - 1
    return f"{text[:kept]}…" if kept >= 3 else ""


def _class(family: Family, shade: int) -> str:
    return f"c{_FAMILIES.index(family)}{shade}"


def _style(picture: Picture) -> str:
    """The rules, with the dark ones twice: for who prefers dark, and for who chose it."""
    families = {family for family, _ in picture.shares} | {Family.GROUP}
    light, dark = palette("light"), palette("dark")
    used = [(family, shade) for family in _FAMILIES if family in families for shade in range(SHADES)]
    plain = "".join(f".{_class(family, shade)}{{fill:{light[family][shade]}}}\n" for family, shade in used)
    chosen = asset("svg-dark.css") + "".join(
        f"{{{{dark}}}} .{_class(family, shade)}{{fill:{dark[family][shade]}}}\n" for family, shade in used
    )
    by_preference = chosen.replace("{{dark}}", "svg:not([data-theme=light])")
    by_choice = chosen.replace("{{dark}}", "svg[data-theme=dark]")
    # The general rules come last in their theme, so that a match keeps its own colour.
    return plain + asset("svg.css") + f"@media (prefers-color-scheme: dark) {{\n{by_preference}}}\n{by_choice}"
