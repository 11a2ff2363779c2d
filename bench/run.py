"""Runs the benches: perfkit against its peers, on the same file, in turn, as ratios of medians.

python bench/run.py [perf …] [--size small|medium|large] [--runs N]
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

BENCHES = {"perf": "bench_perf", "valgrind": "bench_valgrind"}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help="which benches [default: all]")
    parser.add_argument("--size", default="medium", choices=["small", "medium", "large"], help="~20 MB, ~200 MB, ~1 GB")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each program")
    arguments = parser.parse_args()
    for name in arguments.bench or BENCHES:
        importlib.import_module(BENCHES[name]).run(arguments.size, arguments.runs)


if __name__ == "__main__":
    main()
