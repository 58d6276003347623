"""The interface of executors, and the command with which they start workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fusion_bench.cells.events import WorkerEvent
from fusion_bench.limits import Limits
from fusion_bench.training.paths import RunPaths

Wanted = Callable[[str], bool]
"""Says whether a cell, by its id, is still to be trained."""


class Executor(Protocol):
    """Prepares and trains cells and yields their events; a context manager that leaves no process behind."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *_: object) -> None: ...

    def prepare(self, cells: Sequence[str], upcoming: Sequence[str] = ()) -> Iterator[WorkerEvent]:
        """Make the data, weights and cached maps that cells need; yield `CellPrepared` or `CellFailed` for each.

        Args:
            cells: one cell for each kind of data.
            upcoming: the cells that `run` will train next; their workers may start meanwhile.
        """
        ...

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Train cells, started in this order but for the last; yield their events until all have ended."""
        ...

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Measure the latency of cells while nothing else runs; yield `CellMeasured` or `CellFailed` for each."""
        ...


@dataclass(frozen=True)
class WorkerSettings:
    """How to start workers.

    Attributes:
        paths: where runs, data and weights lie.
        workers: how many work at the same time.
        threads: torch's threads in each.
        keep_weights: whether cells keep their trained weights.
        limits: what each cell may take.
    """

    paths: RunPaths
    workers: int
    threads: int
    keep_weights: bool = False
    limits: Limits = field(default_factory=Limits)

    def command(self) -> list[str]:
        """Return the command line of a worker, the same for every executor."""
        paths = self.paths
        command = [sys.executable, "-m", "fusion_bench.study.worker", "--runs", str(paths.runs)]
        command += ["--device", paths.device, "--data-workers", str(paths.workers)]
        for name, root in paths.roots.items():
            command += ["--data", f"{name}={root}"]
        for sha256, file in paths.weight_files.items():
            command += ["--weights", f"{sha256}={file}"]
        return command + (["--keep-weights"] if self.keep_weights else [])

    def environment(self) -> dict[str, str]:
        """Return the environment of a worker."""
        return worker_environment(self.threads)


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of a program that trains with this number of threads.

    The number of threads must be set before torch is imported. Waiting OpenMP threads must not occupy cores.
    """
    return {
        # Otherwise glibc returns every large block to the system and requests it again at the next step.
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }
