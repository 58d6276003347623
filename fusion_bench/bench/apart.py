"""Runs one group of benchmarks in a process of its own: ``python -m fusion_bench.bench.apart GROUP [--quick]``.

The process has the environment of a worker, which must be set before it starts, and prints its lines as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from fusion_bench.bench.groups import load_group
from fusion_bench.bench.program import run_python
from fusion_bench.bench.targets import Line
from fusion_bench.cells.executors.program import worker_environment
from fusion_bench.errors import FusionBenchError


def measured_apart(group: str, *, quick: bool) -> list[Line]:
    """Return the lines of a group, measured in another process with one thread.

    Raises:
        FusionBenchError: the process failed.
    """
    command = ["-m", "fusion_bench.bench.apart", group, *(["--quick"] if quick else [])]
    shown = run_python(command, f"the benchmarks {group} failed", worker_environment(1))
    return [Line(**values) for values in json.loads(shown.splitlines()[-1])]


def main() -> None:
    """Measure one group and print its lines on the last line of the output."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.bench.apart", description=__doc__)
    parser.add_argument("group")
    parser.add_argument("--quick", action="store_true", help="a short form, which is less precise")
    given = parser.parse_args()
    try:
        lines = load_group(given.group)(given.quick)
    except FusionBenchError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps([asdict(line) for line in lines]) + "\n")


if __name__ == "__main__":
    main()
