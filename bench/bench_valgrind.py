"""callgrind.out and cachegrind.out: ingest against callgrind_annotate and cg_annotate.

The captures are of the C++ compiler at work on a file full of templates, with `--dump-instr=yes` for callgrind.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from harness import DATA, Contender, race

_HEADERS = {
    "small": ("vector",),
    "medium": ("map", "string", "vector", "iostream", "regex", "algorithm", "functional"),
    "large": ("map", "string", "vector", "iostream", "regex", "algorithm", "functional", "future", "filesystem"),
}
_BODY = """
int main() {
  std::map<std::string, std::vector<int>> m;
  std::regex r("a+b");
  for (int i = 0; i < 10; i++) m[std::to_string(i)].push_back(i);
  std::cout << m.size() << std::regex_match("aab", r);
}
"""
_TOOLS = {
    "callgrind": (["--dump-instr=yes"], "callgrind_annotate"),
    "cachegrind": (["--cache-sim=yes", "--branch-sim=yes"], "cg_annotate"),
}


def run(size: str, runs: int) -> None:
    """Race on captures of the given size."""
    perfkit = str(Path(sysconfig.get_path("scripts")) / "perfkit")
    for tool, (options, annotate) in _TOOLS.items():
        capture = _record(tool, options, size)
        database = DATA / f"{size}.{tool}.duckdb"
        print(f"\n# {tool}: {capture.stat().st_size / 1e6:.0f} MB")
        ingest = Contender(
            "perfkit ingest",
            [perfkit, "ingest", "--jobs", "1", "--db", str(database), str(capture)],
            before=["rm", "-f", str(database)],
        )
        race("ingest, to committed DuckDB, one core", [ingest, Contender(annotate, [annotate, str(capture)])], runs)


def _record(tool: str, options: list[str], size: str) -> Path:
    DATA.mkdir(parents=True, exist_ok=True)
    capture = DATA / f"{size}.{tool}.out"
    if not capture.exists():
        source = DATA / f"{size}.cpp"
        body = _BODY if size != "small" else "int main() { std::vector<int> v{1}; }"
        source.write_text("".join(f"#include <{header}>\n" for header in _HEADERS[size]) + body)
        compiler = ["g++", "-O2", "-g", "-S", "-o", "/dev/null", "-wrapper"]
        wrapper = ",".join(["valgrind", "-q", f"--tool={tool}", f"--{tool}-out-file={capture}", *options])
        print(f"recording {capture}: this takes minutes …", file=sys.stderr)
        subprocess.run([*compiler, wrapper, str(source)], check=True)
    return capture
