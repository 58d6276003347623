"""What every executor offers, and how it starts a worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fusion_bench.cells.events import WorkerEvent
from fusion_bench.training.paths import RunPaths


class Executor(Protocol):
    """Prepares and trains cells and yields their events; a context manager that leaves no process behind."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *_: object) -> None: ...

    def prepare(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Make what cells need (data, weights, cached maps); yields `CellPrepared` or `CellFailed` for each."""
        ...

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Train cells, started in this order; yields their events until all have ended."""
        ...


@dataclass(frozen=True)
class WorkerSettings:
    """How to start workers: where things lie, how many at once, threads of each, weights kept or not."""

    paths: RunPaths
    workers: int
    threads: int
    keep_weights: bool = False

    def command(self) -> list[str]:
        """The one program that every executor starts."""
        paths = self.paths
        command = [sys.executable, "-m", "fusion_bench.study.worker", "--runs", str(paths.runs)]
        command += ["--device", paths.device, "--data-workers", str(paths.workers)]
        for name, root in paths.roots.items():
            command += ["--data", f"{name}={root}"]
        for sha256, file in paths.weight_files.items():
            command += ["--weights", f"{sha256}={file}"]
        return command + (["--keep-weights"] if self.keep_weights else [])

    def environment(self) -> dict[str, str]:
        """Threads must be fixed before torch is imported; passive waiting keeps OpenMP from burning cores."""
        threads = str(self.threads)
        return {
            # glibc would hand every large block back to the system and fault it in again at the next step.
            "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
            "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONUNBUFFERED": "1",
        }
