"""The packages as users install them: built from the tree and from the sdist, the wheel must hold everything.

`src/perfkit` is a facade of links, and a wheel built where they point at nothing is empty without a word.
scripts/test-wheel.sh goes on from here: it installs the wheel in a clean environment and puts it to work.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.support import ROOT

import perfkit

FOLDERS = ("schema", "adapters", "ingest", "query", "agent", "cli")
DATA = {".py", ".sql", ".html", ".css", ".js", ".typed"}


def expected() -> set[str]:
    files = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in DATA}
    return {f"perfkit/{path.relative_to(ROOT)}" for path in files} | {"perfkit/__init__.py", "perfkit/py.typed"}


def build(source: Path, target: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.iterdir())


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "--sdist")


def test_the_wheel_built_from_the_tree_holds_everything(tmp_path: Path) -> None:
    assert contents(build(ROOT, tmp_path, "--wheel")) == expected()


def test_the_wheel_built_from_the_sdist_holds_everything(sdist: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path], check=True)  # Python 3.11.2 has no filters, 3.14 wants one
    (unpacked,) = tmp_path.iterdir()
    wheel = build(unpacked, tmp_path / "wheel", "--wheel")
    assert contents(wheel) == expected()
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).partition("/")[0]
        metadata = archive.read(f"{info}/METADATA").decode()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert f"\nVersion: {perfkit.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "perfkit = perfkit.cli.main:main" in scripts


def test_the_sdist_holds_the_documents_and_no_captures(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith(("fixtures/", "demo/", "bench/", ".venv/"))]
