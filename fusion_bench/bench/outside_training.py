"""The wall time of a run of a study outside the training of its cells: starting, making data, report, MLflow.

The study itself runs, with its own data, arms and seeds, and with networks so small that its cells take seconds. So
everything but training takes as long as it does in a real run, with one exception: how long a worker waits for the
last cell of another one depends on the real cells.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fusion_bench.bench.program import run_python
from fusion_bench.bench.targets import Line
from fusion_bench.cells.folder import CellFolder

_SECONDS, _WORKERS = 45.0, 2
SMALL_NETWORKS = (
    "fusion.width=16",
    "fusion.depth=1",
    "text={encoder: gru, embedding: 8, hidden: 8}",
    "train.epochs=1",
    "train.batch_size=512",
)
"""Changes to a study after which its cells take seconds."""


@dataclass(frozen=True)
class RunTime:
    """The wall time of a run.

    Attributes:
        seconds: of the whole run.
        cells: the seconds of each of its cells, training and evaluation.
        workers: how many cells ran at once.
    """

    seconds: float
    cells: Sequence[float]
    workers: int

    @property
    def outside(self) -> float:
        """The seconds that are left if all workers train all the time."""
        return self.seconds - sum(self.cells) / self.workers


def measure_outside_training(study: Path, overrides: Sequence[str] = SMALL_NETWORKS) -> Line:
    """Return the wall time of a study's run, MLflow included, less that of its cells.

    Raises:
        FusionBenchError: the run failed.
    """
    found = run_time(study, overrides, _WORKERS)
    item = f"fusion-bench run {study}, {_WORKERS} workers"
    return Line(item, "wall time outside training", _SECONDS, "lower", found.outside, "s")


def run_time(study: Path, overrides: Sequence[str], workers: int) -> RunTime:
    """Run a study in a folder of its own, which is removed afterwards, and return how long that took.

    Raises:
        FusionBenchError: the run failed.
    """
    with TemporaryDirectory() as folder:
        options = [option for change in overrides for option in ("--set", change)]
        command = [
            "-m",
            "fusion_bench",
            "run",
            str(study),
            "--runs",
            folder,
            "--workers",
            str(workers),
            *options,
        ]
        began = time.perf_counter()
        run_python(command, f"the run of {study} failed", _environment())
        seconds = time.perf_counter() - began
        cells = [CellFolder(cell).timing().seconds for cell in sorted((Path(folder) / "cells").iterdir())]
    return RunTime(seconds, cells, workers)


def _environment() -> Mapping[str, str]:
    """Return the environment of this process but for the address of an MLflow server."""
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
