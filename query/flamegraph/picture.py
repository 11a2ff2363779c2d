"""What a flame graph shows, whatever it is drawn with: the tree that is left, its words, and its warnings."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace

import numpy as np

from perfkit.query.flamegraph.call_tree import CallTree, Ints, arrange, prune
from perfkit.query.flamegraph.options import Grouping, Options
from perfkit.query.flamegraph.palette import shade_of
from perfkit.query.flamegraph.profile import Profile
from perfkit.query.flamegraph.selection import Selection
from perfkit.query.flamegraph.symbols import Family, Symbol
from perfkit.query.flamegraph.units import format_share, format_value

TRUSTED_UNNAMED_SHARE = 0.05
"""Above this share of frames without a name, the picture says so."""


@dataclass(frozen=True, slots=True)
class Label:
    """A symbol as it is drawn: names without anything that could move a cursor or turn the reading direction."""

    name: str
    module: str
    family: Family
    shade: int
    inlined: bool


@dataclass(frozen=True)
class Picture:
    """`tree.symbol` indexes `labels`. `notices` are (kind, sentence): `estimate`, `trust` or `hidden`. `shares` are
    the parts of the whole that were spent in each family's own code, largest first.
    """

    title: str
    subtitle: str
    tree: CallTree
    labels: list[Label]
    metric: str
    unit: str
    icicle: bool
    notices: list[tuple[str, str]]
    shares: list[tuple[Family, float]]


def compose(profile: Profile, options: Options, *, most_frames: int, least_share: float = 0.0) -> Picture:
    """Prune the tree to what can be drawn and say in words what it is.

    Args:
        profile: what is drawn.
        options: as the person asked.
        most_frames: without `options.min_width`, the narrowest frames beyond so many are left out.
        least_share: without `options.min_width`, frames below this share of the whole are left out.
    """
    tree = arrange(prune(profile.tree, _minimum(profile.tree, options, most_frames, least_share)))
    labels, symbol = _labels(profile.symbols, tree.symbol)
    return Picture(
        title=printable(options.title or _title(profile)),
        subtitle=printable(_subtitle(profile, options)),
        tree=replace(tree, symbol=symbol),
        labels=labels,
        metric=printable(profile.metric.name),
        unit=printable(profile.metric.unit),
        icicle=options.icicle,
        notices=_notices(profile, tree),
        shares=_shares(profile),
    )


def printable(text: str) -> str:
    r"""Text with control characters and other invisible ones written as `\x1b`, `\u202e`, so that it stays on one
    line, reads in one direction and is valid XML.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _minimum(tree: CallTree, options: Options, most_frames: int, least_share: float) -> float:
    if options.min_width is not None:
        return options.min_width * tree.value
    minimum = least_share * tree.value
    if len(tree) <= most_frames:
        return minimum
    # All frames as wide as the widest that must go, go too: which of them stayed would be chance.
    return max(minimum, float(np.partition(tree.total, -most_frames - 1)[-most_frames - 1]) + 1)


def _labels(symbols: list[Symbol], used: Ints) -> tuple[list[Label], Ints]:
    """The labels of the symbols that are still drawn, and the column that indexes them."""
    unique, index = np.unique(used, return_inverse=True)
    labels = []
    for number in unique.tolist():
        symbol = symbols[number]
        labels.append(
            Label(
                name=printable(symbol.function),
                module=printable(symbol.module or ""),
                family=symbol.family,
                shade=shade_of(symbol.function),
                inlined=symbol.inlined,
            )
        )
    return labels, index.reshape(-1).astype(np.int64)


def _title(profile: Profile) -> str:
    return ", ".join(capture.name for capture in profile.captures)


def _subtitle(profile: Profile, options: Options) -> str:
    metric = profile.metric
    parts = [f"{metric.name}: {format_value(profile.tree.value, metric.unit)}", *_conditions(profile.selection)]
    if options.root:
        parts.append(f"from {options.root} down")
    if options.title:
        parts.insert(0, _title(profile))
    return " · ".join(parts)


def _conditions(selection: Selection) -> list[str]:
    by = {
        Grouping.COMM: "by thread name",
        Grouping.PROCESS: "by process",
        Grouping.THREAD: "by thread",
        Grouping.NONE: "all threads merged",
    }
    parts = [by[selection.by]]
    if selection.start is not None or selection.end is not None:
        parts.append(f"time {selection.start or 'start'} to {selection.end or 'end'}")
    if selection.where:
        parts.append(f"where {selection.where}")
    return parts


def _notices(profile: Profile, tree: CallTree) -> list[tuple[str, str]]:
    notices = []
    if profile.metric.is_estimate:
        notices.append(
            ("estimate", f"Values of {printable(profile.metric.name)} are estimates: derived, not recorded.")
        )
    unnamed = profile.unnamed_share
    if unnamed > TRUSTED_UNNAMED_SHARE:
        notices.append(
            ("trust", f"{unnamed:.0%} of the frames, by weight, have no symbol and show only where their code lies.")
        )
    issues = [issue for capture in profile.captures for issue in capture.issues if issue[0] != "unnamed_frames"]
    if issues:
        told = ", ".join(f"{printable(code)} ({count:,})" for code, count in issues[:4])
        more = " …" if len(issues) > 4 else ""
        notices.append(("trust", f"Found when the capture was read: {told}{more}. The table import_issue tells more."))
    if tree.hidden_value:
        share = format_share(tree.hidden_value, tree.value)
        dropped = len(profile.tree) - len(tree)
        notices.append(("hidden", f"{dropped:,} narrow frames with {share} of the weight are left out."))
    return notices


def _shares(profile: Profile) -> list[tuple[Family, float]]:
    tree = profile.tree
    by_symbol = np.bincount(tree.symbol, weights=tree.self_value, minlength=len(profile.symbols))
    drawn = set(np.unique(tree.symbol).tolist())
    shares: dict[Family, float] = {}
    for number in drawn:
        family = profile.symbols[number].family
        shares[family] = shares.get(family, 0.0) + float(by_symbol[number])
    whole = tree.value or 1
    return sorted(((family, value / whole) for family, value in shares.items()), key=lambda item: -item[1])
