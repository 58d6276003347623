"""Cells on the nodes of a cluster: pilots train them, and their folders tell how they ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellPreparing,
    CellStarted,
    CellTold,
    WorkerEvent,
)
from fusion_bench.cells.executors.slurm.pool import PilotPool
from fusion_bench.cells.executors.slurm.work_list import PilotEnded
from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError

_ANSWERS = (CellPrepared, CellMeasured, CellFailed)


class SlurmExecutor:
    """Lists cells for pilots and yields what becomes of them. Use it as a context manager.

    Args:
        pool: the pilots, which live longer than this.
        runs: the runs folder.
        seeds: the seeds of cells that may take as long as those that are listed.
    """

    def __init__(self, pool: PilotPool, runs: Path, seeds: Sequence[int]) -> None:
        self._pool, self._runs, self._seeds = pool, runs, seeds

    def __enter__(self) -> SlurmExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: the pilots are the pool's."""

    def prepare(self, cells: Sequence[str], upcoming: Sequence[str] = ()) -> Iterator[WorkerEvent]:
        """Let one pilot make what cells need; pilots for the cells ``upcoming`` are submitted at once.

        The coordinator may run on a machine that must not compute, or that has no GPU; so it makes nothing.
        """
        yield from self._answers("prepare", cells, max(1, len(upcoming)))

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Let one pilot measure the latency of cells, one after another: on the kind of machine that trains."""
        yield from self._answers("measure", cells, 1)

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Let the pilots train cells, started in this order; yield their events until all have ended."""
        waiting = dict.fromkeys(cells)
        begun, reported = set[str](), dict[str, CellFinished]()
        self._pool.list_cells("cell", cells, self._seeds)
        next_scan, said = time.monotonic(), ""
        while True:
            for _, message in self._pool.messages():
                if isinstance(message, PilotEnded | CellBusy) or message.cell not in waiting:
                    continue
                if isinstance(message, CellFinished):
                    reported[message.cell] = message
                elif isinstance(message, CellFailed):
                    next_scan = time.monotonic()
                elif not isinstance(message, CellPrepared | CellMeasured):
                    if message.cell not in begun:
                        begun.add(message.cell)
                        yield CellStarted(message.cell)
                    if isinstance(message, CellTold):
                        self._pool.progressed()  # it goes on from a checkpoint
                    if not isinstance(message, CellStarted):  # of several pilots that want it, each says so
                        yield message
            scan = time.monotonic() >= next_scan
            for cell in list(waiting) if scan else [cell for cell in reported if cell in waiting]:
                if (end := self._end(cell, reported.get(cell))) is not None:
                    del waiting[cell]
                    self._pool.progressed()
                    yield end
            if scan:
                next_scan = time.monotonic() + self._pool.times.scan
            if not waiting:
                return
            try:
                self._pool.keep(len(waiting))
            except FusionBenchError:
                if all(self._end(cell, None) is None for cell in waiting):
                    raise
                next_scan = time.monotonic()  # the last pilots have ended more cells than was seen yet
            if not begun and self._pool.waiting not in {"", said}:
                said = self._pool.waiting
                yield CellPreparing("", said, 0, 0)
            time.sleep(self._pool.times.look)

    def _end(self, cell: str, reported: CellFinished | None) -> CellFinished | CellFailed | None:
        """Return how a cell ended, which its folder decides; None if it has not."""
        folder = cell_folder(self._runs, cell)
        if folder.done:
            if reported is not None:
                return reported
            result = folder.result()
            return CellFinished(cell, result.metrics, result.selection)
        failure = folder.failure_record
        return None if failure is None else CellFailed(cell, failure.reason, kind=failure.kind)

    def _answers(self, kind: str, cells: Sequence[str], pilots: int) -> Iterator[WorkerEvent]:
        """Yield the events of the pilot that prepares or measures cells, until each has an answer."""
        waiting, said = dict.fromkeys(cells), ""
        if not waiting:
            return
        work = self._pool.list_cells(kind, cells, self._seeds)
        while True:
            for name, message in self._pool.messages():
                if name != work.name or isinstance(message, PilotEnded):
                    continue
                if isinstance(message, _ANSWERS):
                    self._pool.progressed()
                    if message.cell in waiting:
                        del waiting[message.cell]
                        yield message
                else:
                    yield message
            if not waiting:
                return
            self._pool.keep(pilots)
            pilots = 1  # those that have nothing to do may end meanwhile
            if self._pool.waiting not in {"", said}:
                said = self._pool.waiting
                yield CellPreparing("", said, 0, 0)
            time.sleep(self._pool.times.look)
