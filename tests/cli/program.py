"""Runs `perfkit` as its entry point does, in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from perfkit.cli.main import main


@dataclass(frozen=True)
class Result:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(*arguments: str, cwd: Path, stdin: bytes = b"", is_terminal: bool = False, columns: int = 80) -> Result:
    """What the program printed, and its exit code. As a terminal, stdin and stdout are one of `columns` columns."""
    kind = Terminal if is_terminal else io.TextIOWrapper
    out, err = kind(io.BytesIO(), "utf-8"), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.multiple(
            sys, argv=["perfkit", *arguments], stdin=kind(io.BytesIO(stdin), "utf-8"), stdout=out, stderr=err
        ),
        mock.patch.dict("os.environ", {"COLUMNS": str(columns)}),
    ):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    out.flush()
    return Result(code, out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]
