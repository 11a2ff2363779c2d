"""What there is to read: a file, a folder, or standard input, with the outer compression taken off.

A capture that was packed with gzip, xz, bzip2 or zstd is unpacked into a temporary file when it is first opened, so
that every adapter sees plain content it can seek in; `head` is of that plain content too.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO, Self, cast

from perfkit.schema.errors import FormatError, SourceError

HEAD_SIZE = 64 * 1024
"""Bytes an adapter may judge by."""

_ZSTD_PIECE = 4 << 10
"""Packed bytes unpacked at a time: zstd may make 128 kB of any 4 of them."""
_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


class Source:
    """One input. `path` is what the user named; `file` is where plain bytes can be read and sought.

    Raises:
        SourceError: the path does not exist or cannot be read.
    """

    def __init__(self, path: str | Path, *, name: str | None = None) -> None:
        self.path = Path(path)
        self.is_stdin = str(path) == "-"
        self.name = name or ("stdin" if self.is_stdin else self.path.name)
        self.on_progress: Callable[[int], None] | None = None
        """Called by `report` with the bytes consumed so far."""
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if not self.is_stdin:
            _require_readable(self.path)

    @cached_property
    def is_dir(self) -> bool:
        """Whether the source is a folder (an LTTng trace, `perf record --threads`, an OProfile session)."""
        return not self.is_stdin and self.path.is_dir()

    @cached_property
    def names(self) -> frozenset[str]:
        """For a folder, the names directly in it; else empty."""
        return frozenset(os.listdir(self.path)) if self.is_dir else frozenset()

    @cached_property
    def file(self) -> Path:
        """A seekable file with the plain content. Folders have none."""
        if self.is_dir:
            raise FormatError(self.path, None, "a file", "a folder")
        if self.is_stdin:
            return self._spool(sys.stdin.buffer)
        compression = _compression(self.path)
        if not compression:
            return self.path
        try:
            with _decompressor(self.path, compression) as stream:
                return self._spool(stream)
        except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
            raise FormatError(self.path, None, f"a whole {compression} stream", str(error)) from error

    @cached_property
    def head(self) -> bytes:
        """The first bytes of the plain content, `HEAD_SIZE` at most; empty for a folder or where nothing can be
        unpacked.
        """
        if self.is_dir:
            return b""
        try:
            with open(self.file, "rb") as stream:
                return stream.read(HEAD_SIZE)
        except (FormatError, OSError):
            return b""

    @property
    def size(self) -> int:
        """Bytes of plain content; for a folder, of all files in it."""
        if self.is_dir:
            return sum(entry.stat().st_size for entry in self.path.rglob("*") if entry.is_file())
        return self.file.stat().st_size

    def open(self) -> BinaryIO:
        """The plain content, for reading from its start."""
        return open(self.file, "rb")

    def report(self, consumed: int) -> None:
        """An adapter says how many bytes of the content it has consumed, for the progress bar."""
        if self.on_progress is not None:
            self.on_progress(consumed)

    def close(self) -> None:
        """Drop what was unpacked."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spool(self, stream: IO[bytes]) -> Path:
        folder = tempfile.TemporaryDirectory(prefix="perfkit-")
        target = Path(folder.name) / "content"
        try:
            with open(target, "wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
        except BaseException:
            folder.cleanup()
            raise
        self._temporary = folder
        return target


def _require_readable(path: Path) -> None:
    try:
        if path.is_dir():
            os.listdir(path)
        elif path.exists() and not path.is_file():
            # A FIFO or device would block or never end; the user can pipe it in instead.
            raise SourceError(
                f"{path} is neither a file nor a folder.", hint=f"Pipe it in: `perfkit ingest - < {path}`."
            )
        else:
            with open(path, "rb"):
                pass
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error


def _compression(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(8)
    return next((name for magic, name in _MAGICS if head.startswith(magic)), "")


@contextlib.contextmanager
def _decompressor(path: Path, compression: str) -> Iterator[IO[bytes]]:
    if compression == "zstd":
        with open(path, "rb") as raw:
            yield cast("IO[bytes]", _ZstdReader(raw))
        return
    openers: dict[str, Callable[[Path], object]] = {"gzip": gzip.open, "xz": lzma.open, "bzip2": bz2.open}
    with cast("IO[bytes]", openers[compression](path)) as out:
        yield out


class _ZstdReader:
    """zstd frames one after the other; unlike the library's own reader it says when the last one is cut off."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._raw = raw
        self._error = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._new_frame()
        self._rest = b""

    def read(self, _size: int = -1) -> bytes:
        """The next bytes, as many as come; empty at the end.

        Raises:
            EOFError, ValueError: the content is cut off or broken.
        """
        try:
            while packed := self._rest or self._raw.read(_ZSTD_PIECE):
                if self._frame.eof:
                    self._frame = self._new_frame()
                out = self._frame.decompress(packed)
                self._rest = self._frame.unused_data if self._frame.eof else b""
                if out:
                    return out
        except self._error as error:
            raise ValueError(str(error)) from error
        if not self._frame.eof:
            raise EOFError("a frame without an end")
        return b""
