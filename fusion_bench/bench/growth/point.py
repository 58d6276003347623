"""Measures one quantity at one size in a process of its own: ``python -m fusion_bench.bench.growth.point NAME SIZE``.

The process has the environment of a worker and prints the point as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
from dataclasses import asdict
from pathlib import Path

from fusion_bench.bench.growth.curve import Curve, GrowthPoint
from fusion_bench.bench.growth.quantities import QUANTITIES
from fusion_bench.bench.program import run_python
from fusion_bench.cells.executors.program import worker_environment
from fusion_bench.errors import FusionBenchError

_STATUS = Path("/proc/self/status")
_KIBIBYTES_A_MEBIBYTE = 1024


def measured_curve(name: str) -> Curve:
    """Return a curve; each of its points is measured in another process with one thread.

    Raises:
        FusionBenchError: a process failed.
    """
    quantity = QUANTITIES[name]
    return Curve(quantity.title, quantity.axis, tuple(_measured_apart(name, size) for size in quantity.sizes))


def _measured_apart(name: str, size: int) -> GrowthPoint:
    command = ["-m", "fusion_bench.bench.growth.point", name, str(size)]
    shown = run_python(command, f"the benchmark {name} at {size} failed", worker_environment(1))
    return GrowthPoint(**json.loads(shown.splitlines()[-1]))


def peak_mebibytes() -> float:
    """Return the largest memory that this process has had in MiB; NaN where the system does not tell (not Linux)."""
    lines = _STATUS.read_text(encoding="ascii").splitlines() if _STATUS.exists() else []
    peaks = [int(line.split()[1]) / _KIBIBYTES_A_MEBIBYTE for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else math.nan


def children_mebibytes() -> float:
    """Return the memory in MiB of the largest program that this process has run to its end."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / _KIBIBYTES_A_MEBIBYTE


def main() -> None:
    """Measure one point and print it on the last line of the output."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.bench.growth.point", description=__doc__)
    parser.add_argument("name", choices=QUANTITIES)
    parser.add_argument("size", type=int)
    given = parser.parse_args()
    quantity = QUANTITIES[given.name]
    before = peak_mebibytes()
    try:
        seconds = quantity.seconds(given.size)
    except FusionBenchError as error:
        sys.exit(str(error))
    mebibytes = children_mebibytes() if quantity.by_commands else peak_mebibytes() - before
    sys.stdout.write(json.dumps(asdict(GrowthPoint(given.size, seconds, mebibytes))) + "\n")


if __name__ == "__main__":
    main()
