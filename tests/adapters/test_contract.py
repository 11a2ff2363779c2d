"""What the contract asks of every adapter, on every capture that ships with perfkit and on some of those beside it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from tests.adapters.integrity import check_batches, check_time_order, read_checked
from tests.support import FIXTURES, ROOT

from perfkit.adapters.contract import Adapter, IssueLog
from perfkit.adapters.registry import adapters, find_adapter
from perfkit.adapters.source import Source
from perfkit.ingest.pipeline import read_batches
from perfkit.ingest.symbols.symboliser import Symboliser, SymbolOptions
from perfkit.schema.errors import FormatError, SourceError, UnknownFormatError
from perfkit.schema.tables import TABLES

CAPTURES = Path(os.environ.get("PERFKIT_CAPTURES") or ROOT.parent / "shared" / "captures")
_PER_ADAPTER = 3
_MAX_BYTES = 60_000


def adapter_of(path: Path) -> Adapter | None:
    try:
        with Source(path) as source:
            return find_adapter(source)
    except (FormatError, SourceError):
        return None


@cache
def inputs() -> tuple[Path, ...]:
    """All captures in fixtures/, and of those beside the repository the smallest few of each format."""
    shipped = [path for path in sorted(FIXTURES.rglob("*")) if path.suffix != ".md"]
    found = [path for path in shipped if (path.is_file() or (path / "data").exists()) and adapter_of(path)]
    found = [path for path in found if path.parent not in found]
    beside = [path for path in CAPTURES.rglob("*") if path.is_file() and 0 < path.stat().st_size < _MAX_BYTES]
    counts: Counter[str] = Counter()
    for path in sorted(beside, key=lambda path: (path.stat().st_size, str(path))):
        adapter = adapter_of(path)
        if adapter is not None and counts[adapter.info.name] < _PER_ADAPTER:
            counts[adapter.info.name] += 1
            found.append(path)
    return tuple(found)


def name_of(path: Path) -> str:
    return str(path.relative_to(FIXTURES if path.is_relative_to(FIXTURES) else CAPTURES))


ALL = [pytest.param(path, id=name_of(path)) for path in inputs()]
FILES = [pytest.param(path, id=name_of(path)) for path in inputs() if path.is_file()]


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_every_adapter_has_an_input():
    if not CAPTURES.exists():
        pytest.skip(f"{CAPTURES.name} is not here")
    found = {adapter.info.name for path in inputs() if (adapter := adapter_of(path)) is not None}
    assert found == {adapter.info.name for adapter in adapters()}


def test_adapters_say_what_they_are():
    names = [adapter.info.name for adapter in adapters()]
    assert len(set(names)) == len(names)
    for adapter in adapters():
        info = adapter.info
        assert all((info.name, info.tool, info.formats, info.yields, info.clock)), info.name
        assert info.specification.startswith("https://"), info.name
        tables = {table for table in info.yields if not table.startswith("event.")}
        assert tables <= TABLES.keys(), info.name


@pytest.mark.parametrize("path", ALL)
def test_what_is_read_holds_together(path: Path):
    tables = read_checked(path)
    assert tables is not None
    check_time_order(tables)


@pytest.mark.parametrize("path", ALL)
def test_only_the_tables_that_were_announced(path: Path):
    adapter = adapter_of(path)
    tables = read_checked(path)
    assert adapter is not None
    assert tables is not None
    patterns = [name.removesuffix("*") for name in adapter.info.yields if name.endswith("*")]
    for table in tables.keys() - {"import_issue", *adapter.info.yields}:
        assert any(table.startswith(pattern) for pattern in patterns), table


@pytest.mark.parametrize("path", FILES)
def test_the_name_does_not_matter(path: Path, tmp_path: Path):
    nameless = tmp_path / "x"
    nameless.write_bytes(path.read_bytes())
    first, second = adapter_of(path), adapter_of(nameless)
    assert first is second
    one, other = read_checked(path), read_checked(nameless)
    assert one is not None
    assert other is not None
    assert {name: table.num_rows for name, table in one.items()} == {name: t.num_rows for name, t in other.items()}


@pytest.mark.parametrize("path", FILES)
def test_no_adapter_raises_at_the_sight_of_another_s_input(path: Path, tmp_path: Path):
    content = path.read_bytes()
    for size in (0, 1, 7, 8, 50, 1000, len(content)):
        cut = tmp_path / "cut"
        cut.write_bytes(content[:size])
        for adapter in adapters():
            with Source(cut) as source:
                assert adapter.sniff(source) in {True, False}


@pytest.mark.parametrize("path", FILES)
def test_damage_ends_in_a_sentence(path: Path, tmp_path: Path):
    """Cut and flipped, and read by the adapter itself: nothing but FormatError, and rows that hold together."""
    adapter = adapter_of(path)
    content = path.read_bytes()
    random = Random(len(content))
    target = tmp_path / "damaged"
    for _ in range(8):
        target.write_bytes(content[: random.randrange(len(content))])
        read_checked(target, adapter)
    for _ in range(8):
        damaged = bytearray(content)
        for _ in range(random.choice([1, 5, 100])):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        target.write_bytes(damaged)
        read_checked(target, adapter)


@pytest.mark.parametrize("path", FILES)
def test_damage_ends_in_a_sentence_on_the_whole_road(path: Path, tmp_path: Path):
    content = path.read_bytes()
    random = Random(len(content))
    target = tmp_path / "damaged"
    options = SymbolOptions(symfs=tmp_path, use_debug_dirs=False, build_id_cache=tmp_path, cache_dir=tmp_path)
    for step in range(6):
        damaged = bytearray(content[: random.randrange(len(content))] if step % 2 else content)
        for _ in range(20 if damaged else 0):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        target.write_bytes(damaged)
        issues = IssueLog()
        try:
            with Source(target) as source:
                batches = list(read_batches(source, Symboliser(options), issues))
        except FormatError as error:
            assert "cannot handle" not in str(error)  # noqa: PT017 - the road's last resort must not be needed
            continue
        check_batches([item for item in batches if item.table != "import_issue"], issues)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\n", b"\xff" * 100_000, b"a" * 100_000, b"{", b"<", b"[[[[" * 20_000]
)
def test_content_that_is_nothing(content: bytes, tmp_path: Path):
    path = tmp_path / "perf.data"
    path.write_bytes(content)
    with Source(path) as source, pytest.raises(UnknownFormatError):
        find_adapter(source)
    for adapter in adapters():
        read_checked(path, adapter)
