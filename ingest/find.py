"""From the paths that a user names to the captures behind them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import Source
from perfkit.schema.errors import PerfkitError, SourceError, UnknownFormatError

_GLOB_CHARACTERS = "*?["


@dataclass(slots=True)
class Found:
    """What the paths lead to."""

    captures: list[str] = field(default_factory=list)
    errors: list[PerfkitError] = field(default_factory=list)
    """paths named outright that are no captures, or cannot be read"""
    passed_over: list[str] = field(default_factory=list)
    """files inside named folders that no adapter recognises"""


def find_captures(paths: Sequence[str]) -> Found:
    """Expand globs and folders. A folder that is a capture itself counts as one; else its files are looked at, folders
    below included, in the order of their names. `-` is standard input.
    """
    found = Found()
    for path in paths:
        for name in _expand(path):
            try:
                _look_at(name, found)
            except PerfkitError as error:
                found.errors.append(error)
    return found


def _expand(path: str) -> list[str]:
    if path == "-" or os.path.lexists(path) or not any(c in path for c in _GLOB_CHARACTERS):
        return [path]
    return sorted(glob.glob(path, recursive=True)) or [path]  # noqa: PTH207 - keeps the user's own spelling


def _look_at(name: str, found: Found) -> None:
    if name == "-":
        found.captures.append(name)
        return
    with Source(name) as source:
        try:
            find_adapter(source)
        except UnknownFormatError:
            if not source.is_dir:
                raise
        else:
            found.captures.append(name)
            return
    inside = list(_look_inside(Path(name), found))
    if not inside:
        raise SourceError(
            f"{name} holds no capture of a known format ({len(found.passed_over)} files looked at).",
            hint="`perfkit formats` lists what perfkit reads.",
        )
    found.captures.extend(inside)


def _look_inside(folder: Path, found: Found) -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if _is_capture(path, found):
                yield str(path)
            else:
                yield from _look_inside(path, found)
        elif entry.is_file():
            if _is_capture(path, found):
                yield str(path)
            else:
                found.passed_over.append(str(path))


def _is_capture(path: Path, found: Found) -> bool:
    try:
        with Source(path) as source:
            find_adapter(source)
    except UnknownFormatError:
        return False
    except SourceError as error:
        found.errors.append(error)
        return False
    return True
