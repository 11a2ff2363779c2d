"""The digest by which the same content is recognised again."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from perfkit.adapters.source import Source

_BLOCK_BYTES = 1 << 20


class Digest:
    """SHA-256 of a source, computed beside other work: hashing needs no interpreter lock.

    A folder's digest is over the names, sizes and contents of its files in the order of their names.

    Raises:
        FormatError: the content cannot be unpacked.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self._error: OSError | None = None
        if not source.is_dir:
            _ = source.file  # unpacked here, so that two threads do not both do it
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hexdigest(self) -> str:
        """The digest, once it is there.

        Raises:
            OSError: the content could not be read.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._hash.hexdigest()

    def _run(self) -> None:
        try:
            if not self._source.is_dir:
                self._add(self._source.file)
                return
            root = self._source.path
            for path in sorted(p for p in root.rglob("*") if p.is_file()):
                self._hash.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
                self._add(path)
        except OSError as error:
            self._error = error

    def _add(self, path: Path) -> None:
        buffer = bytearray(_BLOCK_BYTES)
        view = memoryview(buffer)
        with open(path, "rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                self._hash.update(view[:count])
