"""The road of a capture: detect, read, name, validate, append.

    paths ──find──▶ captures ──read──▶ batches ──name──▶ batches ──▶ Store (one transaction a capture)

With several captures and several jobs, worker processes read and name, each into an Arrow file, and this process
appends them as they are done; with one job everything happens here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from perfkit.adapters.contract import Batch, IssueLog
from perfkit.adapters.registry import find_adapter
from perfkit.adapters.source import Source
from perfkit.ingest.digest import Digest
from perfkit.ingest.memory import keep_freed_memory
from perfkit.ingest.naming import name_frames
from perfkit.ingest.store import CaptureStamp, Store
from perfkit.ingest.symbols.symboliser import Symboliser, SymbolOptions
from perfkit.schema.database import fetch_one
from perfkit.schema.errors import FormatError, PerfkitError, SourceError

_TABLE_KEY = b"perfkit.table"


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How captures are read."""

    symbols: SymbolOptions = field(default_factory=SymbolOptions)
    again: bool = False
    """Add content that the database already has once more."""
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one path: a capture was added, was there already, or could not be read."""

    path: str
    capture_id: int | None = None
    is_known: bool = False
    error: PerfkitError | None = None
    seconds: float = 0.0


Progress = Callable[[str, int, int], None]
"""Called with the path, the bytes done and the bytes in all."""


def ingest(
    store: Store, paths: Sequence[str], options: IngestOptions, progress: Progress | None = None
) -> Iterator[Outcome]:
    """Ingest captures, one `Outcome` a path as each is done. A capture that fails leaves the database as it was."""
    keep_freed_memory()
    if options.jobs > 1 and len(paths) > 1 and "-" not in paths:
        yield from _ingest_parallel(store, paths, options, progress)
        return
    symboliser = Symboliser(options.symbols)
    for path in paths:
        yield _ingest_one(store, path, options, symboliser, progress)


def _ingest_one(
    store: Store, path: str, options: IngestOptions, symboliser: Symboliser, progress: Progress | None
) -> Outcome:
    started = time.perf_counter()
    try:
        with Source(path) as source:
            digest = Digest(source)
            if not options.again and (known := _find_known(store, source, digest)) is not None:
                return Outcome(path, known, is_known=True, seconds=time.perf_counter() - started)
            issues = IssueLog()
            batches = read_batches(source, symboliser, issues)
            if progress is not None:
                total = source.size
                source.on_progress = lambda done: progress(path, min(done, total), total)
            stamp = CaptureStamp(
                name=options.name or source.name,
                path=path if source.is_stdin else str(source.path.resolve()),
                sha256=digest.hexdigest,
                byte_count=source.size,
                run_id=options.run_id,
                labels=options.labels,
            )
            capture_id = store.add(batches, stamp)
    except PerfkitError as error:
        return Outcome(path, error=error, seconds=time.perf_counter() - started)
    except OSError as error:
        failed = SourceError(f"{path} cannot be read: {error.strerror or error}.")
        return Outcome(path, error=failed, seconds=time.perf_counter() - started)
    return Outcome(path, capture_id, seconds=time.perf_counter() - started)


def read_batches(source: Source, symboliser: Symboliser, issues: IssueLog) -> Iterator[Batch]:
    """All rows of a capture, named, its issues last.

    Raises:
        UnknownFormatError, FormatError: the source is no capture that can be used.
    """
    adapter = find_adapter(source)
    try:
        yield from name_frames(adapter.read(source, issues), symboliser, issues)
    except (ArithmeticError, LookupError, TypeError, ValueError, pa.ArrowException) as error:
        # Input that an adapter did not foresee must not end in a traceback; the adapter's own checks come first.
        raise FormatError(
            source.path, None, f"a sound {adapter.info.name} capture",
            f"content that its reader cannot handle ({type(error).__name__}: {error})",
            hint="If the tool itself can read the file, please report this with the file.",
        ) from error  # fmt: skip
    if len(issues):
        yield issues.to_batch()


def _find_known(store: Store, source: Source, digest: Digest) -> int | None:
    """The capture with this content. The digest is waited for only where some capture has this size."""
    row = fetch_one(store.connection, "SELECT 1 FROM capture WHERE byte_count = ? LIMIT 1", [source.size])
    return None if row is None else store.find(digest.hexdigest())


def _look_up(store: Store, path: str) -> int | None:
    """The capture with the content of a path; None also where it cannot be read, which reading it will report."""
    try:
        with Source(path) as source:
            return _find_known(store, source, Digest(source))
    except (OSError, PerfkitError):
        return None


def _ingest_parallel(
    store: Store, paths: Sequence[str], options: IngestOptions, progress: Progress | None
) -> Iterator[Outcome]:
    from concurrent.futures import Future, ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Workers are spawned: forking a process that runs DuckDB's threads may leave locks held for ever.
    with (
        tempfile.TemporaryDirectory(prefix="perfkit-", dir=store.path.parent) as folder,
        ProcessPoolExecutor(min(options.jobs, len(paths)), mp_context=get_context("spawn")) as pool,
    ):
        waiting: dict[Future[_Read], str] = {}
        for index, path in enumerate(paths):
            if not options.again and (known := _look_up(store, path)) is not None:
                yield Outcome(path, known, is_known=True)
                continue
            target = Path(folder) / str(index)
            waiting[pool.submit(_read_to_file, path, target, options.symbols)] = path
        for future in as_completed(waiting):
            path = waiting[future]
            try:
                read = future.result()
            except BrokenProcessPool:
                read = _Read(Path(folder), error=SourceError(
                    f"{path} was not read: a process that reads captures was killed.",
                    hint="The machine may be out of memory: try again with --jobs 1."))  # fmt: skip
            yield _append_result(store, path, read, options)
            if progress is not None:
                progress(path, read.byte_count, read.byte_count)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a worker sends home; the rows are in `target`, one Arrow stream after the other."""

    target: Path
    sha256: str = ""
    byte_count: int = 0
    error: PerfkitError | None = None
    seconds: float = 0.0


def _read_to_file(path: str, target: Path, symbols: SymbolOptions) -> _Read:
    started = time.perf_counter()
    keep_freed_memory()
    try:
        with Source(path) as source, pa.OSFile(str(target), "wb") as sink:
            digest = Digest(source)
            for table, data in read_batches(source, Symboliser(symbols), IssueLog()):
                schema = data.schema.with_metadata({_TABLE_KEY: table.encode()})
                with pa.ipc.new_stream(sink, schema) as writer:
                    writer.write_batch(data.cast(schema))
            return _Read(target, digest.hexdigest(), source.size, seconds=time.perf_counter() - started)
    except PerfkitError as error:
        return _Read(target, error=error)
    except OSError as error:
        return _Read(target, error=SourceError(f"{path}: {error.strerror or error}."))


def _append_result(store: Store, path: str, read: _Read, options: IngestOptions) -> Outcome:
    if read.error is not None:
        return Outcome(path, error=read.error)
    if not options.again and (known := store.find(read.sha256)) is not None:  # two of the paths are the same
        return Outcome(path, known, is_known=True)
    started = time.perf_counter()
    stamp = CaptureStamp(
        name=options.name or Path(path).name,
        path=str(Path(path).resolve()),
        sha256=read.sha256,
        byte_count=read.byte_count,
        run_id=options.run_id,
        labels=options.labels,
    )
    try:
        capture_id = store.add(_read_back(read.target), stamp)
    except PerfkitError as error:
        return Outcome(path, error=error)
    finally:
        read.target.unlink(missing_ok=True)
    return Outcome(path, capture_id, seconds=read.seconds + time.perf_counter() - started)


def _read_back(target: Path) -> Iterator[Batch]:
    with pa.memory_map(str(target)) as source:
        while source.tell() < source.size():
            with pa.ipc.open_stream(source) as reader:
                table = reader.schema.metadata[_TABLE_KEY].decode()
                for data in reader:
                    yield Batch(table, data.replace_schema_metadata(None))
