"""Where to look for symbols, and what the capture says of its kernel."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SymbolOptions:
    """Where to look for symbols."""

    symfs: Path | None = None
    """Root of a copy of the recorded machine's files. With it, a file outside is used only if its build-id matches."""
    use_debug_dirs: bool = True
    """Whether separate debug files are searched in `debug_dirs`."""
    debug_dirs: tuple[Path, ...] = (Path("/usr/lib/debug"),)
    build_id_cache: Path | None = None
    """perf's build-id cache; None for `$PERF_BUILDID_DIR`, else ~/.debug."""
    perf_map_dir: Path = Path("/tmp")  # noqa: S108  fixed by perf's interface for run-time compilers
    """Folder of perf-PID.map files."""
    cache_dir: Path | None = None
    """Where parsed kernel symbols are kept; None for `$XDG_CACHE_HOME/perfkit`, else ~/.cache/perfkit."""
    is_local: bool = False
    """Whether the capture was taken on this machine since it booted, so that what runs now is what was recorded."""

    def build_id_folder(self, build_id: str) -> Path:
        """The place of a file in perf's build-id cache."""
        root = self.build_id_cache or Path(os.environ.get("PERF_BUILDID_DIR") or Path.home() / ".debug")
        return root / ".build-id" / build_id[:2] / build_id[2:]

    def debug_paths(self, relative: str) -> list[Path]:
        """A path in each debug folder, inside `symfs` first."""
        if not self.use_debug_dirs:
            return []
        roots = [self.symfs / root.relative_to("/") for root in self.debug_dirs if self.symfs and root.is_absolute()]
        return [root / relative for root in (*roots, *self.debug_dirs)]

    def cache_folder(self) -> Path:
        """Where perfkit keeps what it can make again."""
        return self.cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perfkit"


@dataclass(frozen=True, slots=True)
class KernelIdentity:
    """What a capture says of the kernel it was taken on. `reference` is a symbol and its address at that boot, such as
    `("_text", 0xffffffff81000000)` from perf's kernel mapping: by it, addresses are moved to where a symbol table of
    another boot has them.
    """

    build_id: str | None = None
    reference: tuple[str, int] | None = None


def same_build_id(recorded: str, found: str | None) -> bool:
    """Whether a recorded build-id is that of a file. perf before 5.12 padded shorter ones with zeros to 20 bytes."""
    recorded = recorded.lower()
    return found is not None and recorded.startswith(found) and not recorded[len(found) :].strip("0")
