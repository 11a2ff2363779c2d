"""An empty database, kept ready: defining all tables, comments, views and macros takes DuckDB a quarter of a second.

It lies in the user's cache folder under the digest of all that is in it, so another version of perfkit or DuckDB makes
one of its own. Everything here is a convenience: where the folder cannot be written, databases are made step by step.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb


def copy_template(target: Path, statements: Sequence[str]) -> bool:
    """Put a database that holds `statements` at `target`, which does not exist yet. Returns whether that worked."""
    try:
        template = _folder() / f"empty-{_digest(statements)}.duckdb"
        if not template.exists():
            _make(template, statements)
        # Copied beside the target and moved there: a copy that breaks off must not look like a database.
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}-", delete=False) as copy:
            partial = Path(copy.name)
        try:
            shutil.copyfile(template, partial)
            partial.chmod(0o666 & ~_umask())
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, duckdb.Error):
        return False
    return True


def _make(template: Path, statements: Sequence[str]) -> None:
    template.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        fresh = Path(folder) / template.name
        with contextlib.closing(duckdb.connect(str(fresh))) as connection:
            connection.execute("BEGIN")
            for statement in statements:
                connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")
        fresh.rename(template)


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perfkit"


def _digest(statements: Sequence[str]) -> str:
    content = "\0".join([duckdb.__version__, *statements])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
