"""Where tests find captures: other projects' (`corpus`) and those made for perfkit (`captures`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_SHARED = ROOT.parent / "shared"


def corpus(*parts: str) -> Path:
    """A path in the corpus (`$PERFKIT_CORPUS`, else `../shared/corpus`). Skips the test, naming it, where absent."""
    return _find(Path(os.environ.get("PERFKIT_CORPUS") or _SHARED / "corpus"), parts)


def captures(*parts: str) -> Path:
    """A path in the captures (`$PERFKIT_CAPTURES`, else `../shared/captures`). Skips the test, naming it, where
    absent.
    """
    return _find(Path(os.environ.get("PERFKIT_CAPTURES") or _SHARED / "captures"), parts)


def _find(base: Path, parts: tuple[str, ...]) -> Path:
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{base.name}/{'/'.join(parts)} is not here")
    return path
