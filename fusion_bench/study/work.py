"""A pilot: it trains cells of a study until none is left for it. Any number of pilots share one runs folder.

A pilot needs no coordinator. The folders of the cells decide which one it takes: a cell that is done, failed or held
by another process is left alone. A cell whose holder is lost becomes free when its lease does, and a pilot that waits
for it takes it over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellPreparing,
    WorkerEvent,
)
from fusion_bench.cells.executors.executor import Executor, Wanted
from fusion_bench.cells.executors.time_limit import TimeLimit, TimesTaken
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import record_failure
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import cell_statuses
from fusion_bench.study.observer import Observer, RunClosed, RunPlanned, RunPreparing
from fusion_bench.study.plan import PlannedCell, confirm_cells, write_configs
from fusion_bench.study.preparation import prepare_cells
from fusion_bench.study.searching.search_results import selection_metric
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True, eq=False)
class Pilot:
    """Trains what is left of a study.

    Attributes:
        study: the study.
        paths: where runs, data and weights lie.
        executor: makes what trains cells; it gets the functions that say which are still to be trained, and whether
            the time is over.
        observer: is notified of every event.
        limit: no cell is begun that would not end in time, judged by finished cells that differ in the seed only.
        counts: how many of the study's seeds each arm has (`AskedSeeds.counts`); None for all of them.
    """

    study: Study
    paths: RunPaths
    executor: Callable[[Wanted, Callable[[], bool]], Executor]
    observer: Observer
    limit: TimeLimit = field(default_factory=TimeLimit)
    counts: Mapping[str, int] | None = None
    _taken: TimesTaken = field(default_factory=TimesTaken)

    def work(self) -> int:
        """Train cells until each cell of the study is done or failed, or the time is over.

        Returns:
            How many cells ended with a result.

        Raises:
            FusionBenchError: the study has a search, or its data cannot be made or read.
        """
        if self.study.search is not None:
            raise FusionBenchError(
                f"the study {self.study.name!r} has a search, whose trials depend on each other: train it with "
                "fusion-bench run"
            )
        asked = confirm_cells(self.study.arms, self.study.seeds, self.counts)
        cells = {cell.id: cell for cell in asked if not cell.abandoned}
        write_configs(list(cells.values()), self.paths.runs)
        statuses = cell_statuses(list(cells.values()), self.paths)
        self.observer.notify(RunPlanned(statuses, selection_metric(self.study).name))
        todo = [status.cell for status in statuses if status.state == "missing"]
        trained = 0
        try:
            with self.executor(lambda cell: self._is_wanted(cells[cell]), self.limit.over) as executor:
                prepare_cells([cell for cell in todo if self._is_wanted(cell)], executor, self.observer)
                for event in executor.run([cell.id for cell in todo]):
                    trained += isinstance(event, CellFinished)
                    self._tell(event)
        finally:
            self.observer.notify(RunClosed())
        return trained

    def _is_wanted(self, cell: PlannedCell) -> bool:
        folder = cell_folder(self.paths.runs, cell.id)
        return not folder.done and folder.failure is None and self.limit.leaves(self._seconds(cell))

    def _seconds(self, cell: PlannedCell) -> float:
        """Return the longest time of a finished cell that differs in the seed only; 0 if there is none."""
        if self.limit.ends == float("inf"):
            return 0.0
        return self._taken.of_alike(self.paths.runs, cell.config, self.study.seeds)

    def _tell(self, event: WorkerEvent) -> None:
        if isinstance(event, CellPreparing):
            self.observer.notify(RunPreparing(event.what, event.done, event.total))
        elif not isinstance(event, CellPrepared | CellMeasured | CellBusy):
            self.observer.notify(event)
        if isinstance(event, CellFailed) and event.worker_died:
            failure = Failure(event.reason, kind=event.kind)
            record_failure(cell_folder(self.paths.runs, event.cell), failure)
