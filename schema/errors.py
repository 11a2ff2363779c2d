"""Every failure perfkit reports, as one tree.

    PerfkitError
    ├── FormatError              a capture that cannot be used
    │   └── UnknownFormatError   no adapter recognises the input
    ├── SourceError              a path that cannot be read at all
    ├── SchemaError              an adapter broke the contract (a bug in perfkit or a plug-in)
    ├── StoreError               the database cannot serve
    │   ├── StoreBusyError       another process holds it
    │   ├── StoreVersionError    written by another version of perfkit
    │   └── NotAStoreError       a DuckDB file that is not perfkit's, or no DuckDB file
    ├── QueryError               a question that cannot be answered as asked
    ├── CaptureNotFoundError     a CAPTURE argument that matches nothing
    └── MissingToolError         a program or package that is not installed

Messages are complete sentences for people; `hint` says what to do next. Only `cli/` prints them.
"""

from __future__ import annotations

from pathlib import Path


class PerfkitError(Exception):
    """The root: `str(error)` is the message, `error.hint` the way on (may be empty)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # The default rebuilds from `args`, which loses keywords when a worker process sends the error home.
        return (_rebuild, (type(self), self.__dict__, self.args))


def _rebuild(kind: type[PerfkitError], state: dict[str, object], args: tuple[object, ...]) -> PerfkitError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class FormatError(PerfkitError):
    """A capture that cannot be used: where (byte `offset` from the file's start), what was expected, what was found."""

    def __init__(self, path: str | Path, offset: int | None, expected: str, found: str, *, hint: str = "") -> None:
        where = f"{path}" if offset is None else f"{path}: at byte {offset}"
        super().__init__(f"{where}: expected {expected}, found {found}.", hint=hint)
        self.path = str(path)
        self.offset = offset
        self.expected = expected
        self.found = found


class UnknownFormatError(FormatError):
    """No adapter recognises the input."""


class SourceError(PerfkitError):
    """A path that does not exist, is unreadable, or is empty of captures."""


class SchemaError(PerfkitError):
    """A batch that does not match the declared schema: a bug in the adapter named in the message."""


class StoreError(PerfkitError):
    """The database cannot serve this request."""


class StoreBusyError(StoreError):
    """Another process holds the database."""


class StoreVersionError(StoreError):
    """The database was written by another schema version."""


class NotAStoreError(StoreError):
    """The file is not a perfkit database."""


class QueryError(PerfkitError):
    """A question that cannot be answered as asked: bad SQL, an unknown saved query, a missing parameter."""


class CaptureNotFoundError(PerfkitError):
    """A CAPTURE argument that matches no capture, or several where one is needed."""


class MissingToolError(PerfkitError):
    """A program or package that this needs and this machine lacks; `hint` names what to install."""
