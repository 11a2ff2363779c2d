"""What the machine that perfkit runs on says of its own kernel."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path

from perfkit.ingest.symbols.elf import ElfFile, find_build_id
from perfkit.ingest.symbols.kallsyms import Kallsyms, parse_kallsyms
from perfkit.schema.errors import FormatError

KALLSYMS = Path("/proc/kallsyms")
_KEPT_CACHES = 4


def kernel_build_id() -> str | None:
    """The build-id of the running kernel, from /sys/kernel/notes."""
    try:
        notes = Path("/sys/kernel/notes").read_bytes()
    except OSError:
        return None
    return find_build_id(notes, "<" if sys.byteorder == "little" else ">")


def vdso() -> ElfFile | None:
    """The image of the vdso that the kernel maps into every process, read out of this one's memory."""
    try:
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith("[vdso]"):
                start, end = (int(field, 16) for field in line.split()[0].split("-"))
                with open("/proc/self/mem", "rb", buffering=0) as memory:
                    memory.seek(start)
                    return ElfFile(memory.read(end - start), "[vdso]")
    except (OSError, ValueError, FormatError):
        pass
    return None


def kallsyms(cache_folder: Path) -> Kallsyms:
    """The running kernel's symbols. Reading them takes the kernel longer than all the rest takes perfkit, so they are
    kept for this boot and set of loaded modules.

    Raises:
        OSError: the kernel has no /proc/kallsyms, or it may not be read.
    """
    key = _boot_key()
    cache = cache_folder / f"kallsyms-{key}.npz"
    if key:
        try:
            return Kallsyms.load(cache.read_bytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # not there yet, or damaged: made anew
    symbols = parse_kallsyms(KALLSYMS.read_bytes())
    if key and not symbols.is_hidden:
        _keep(cache, symbols.save())
    return symbols


def _boot_key() -> str:
    """Changes with the boot (the kernel's place in memory) and with the modules that are loaded."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return ""
    modules = Path("/proc/modules")
    content = modules.read_bytes() if modules.exists() else b""
    names = b"\n".join(sorted(line.split(b" ")[0] for line in content.splitlines()))
    return hashlib.sha256(b"\0".join(((kernel_build_id() or "").encode(), boot, names))).hexdigest()[:32]


def _keep(cache: Path, content: bytes) -> None:
    """Write the cache so that no reader sees half of it. A cache that cannot be written is none, and no failure."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as out:
            out.write(content)
        Path(out.name).replace(cache)
        others = sorted(cache.parent.glob("kallsyms-*.npz"), key=lambda path: path.stat().st_mtime)
        for old in others[:-_KEPT_CACHES]:
            old.unlink(missing_ok=True)
    except OSError:
        pass
