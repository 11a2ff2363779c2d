"""The renderers: each turns a profile into the text of one file, and declares the file's suffix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perfkit.query.flamegraph.call_tree import prune
from perfkit.query.flamegraph.options import Format, Options
from perfkit.query.flamegraph.profile import Profile


@dataclass(frozen=True, slots=True)
class Renderer:
    """A way to write a profile: `render` yields the file's text in parts."""

    format: Format
    suffix: str
    render: Callable[[Profile, Options], Iterator[str]]


def _html(profile: Profile, options: Options) -> Iterator[str]:
    from perfkit.query.flamegraph.html import render

    return render(profile, options)


def _svg(profile: Profile, options: Options) -> Iterator[str]:
    from perfkit.query.flamegraph.svg import render

    return render(profile, options)


def _folded(profile: Profile, options: Options) -> Iterator[str]:
    from dataclasses import replace

    from perfkit.query.folded import fold

    tree = profile.tree
    if options.min_width is not None:
        profile = replace(profile, tree=prune(tree, options.min_width * tree.value))
    return (f"{line}\n" for line in fold(profile, annotate=options.annotate))


RENDERERS: dict[Format, Renderer] = {
    renderer.format: renderer
    for renderer in (
        Renderer(Format.HTML, ".html", _html),
        Renderer(Format.SVG, ".svg", _svg),
        Renderer(Format.FOLDED, ".folded", _folded),
    )
}
