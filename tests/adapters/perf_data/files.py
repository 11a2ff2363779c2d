"""The perf.data files beside the repository, found by their magic as perfkit finds them."""

from __future__ import annotations

import gzip
import os
from functools import cache
from pathlib import Path

from tests.support import ROOT

from perfkit.adapters.perf_data.header import MAGICS

_SHARED = ROOT.parent / "shared"
CORPUS = Path(os.environ.get("PERFKIT_CORPUS") or _SHARED / "corpus")
CAPTURES = Path(os.environ.get("PERFKIT_CAPTURES") or _SHARED / "captures")
GOLDENS = CORPUS / "_peer_goldens" / "perf-6.1.192"


@cache
def perf_data_files() -> tuple[Path, ...]:
    """All of them, packed ones included; none where the captures are not here."""
    found = []
    for base in (CORPUS, CAPTURES):
        for folder, folders, names in os.walk(base):
            folders[:] = sorted(name for name in folders if not name.startswith("_peer"))
            found += [path for name in sorted(names) if plain_head(path := Path(folder, name))[:8] in MAGICS]
    return tuple(found)


def plain_head(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is packed with gzip."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as unpacked:
                return unpacked.read(16)
    except (OSError, EOFError):
        return b""
    return head


def name_of(path: Path) -> str:
    """A short name for test ids."""
    base = CORPUS if path.is_relative_to(CORPUS) else CAPTURES
    return str(path.relative_to(base.parent))


def golden_stats(path: Path) -> Path | None:
    """The text of `perf report --stats` that was kept for a file."""
    candidates = [path.with_name(path.name + ".stats.txt"), path.with_suffix(".stats.txt"), _golden(path, "stats.txt")]
    return next((candidate for candidate in candidates if candidate is not None and candidate.exists()), None)


def golden_script(path: Path) -> Path | None:
    """The text of `perf script` that was kept for a file of the corpus."""
    golden = _golden(path, "script.txt.gz")
    return golden if golden is not None and golden.exists() else None


def _golden(path: Path, suffix: str) -> Path | None:
    if not path.is_relative_to(CORPUS):
        return None
    inside = str(path.relative_to(CORPUS)).removesuffix(".gz").replace("/", "~")
    return GOLDENS / f"{inside}.{suffix}"
