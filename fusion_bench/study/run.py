"""Run a study: search, plan, prepare, train what is missing, measure. Everything done before is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from fusion_bench.cells.executors.executor import Executor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.warm_start import source_folder
from fusion_bench.cells.worker import Event
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.storage import lock, write_json
from fusion_bench.study.journal import Journal, Record
from fusion_bench.study.measure import measure_arms
from fusion_bench.study.observer import ObservedState, Observer, PlannedStatus
from fusion_bench.study.plan import CellStatus, PlannedCell, ask_all, cell_status, confirm_cells, write_plan
from fusion_bench.study.search import ArmSearch
from fusion_bench.study.search_results import make_searches, selection_metric, selection_value
from fusion_bench.training.cell_data import cell_data_key
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class RunOptions:
    """Whether failed cells are tried again and stale ones trained anew."""

    retry_failed: bool = False
    retry_stale: bool = False


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run leaves for the report.

    Attributes:
        arms: the study's arms, with the winners' settings after a search.
        cells: the cells that are compared; ``search_cells``: those that only chose settings.
        trained: how many cells this run trained.
    """

    arms: tuple[Arm, ...]
    cells: tuple[PlannedCell, ...]
    search_cells: tuple[PlannedCell, ...]
    trained: int


class StudyRun:
    """One run of a study. Only one at a time may hold the study's lock."""

    def __init__(
        self,
        study: Study,
        paths: RunPaths,
        executor: Callable[[], Executor],
        observer: Observer,
        options: RunOptions,
    ) -> None:
        self._study, self._paths, self._options = study, paths, options
        self._make_executor, self._observer = executor, observer
        self._folder = study_folder(paths.runs, study.name)
        self._metric = selection_metric(study)
        self._journal = Journal(
            self._folder / "journal.log", study.name, maximise=self._metric.higher_is_better
        )
        self._cells: list[PlannedCell] = []
        self._trained = 0

    def run(self) -> RunResult:
        """Do what is left to do.

        Raises:
            FusionBenchError: another run of the study is going on, or its data cannot be made or read.
        """
        try:
            with lock(self._folder / "lock", wait=False):
                return self._run()
        except filelock.Timeout as error:
            raise FusionBenchError(
                f"another run of the study {self._study.name!r} is going on in {self._paths.runs}; "
                "wait for it, or choose another folder with --runs"
            ) from error

    def _run(self) -> RunResult:
        try:
            with self._make_executor() as executor:
                arms, searching = self._search(executor)
                cells = confirm_cells(arms, self._study.seeds)
                self._bring_to_done(cells, executor)
            self._observer.preparing("measuring latency with nothing else running")
            measure_arms(arms, self._study.seeds, self._paths, self._folder / "measured.json")
        finally:
            self._observer.closed()
        write_plan(self._folder / "plan.json", self._study.name, [*searching, *cells])
        return RunResult(arms, cells, searching, self._trained)

    def _search(self, executor: Executor) -> tuple[tuple[Arm, ...], tuple[PlannedCell, ...]]:
        wanted = self._study.search
        if wanted is None:
            return self._study.arms, ()
        searches = make_searches(self._study, maximise=self._metric.higher_is_better)
        asked: list[PlannedCell] = []
        while not all(search.over for search in searches):
            batches = {search.arm.label: search.ask() for search in searches if not search.over}
            batch = [cell for cells in batches.values() for cell in cells]
            self._bring_to_done(batch, executor)
            self._check_answered(batch)
            asked += batch
            for search in searches:
                if search.arm.label in batches:
                    search.tell({cell.id: self._value(cell) for cell in batches[search.arm.label]})
        for search in searches:
            self._write_search_journal(search, [cell for cell in asked if cell.arm == search.arm.label])
        found = {
            search.arm.label: {"settings": dict(best[0]), "value": best[1], "trials": search.trials}
            for search in searches
            if (best := search.winner()) is not None
        }
        write_json(self._folder / "search.json", found)
        return tuple(search.confirmed() for search in searches), tuple(asked)

    def _check_answered(self, cells: Sequence[PlannedCell]) -> None:
        """A trial without result or failure (the disk is full) must not count: later ones would differ."""
        left = [cell for cell in cells if cell_status(cell, self._paths).state == "missing"]
        if left:
            raise FusionBenchError(
                f"the search cannot go on: {len(left)} of its cells have no result "
                f"({left[0].arm}, cell {left[0].id}); put right what is said about them and run again"
            )

    def _write_search_journal(self, search: ArmSearch, cells: Sequence[PlannedCell]) -> None:
        journal = Journal(
            self._folder / "search" / f"{search.arm.label}.log",
            f"{self._study.name}/{search.arm.label}",
            maximise=self._metric.higher_is_better,
        )
        journal.bring_in_line([self._record(cell, cell.drawn) for cell in cells])

    def _bring_to_done(self, cells: Sequence[PlannedCell], executor: Executor) -> None:
        """Train whichever of these cells is not done; failures are recorded and do not stop the rest."""
        ask_all(cells, self._paths.runs)
        self._cells += cells
        write_plan(self._folder / "plan.json", self._study.name, self._cells)
        statuses = [self._reopened(cell_status(cell, self._paths)) for cell in cells]
        self._observer.planned([*self._statuses(self._cells[: -len(cells)]), *map(_status, statuses)])
        self._journal.bring_in_line(self._records())
        todo = {item.cell.id: item.cell for item in statuses if item.state == "missing"}
        if not todo:
            return
        for cell in todo.values():
            source_folder(cell.config, self._paths.runs)  # raises before anything trains
        self._prepare(list(todo.values()), executor)
        for event in executor.run(list(todo)):
            self._relay(event)

    def _reopened(self, item: CellStatus) -> CellStatus:
        folder = cell_folder(self._paths.runs, item.cell.id)
        if item.cell.abandoned:
            return item
        if item.state == "failed" and self._options.retry_failed:
            folder.forget_failure()
            return replace(item, state="missing", reason="")
        if item.state == "stale" and self._options.retry_stale:
            folder.set_aside()
            return replace(item, state="missing", reason="")
        return item

    def _prepare(self, cells: Sequence[PlannedCell], executor: Executor) -> None:
        firsts = {cell_data_key(cell.config, shared=True): cell for cell in reversed(cells)}
        self._observer.preparing("making data, weights and cached maps")
        for event in executor.prepare([cell.id for cell in firsts.values()]):
            if event.kind == "failed":
                raise FusionBenchError(str(event.details["reason"]))

    def _relay(self, event: Event) -> None:
        details: Mapping[str, Any] = event.details
        if event.kind == "started":
            self._observer.started(event.cell)
        elif event.kind == "progressed":
            self._observer.progressed(
                event.cell,
                details["epoch"],
                details["epochs"],
                details["quantity"],
                details["value"],
                seconds_left=details["seconds_left"],
            )
        elif event.kind == "finished":
            self._trained += 1
            self._note(event.cell)
            self._observer.finished(event.cell, details["metrics"])
        elif event.kind == "failed":
            if details.get("died"):
                cell_folder(self._paths.runs, event.cell).fail(str(details["reason"]), "")
            self._note(event.cell)
            self._observer.failed(event.cell, str(details["reason"]))

    def _note(self, ended: str) -> None:
        """Add the trials of a cell that ended (two arms may be one cell) to the study's journal."""
        for cell in self._cells:
            if cell.id == ended and cell.purpose == "confirm":
                self._journal.add(self._confirm_record(cell))

    def _records(self) -> list[Record]:
        return [self._confirm_record(cell) for cell in self._cells if cell.purpose == "confirm"]

    def _confirm_record(self, cell: PlannedCell) -> Record:
        return self._record(cell, {"arm": cell.arm, **self._study.factors_of(cell.arm)})

    def _record(self, cell: PlannedCell, factors: Mapping[str, Any]) -> Record:
        if cell.abandoned:
            return Record(cell.id, cell.seed, factors, None, cell.abandoned)
        failure = cell_folder(self._paths.runs, cell.id).failure
        return Record(cell.id, cell.seed, factors, self._value(cell), failure)

    def _value(self, cell: PlannedCell) -> float | None:
        return selection_value(cell, self._paths.runs, self._metric.name)

    def _statuses(self, cells: Sequence[PlannedCell]) -> list[PlannedStatus]:
        return [_status(cell_status(cell, self._paths)) for cell in cells]


def study_folder(runs: Path, name: str) -> Path:
    """Where a study keeps its plan, journal and report."""
    return runs / "studies" / name


def _status(item: CellStatus) -> PlannedStatus:
    states: dict[str, ObservedState] = {
        "missing": "waiting",
        "done": "done",
        "failed": "failed",
        "stale": "stale",
    }
    cell = item.cell
    return PlannedStatus(cell.id, cell.arm, cell.seed, states[item.state], cell.purpose)
