"""What tests share: where captures are found, and the programs that perfkit is compared with.

Captures: other projects' (`corpus`), those made for perfkit (`captures`), and those that ship here (`fixtures`). What
is absent skips the test, naming it; tests/conftest.py makes a failure of that on CI.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"
_SHARED = ROOT.parent / "shared"
_NOT_HERE = "is not here"


def corpus(*parts: str) -> Path:
    """A path in the corpus (`$PERFKIT_CORPUS`, else `../shared/corpus`). Skips the test, naming it, where absent."""
    return _find(Path(os.environ.get("PERFKIT_CORPUS") or _SHARED / "corpus"), parts)


def captures(*parts: str) -> Path:
    """A path in the captures (`$PERFKIT_CAPTURES`, else `../shared/captures`). Skips the test, naming it, where
    absent.
    """
    return _find(Path(os.environ.get("PERFKIT_CAPTURES") or _SHARED / "captures"), parts)


def fixtures(*parts: str) -> Path:
    """A path among the captures that ship with perfkit; these are never absent."""
    path = FIXTURES.joinpath(*parts)
    assert path.exists(), path
    return path


def tool(name: str) -> str:
    """The path of a program listed in tests/tools.txt. Skips the test, naming its Debian package, where absent."""
    package = packages()[name]
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return path


def packages() -> dict[str, str]:
    """The Debian package of each program that tests use."""
    lines = (ROOT / "tests" / "tools.txt").read_text("utf-8").splitlines()
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def is_for_want_of_captures(reason: str) -> bool:
    """Whether a skip is owed to a checkout that has no captures beside it at all. One that has them must have all."""
    return _NOT_HERE in reason and not _SHARED.exists() and "PERFKIT_CORPUS" not in os.environ


def _find(base: Path, parts: tuple[str, ...]) -> Path:
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{base.name}/{'/'.join(parts)} {_NOT_HERE}")
    return path
