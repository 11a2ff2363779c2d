"""Every command explains itself, every example in a help runs, and the help comes at once."""

from __future__ import annotations

import re
import resource
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.cli.program import run
from tests.support import ROOT

from perfkit.cli.docs import command_helps
from perfkit.cli.main import _register, app

HELPS = command_helps()
EXAMPLE = re.compile(r"^\s*(?:Example: )?(\S.*\| perfkit .*|perfkit .*)$")
EXAMPLES = [
    (name, match[1]) for name, text in HELPS.items() for line in text.splitlines() if (match := EXAMPLE.match(line))
]
HELP_SECONDS = 0.15


def commands() -> dict[str, typer.core.TyperCommand]:
    _register()
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", HELPS)
def test_a_command_is_documented(name):
    command = commands()[name]
    assert command.help
    assert command.help.strip().split("\n\n")[0].endswith("."), "a sentence first"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
    assert name in {example for example, _ in EXAMPLES}, f"{name} has no example"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the examples suppose it: captures, an application, a database of two captures, perf on the PATH."""
    folder = tmp_path_factory.mktemp("demo")
    capture = ROOT / "fixtures" / "demo" / "perf.data"
    (folder / "traces").mkdir()
    for target in (folder / "perf.data", folder / "traces" / "perf.data"):
        shutil.copy(capture, target)
    program(folder / "bin" / "perfkit", f'exec {shlex.quote(sys.executable)} -m perfkit.cli.main "$@"')
    # Recording needs rights that tests may lack; what it would have written is here.
    program(folder / "bin" / "perf", f"exec cat {shlex.quote(str(capture))}")
    program(folder / "app", "exec true")
    (folder / "sysroot").mkdir()
    for again in ([], ["--again"]):
        assert run("ingest", "perf.data", *again, cwd=folder).code == 0
    return folder


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_an_example_runs(demo, tmp_path, name, example):
    folder = tmp_path / "demo"
    shutil.copytree(demo, folder)
    if "|" in example:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f'PATH="$PWD/bin:$PATH"; {example}'],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        program_name, *arguments = shlex.split(example)
        assert program_name == "perfkit"
        result = run(*arguments, cwd=folder)
        code, out, err = result.code, result.text, result.err
    assert code == 0, err
    assert "Traceback" not in err
    written = {path.name for path in folder.iterdir()} - {path.name for path in demo.iterdir()}
    assert out or err or written, "an example shows something"


def test_commands_stand_in_the_main_help():
    text = run("--help", cwd=ROOT).text
    for name in HELPS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
        assert "..." not in line, f"the first sentence of {name}'s help is too long for the list"


def test_the_help_comes_at_once():
    def cpu_seconds(*command: str) -> float:
        """The least of several runs: what disturbs a run only ever adds to it."""
        times = []
        for _ in range(7):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        return min(times)

    nothing = cpu_seconds(sys.executable, "-c", "pass")
    assert cpu_seconds(sys.executable, "-m", "perfkit.cli.main", "--help") - nothing < HELP_SECONDS


@pytest.mark.parametrize("arguments", [["--help"], ["query", "--list"], ["query", "SELECT 1"]], ids=" ".join)
def test_nothing_heavy_is_loaded_without_need(arguments, demo):
    heavy = "numpy pyarrow rich pydantic" + (" duckdb" if "SELECT 1" not in arguments else "")
    code = (
        "import atexit, sys; from perfkit.cli.main import main; sys.argv[0] = 'perfkit';"
        f"atexit.register(lambda: print('LOADED', [m for m in {heavy.split()} if m in sys.modules], file=sys.stderr));"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=demo, capture_output=True, text=True, check=True
    )
    assert "LOADED []" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes(shell, tmp_path):
    script = subprocess.run(
        [sys.executable, "-m", "perfkit.cli.main", "--show-completion", shell],
        capture_output=True, text=True, check=False,
        env={"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert script.returncode == 0
    assert f"complete_{shell}" in script.stdout


def test_completion_knows_the_commands(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'perfkit'; from perfkit.cli.main import main; main()"],
        capture_output=True, text=True, check=False,
        env={"_PERFKIT_COMPLETE": "complete_bash", "COMP_WORDS": "perfkit ", "COMP_CWORD": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert set(HELPS) <= set(done.stdout.split())
