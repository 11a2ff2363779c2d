"""What can be read: files, folders, packed content; and what cannot, in a sentence."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import HEAD_SIZE, Source
from perfkit.schema.errors import FormatError, SourceError, UnknownFormatError

CONTENT = bytes(range(256)) * 1000
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_packed_content_is_plain_to_adapters(packer: str, tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(PACKERS[packer](CONTENT))
    with Source(path) as source:
        assert source.head == CONTENT[:HEAD_SIZE]
        assert source.size == len(CONTENT)
        with source.open() as stream:
            assert stream.read() == CONTENT
        unpacked = source.file
    assert (packer == "plain") == unpacked.exists()  # what was unpacked is gone


@pytest.mark.parametrize("damage", ["cut", "flipped"])
@pytest.mark.parametrize("packer", [name for name in PACKERS if name != "plain"])
def test_a_broken_packing_is_named(packer: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    packed = bytearray(PACKERS[packer](b"".join(b"%d" % (number**3) for number in range(60_000))))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    else:
        packed[len(packed) // 2 : len(packed) // 2 + 200] = b"\xff" * 200
    path = tmp_path / "x"
    path.write_bytes(packed)
    with Source(path) as source:
        assert source.head == b""
        with pytest.raises(FormatError, match=f"expected a whole {packer} stream"):
            _ = source.size
        with pytest.raises(FormatError, match=f"expected a whole {packer} stream"):
            find_adapter(source)
    assert not list((tmp_path / "temporary").iterdir())


def test_what_is_not_there_or_no_file(tmp_path: Path):
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        Source(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        Source(tmp_path / "pipe")


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "secret"
    path.write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)  # root may read everything
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        Source(path)


@pytest.mark.parametrize("content", [b"", b"\0", b"PERF", b"\n", os.urandom(1000), b"\xff" * 70_000])
def test_content_of_no_known_format(content: bytes, tmp_path: Path):
    path = tmp_path / "perf.data"
    path.write_bytes(content)
    with Source(path) as source, pytest.raises(UnknownFormatError, match="expected a capture of a known format"):
        find_adapter(source)


def test_a_folder_of_junk(tmp_path: Path):
    for name in ("data", "data.0", "header", "x"):
        (tmp_path / name).write_bytes(os.urandom(100))
    (tmp_path / "dangling").symlink_to("nowhere")
    with Source(tmp_path) as source, pytest.raises(UnknownFormatError, match="a folder of 5 entries"):
        find_adapter(source)
