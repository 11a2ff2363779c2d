"""Folded stacks: one line a stack, `process;outermost;...;innermost value`, as FlameGraph's collapsers write them.

Names are written as `stackcollapse-perf.pl` writes them, so that everything that reads its output reads this and both
can be compared line by line:

- spaces in the process's name become `_`;
- `;` in a function becomes `:`, since it ends a frame;
- arguments are cut off from the first `(` on, except in `(anonymous namespace)` and in Go's methods such as
  `net/http.(*Client).Do`; quotes are removed;
- Java's `Lorg/mozilla/Context;` loses its `L`, in processes whose name begins with `java`;
- code without a symbol is `[libc.so.6]` after its module, `[[vdso]]` where that is in brackets, else `[unknown]`;
- functions that a run-time compiler inlined end in `_[i]`, and `outer->inner` of such code is two frames; with
  `annotate`, kernel functions end in `_[k]` and run-time compiled ones in `_[j]`, as its `--kernel` and `--jit` do.

Where it differs, it is because the lines would be wrong otherwise:

- control characters, which would break a line or a terminal, become spaces, and `;` in a process's name `:`;
- frames whose name begins with `(`, such as `(anonymous namespace)::run`, are kept: it takes them for process names;
- the last record of a text without an empty line after it is kept;
- `operator->` of C++ is one frame;
- `_[k]` and `_[j]` go by what the code is, not by how its module is spelt, so kernel modules have them too;
- with `--by process` the name is the process's, not that of the thread at the time, so that a process is one root.

Functions that differ only in what is cut off are one frame here; the pictures keep them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt

from perfkit.query.flamegraph.call_tree import CallTree, Ints
from perfkit.query.flamegraph.profile import Profile
from perfkit.query.flamegraph.symbols import GROUP_KIND, Symbol

_ARGUMENTS = re.compile(r"\((?!anonymous namespace\)).*", re.DOTALL)
_GO_METHOD = re.compile(r"\.\(.*\)\.")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUOTES = str.maketrans({";": ":", '"': None, "'": None})


def fold(profile: Profile, *, annotate: bool = False) -> Iterator[str]:
    """The lines, sorted bytewise, each without its newline; what `prune` hid stays with the caller."""
    stacks, values = _stacks(profile, annotate=annotate)
    # By the stack alone and not by the line, since "a b 1" must come after "a 2".
    order = sorted(range(len(stacks)), key=stacks.__getitem__)
    # Stacks that differ only in what tidying cuts off meet here.
    for stack, same in groupby(order, key=stacks.__getitem__):
        yield f"{stack} {sum(values[index] for index in same)}"


def _stacks(profile: Profile, *, annotate: bool) -> tuple[list[str], list[int]]:
    """The stacks that have a value of their own, and the values."""
    tree = profile.tree
    value = tree.self_value + tree.hidden
    innermost = np.flatnonzero(value > 0)
    end = np.cumsum(tree.depth[innermost] + 1)
    symbol, root = _climb(tree, innermost, end)
    names = _spelled(profile.symbols, np.unique(tree.symbol), annotate=annotate)
    is_java = np.array([s.kind == GROUP_KIND and s.function.startswith("java") for s in profile.symbols], dtype=bool)
    in_java = np.repeat(is_java[tree.symbol[root]], np.diff(end, prepend=0))
    frames = names[symbol + len(profile.symbols) * in_java].tolist()
    stacks = [";".join(frames[first:last]) for first, last in pairwise([0, *end.tolist()])]
    return stacks, value[innermost].tolist()


def _spelled(symbols: list[Symbol], used: Ints, *, annotate: bool) -> npt.NDArray[np.object_]:
    """The name of each symbol that is used; Java's spelling of each stands behind all plain ones."""
    names = np.full(2 * len(symbols), "", dtype=object)
    for number in used.tolist():
        name = tidy(symbols[number], annotate=annotate)
        names[number] = name
        names[number + len(symbols)] = ";".join(
            part[1:] if part.startswith("L") and "/" in part else part for part in name.split(";")
        )
    return names


def _climb(tree: CallTree, innermost: Ints, end: Ints) -> tuple[Ints, Ints]:
    """The symbols of each stack, outermost first, one stack after the other up to its `end`; and each one's root."""
    symbol = np.zeros(int(end[-1]) if len(end) else 0, dtype=np.int64)
    root = innermost.copy()
    climbing = np.arange(len(innermost))
    place = end - 1
    while climbing.size:
        node = root[climbing]
        symbol[place[climbing]] = tree.symbol[node]
        climbing = climbing[tree.parent[node] >= 0]
        root[climbing] = tree.parent[root[climbing]]
        place[climbing] -= 1
    return symbol, root


def tidy(symbol: Symbol, *, annotate: bool = False) -> str:
    """A symbol as it stands in a line: one frame, or several where a run-time compiler merged calls into one name."""
    if symbol.kind == GROUP_KIND:
        return _CONTROL.sub(" ", symbol.function).replace(" ", "_").replace(";", ":")
    if symbol.is_unnamed and symbol.module and symbol.module.startswith("["):
        # FlameGraph puts the module in brackets, also when it stands in brackets already.
        return f"[{symbol.module}]{_mark(symbol, annotate=annotate)}"
    # perf-map-agent writes what was inlined as `outer->inner`; elsewhere that is C++ (`operator->`).
    parts = symbol.function.split("->") if symbol.kind == "jit" else [symbol.function]
    names = [_tidy_name(part) for part in parts]
    inlined = [*names[1:]] if not symbol.inlined else names
    outer = [] if symbol.inlined else [names[0] + _mark(symbol, annotate=annotate)]
    return ";".join(outer + [f"{name}_[i]" if symbol.kind == "jit" else name for name in inlined])


def _tidy_name(name: str) -> str:
    name = name.translate(_QUOTES)
    if "(" in name and not _GO_METHOD.search(name):
        name = _ARGUMENTS.sub("", name) or name  # `(below main)` is a name, and no arguments
    return name if name.isprintable() else _CONTROL.sub(" ", name)


def _mark(symbol: Symbol, *, annotate: bool) -> str:
    if not annotate or symbol.module is None or symbol.module == "[unknown]":
        return ""
    return {"kernel": "_[k]", "guest_kernel": "_[k]", "jit": "_[j]"}.get(symbol.kind, "")
