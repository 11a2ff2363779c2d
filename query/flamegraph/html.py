"""One self-contained HTML file: the tree as compact columns in JSON, drawn on a canvas by a script in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files

import numpy as np

from perfkit.query.flamegraph.options import Options
from perfkit.query.flamegraph.palette import palette
from perfkit.query.flamegraph.picture import Picture, compose
from perfkit.query.flamegraph.profile import Profile
from perfkit.query.flamegraph.symbols import FAMILY_NAMES, Family
from perfkit.query.flamegraph.units import format_value

MOST_FRAMES = 200_000
"""More make the file slow to load; the narrowest ones beyond are left out, and the picture says so."""

_FAMILIES = list(Family)
_SCRIPTS = ("tree.js", "draw.js", "page.js")
_FIELD = re.compile(r"\{\{(\w+)\}\}")


def render(profile: Profile, options: Options) -> Iterator[str]:
    """The page, in parts."""
    picture = compose(profile, options, most_frames=MOST_FRAMES)
    fields = {
        "title": escape(picture.title),
        "subtitle": escape(picture.subtitle),
        "aria": escape(
            f"Flame graph of {picture.title}: {len(picture.tree):,} frames, "
            f"{format_value(picture.tree.value, picture.unit)}. Arrow keys move, Enter zooms, question mark helps."
        ),
        "notices": "".join(f'<p class="{kind}">{escape(text)}</p>' for kind, text in picture.notices),
        "legend": "".join(
            f'<li><i data-family="{_FAMILIES.index(family)}"></i>{FAMILY_NAMES[family]} <b>{share:.1%}</b></li>'
            if family is not Family.GROUP or share
            else f'<li><i data-family="{_FAMILIES.index(family)}"></i>{FAMILY_NAMES[family]}</li>'
            for family, share in picture.shares
        ),
        "style": asset("page.css"),
        "script": "\n".join(asset(name) for name in _SCRIPTS),
        "data": embeddable(json.dumps(_data(picture), separators=(",", ":"))),
    }
    # Fields are filled in one pass, so that text which looks like a field stays text.
    for index, part in enumerate(_FIELD.split(asset("page.html"))):
        yield fields[part] if index % 2 else part


def asset(name: str) -> str:
    """The text of a file that ships with the package."""
    return (files("perfkit.query.flamegraph") / "assets" / name).read_text(encoding="utf-8")


def embeddable(text: str) -> str:
    """JSON that no HTML parser takes for markup: `<`, `>` and `&` occur only inside its strings."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(picture: Picture) -> dict[str, object]:
    tree, labels = picture.tree, picture.labels
    modules = sorted({label.module for label in labels})
    module_index = {module: index for index, module in enumerate(modules)}
    hidden = np.flatnonzero(tree.hidden)
    return {
        "unit": picture.unit,
        "metric": picture.metric,
        "value": tree.value,
        "icicle": picture.icicle,
        "families": [{"id": family, "name": FAMILY_NAMES[family]} for family in _FAMILIES],
        "palette": {theme: list(palette(theme).values()) for theme in ("light", "dark")},
        "modules": modules,
        "symbols": {
            "name": [label.name for label in labels],
            "module": [module_index[label.module] for label in labels],
            "family": [_FAMILIES.index(label.family) for label in labels],
            "shade": [label.shade for label in labels],
            "inlined": [int(label.inlined) for label in labels],
        },
        "levels": np.diff(tree.level_start).tolist(),
        "nodes": {
            # Steps: parents never decrease from node to node, and small numbers make a small file.
            "parent": np.diff(tree.parent, prepend=-1).tolist(),
            "symbol": tree.symbol.tolist(),
            "self": tree.self_value.tolist(),
        },
        "hidden": {"node": hidden.tolist(), "value": tree.hidden[hidden].tolist()},
    }
