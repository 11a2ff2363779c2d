"""Terminal sessions in the documents: run again on the demo's capture, they must say what the documents say.

A session is a fenced block marked `console`: lines that begin with `$ ` are commands, which go on in lines that begin
with `> `, and what follows is their output. `perf record` is not run; `perf.data` is the demo's capture already. All
sessions of one document share a folder, so that a later one finds the database of an earlier.

`python -m tests.sessions` (part of `make docs`) writes the present output into the documents.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT, fixtures

DOCUMENTS = ("README.md", "docs/getting-started.md", "docs/sql.md", "docs/flamegraph.md")
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = re.compile(r"\s+\d+(\.\d+)?$", re.MULTILINE)


def rerun(text: str) -> str:
    """The document `text` with the output of its sessions as it is now; what only took another time is left alone."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(fixtures("demo", "perf.data"), folder)
        return _BLOCK.sub(lambda block: f"```console\n{''.join(_run_block(block[1], Path(folder)))}```", text)


def _run_block(block: str, folder: Path) -> Iterator[str]:
    for command, output in _steps(block):
        yield f"$ {command}"
        if command.startswith("perf record"):
            yield output
            continue
        said = _run(command.replace("\n> ", "\n"), folder)
        yield output if "ingest" in command and _SECONDS.sub(" ?", said) == _SECONDS.sub(" ?", output) else said


def _steps(block: str) -> Iterator[tuple[str, str]]:
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = step.splitlines(keepends=True)
        size = next((i for i, line in enumerate(lines) if i and not line.startswith("> ")), len(lines))
        yield "".join(lines[:size]), "".join(lines[size:])


def _run(command: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PERFKIT_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PERF_BUILDID_DIR": str(fixtures("demo", "symbols")),
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def main() -> None:
    """Bring the documents up to date."""
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text("utf-8")
        after = rerun(before)
        if after != before:
            path.write_text(after, "utf-8")
            sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
