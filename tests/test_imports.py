"""Holds the modules to the rules of the house (ARCHITECTURE.md), by reading their syntax trees."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import ROOT

MAY_IMPORT = {
    "schema": set(),
    "adapters": {"schema"},
    "ingest": {"schema", "adapters"},
    "query": {"schema"},
    "agent": {"schema"},
    "cli": {"schema", "adapters", "ingest", "query", "agent"},
}
MAX_LINES = 400
LONG_FOR_A_REASON = {
    "schema/tables.py": "the declarations of all tables: a flat list, each entry read on its own",
}
HEAVY = {"numpy", "pyarrow", "duckdb"}

MODULES = sorted(path.relative_to(ROOT) for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
by_path = pytest.mark.parametrize("module", MODULES, ids=str)


def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text("utf-8"), str(module))


def imported(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    """The dotted names of what import statements among `nodes` load; `from a import b` is `a.b`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_folder_is_known() -> None:
    linked = {path.name for path in (ROOT / "src" / "perfkit").iterdir() if path.is_symlink()}
    assert linked == set(MAY_IMPORT)
    assert {module.parts[0] for module in MODULES} == set(MAY_IMPORT)


@by_path
def test_imports_run_one_way(module: Path) -> None:
    allowed = MAY_IMPORT[module.parts[0]] | {module.parts[0]}
    for name in imported(ast.walk(tree(module))):
        package, _, rest = name.partition(".")
        if package == "perfkit":
            folder = rest.partition(".")[0]
            assert folder in allowed or folder == "__version__", f"{module} imports {name}"


@pytest.mark.parametrize("module", [*MODULES, *TESTS], ids=str)
def test_no_import_by_a_bare_folder_name(module: Path) -> None:
    # It would work from the repository's root and nowhere else.
    assert not [name for name in imported(ast.walk(tree(module))) if name.partition(".")[0] in MAY_IMPORT]


@by_path
def test_the_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(tree(module)), f"{module} has no docstring"


def test_only_the_command_line_prints_or_exits() -> None:
    for module in MODULES:
        if module.parts[0] == "cli":
            continue
        calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
        names = {function.id for function in calls if isinstance(function, ast.Name)}
        assert not names & {"print", "input", "exit", "quit"}, module
        assert "sys.exit" not in {ast.unparse(function) for function in calls}, module


def test_commands_load_nothing_heavy_until_they_run() -> None:
    # `perfkit --help` imports every command; with one of these among their imports it would take seconds.
    for name in _loaded_by("perfkit.cli.main"):
        assert name.partition(".")[0] not in HEAVY, name


def _loaded_by(module: str, seen: set[str] | None = None) -> set[str]:
    """What importing a module of ours loads, by the imports at the top of it and of those of ours it loads."""
    seen = set() if seen is None else seen
    path = _path_of(module)
    if path is None or module in seen:
        return seen
    seen.add(module)
    body = ast.parse(path.read_text("utf-8")).body
    if module == "perfkit.cli.main":  # registering the commands is part of starting
        body = [*body, *(s for node in body if isinstance(node, ast.FunctionDef) for s in node.body)]
    for name in imported(body):
        target = name if _path_of(name) else name.rpartition(".")[0] or name
        if target.startswith("perfkit"):
            _loaded_by(target, seen)
        else:
            seen.add(target)
    return seen


def _path_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split(".")[1:])
    if module.partition(".")[0] != "perfkit" or base == ROOT:
        return None
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=str)
def test_files_stay_readable_in_one_sitting(path: Path) -> None:
    lines = len((ROOT / path).read_text("utf-8").splitlines())
    assert lines <= MAX_LINES or str(path) in LONG_FOR_A_REASON, f"{path} has {lines} lines; one concept a file"


@by_path
def test_no_regex_that_debians_python_gets_wrong(module: Path) -> None:
    # Python 3.11.2 loses matches of possessive groups and atomic groups that hold backtracking (gh-106052).
    literals = [node.value for node in ast.walk(tree(module)) if isinstance(node, ast.Constant)]
    texts = [value.decode("latin-1") if isinstance(value, bytes) else value for value in literals]
    found = [text for text in texts if isinstance(text, str) and re.search(r"\)[*+?]\+|\(\?>", text)]
    assert not found, f"{module}: {found}"


def test_dependencies_are_those_that_are_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {_distribution(requirement) for requirement in project["dependencies"]}
    packages = {name.partition(".")[0] for module in MODULES for name in imported(ast.walk(tree(module)))}
    used = {name.replace("_", "-") for name in packages - set(sys.stdlib_module_names) - {"perfkit"}}
    assert used == declared


def test_what_is_installed_is_pinned_for_ci() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {_distribution(item) for item in [*project["dependencies"], *project["optional-dependencies"]["dev"]]}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert wanted <= pinned


def _distribution(requirement: str) -> str:
    return requirement.partition(">")[0].partition("=")[0].strip().lower()
