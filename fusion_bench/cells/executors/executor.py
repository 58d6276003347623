"""The interface of executors, and the command with which they start workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from fusion_bench.cells.events import WorkerEvent
from fusion_bench.cells.executors.program import Command, worker_environment
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
        devices: the devices that the workers share evenly; empty: all work on ``paths.device``.
    """

    paths: RunPaths
    workers: int
    threads: int
    keep_weights: bool = False
    limits: Limits = field(default_factory=Limits)
    devices: tuple[str, ...] = ()

    def on(self, device: str) -> WorkerSettings:
        """Return the settings of a worker on one device."""
        return replace(self, paths=replace(self.paths, device=device), devices=())

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

    def start(self) -> Command:
        """Return how a worker is started on this host."""
        return Command(self.command(), self.environment())
