"""One run of a study: search, plan, prepare, train the missing cells, measure. Finished cells are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from fusion_bench.cells.current_inputs import CurrentInputs
from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellPreparing,
    CellSilent,
    WorkerEvent,
)
from fusion_bench.cells.executors.executor import Executor
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import held, record_failure
from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import Lease, LeaseHeld
from fusion_bench.serialisation import to_json
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.storage import sweep_parts, write_json
from fusion_bench.study.cell_status import (
    CellState,
    CellStatus,
    cell_statuses,
    recorded_state,
    would_be_the_same,
)
from fusion_bench.study.journal import Journal
from fusion_bench.study.measure import Measured, measure_arms
from fusion_bench.study.observer import Observer, RunClosed, RunPlanned, RunPreparing
from fusion_bench.study.plan import AskedSeeds, PlannedCell, confirm_cells, write_configs, write_plan
from fusion_bench.study.preparation import prepare_cells
from fusion_bench.study.searching.search import ArmSearch
from fusion_bench.study.searching.search_journal import update_search_journal
from fusion_bench.study.searching.search_results import (
    SearchResult,
    drawn_before,
    finished_searches,
    make_searches,
    selection_metric,
    selection_value,
)
from fusion_bench.study.trials.details import details_of
from fusion_bench.study.trials.distributions import merged_spaces
from fusion_bench.study.trials.record import Record, TrialDetails
from fusion_bench.training.paths import RunPaths

_SILENCE_TOLD_SECONDS = 60.0


LOOKS_FILE = "looks.json"
"""The looks that a study has taken, in its folder: what each spent, which arms it compared and which go on."""

TakeLooks: TypeAlias = Callable[[Sequence[Arm], int], AskedSeeds]
"""Returns the seeds that the first so many looks at the finished cells of these arms ask for."""


def _no_looks(arms: Sequence[Arm], number: int) -> AskedSeeds:
    raise ValueError("a study with looks needs somebody who takes them")


class RunStopped(KeyboardInterrupt):
    """Ctrl-C during a run; the message names the cells that were being trained, and is empty if there were none."""


@dataclass(frozen=True)
class RunOptions:
    """Whether failed cells are tried again, and stale cells trained again."""

    retry_failed: bool = False
    retry_stale: bool = False


@dataclass(frozen=True, eq=False)
class RunResult:
    """The outcome of a run, for the report.

    Attributes:
        search: the study's arms, with the winners' settings after a search, and the cells of the search.
        cells: the cells that are compared.
        measured: the costs of every arm that has a finished cell, by label.
        trained: how many cells this run trained.
    """

    search: SearchResult
    cells: tuple[PlannedCell, ...]
    measured: Mapping[str, Measured]
    trained: int


class StudyRun:
    """One run of a study; a lock lets one run of a study at a time work in a runs folder.

    Args:
        study: read and checked.
        paths: where runs, data and weights lie.
        executor: makes the executor that trains the cells.
        observer: is notified of every event.
        options: which cells are trained again.
        take_looks: says which seeds a study with looks asks for, from its finished cells; others do not need it.
    """

    def __init__(
        self,
        study: Study,
        paths: RunPaths,
        executor: Callable[[], Executor],
        observer: Observer,
        options: RunOptions,
        take_looks: TakeLooks = _no_looks,
    ) -> None:
        self._study, self._paths, self._options = study, paths, options
        self._take_looks = take_looks
        self._make_executor, self._observer = executor, observer
        self._folder = study_folder(paths.runs, study.name)
        self._lease = Lease(self._folder)
        self._metric = selection_metric(study)
        self._journal = Journal(
            self._folder / "journal.log",
            study.name,
            maximise=self._metric.higher_is_better,
            spaces=merged_spaces(study.search.spaces.values()) if study.search else {},
            details=self._details,
        )
        self._cells: list[PlannedCell] = []
        self._inputs = CurrentInputs(paths)
        self._trained = 0
        self._heard: dict[str, float] = {}  # when the last event of each cell that is being trained came

    def run(self) -> RunResult:
        """Train the missing cells and return what the report needs.

        Raises:
            FusionBenchError: another run of the study is in progress or has taken over, or its data cannot be made
                or read.
        """
        try:
            with self._lease:
                for folder in {part.parent for part in self._folder.rglob(".*.part")}:
                    sweep_parts(folder)
                return self._run()
        except LeaseHeld as error:
            raise FusionBenchError(
                f"another run of the study {self._study.name!r} is in progress in {self._paths.runs}; "
                "wait for it, or choose another folder with --runs"
            ) from error

    def _run(self) -> RunResult:
        try:
            with self._make_executor() as executor:
                search = self._search(executor)
                cells = self._confirm(search.arms, executor)
                self._observer.notify(RunPreparing("measuring latency with nothing else running"))
                file, paths = self._folder / "measured.json", replace(self._paths, notify=self._count)
                measured = measure_arms(search.arms, self._study.seeds, paths, file, executor)
        except KeyboardInterrupt as stopped:
            raise RunStopped(self._training()) from stopped
        finally:
            self._observer.notify(RunClosed())
        self._write_plan([*search.search_cells, *cells])
        return RunResult(search, cells, measured, self._trained)

    def _confirm(self, arms: Sequence[Arm], executor: Executor) -> tuple[PlannedCell, ...]:
        """Train the seeds of every arm, in a study with looks as many as these ask for; return the cells."""
        seeds, looks = self._study.seeds, self._study.looks
        if not looks:
            cells = confirm_cells(arms, seeds, self._study.seed_counts)
            self._complete(cells, executor)
            return cells
        counts: Mapping[str, int] = dict.fromkeys((arm.label for arm in arms), looks[0])
        asked: dict[tuple[str, int], PlannedCell] = {}
        for number in range(1, len(looks) + 1):
            cells = confirm_cells(arms, seeds, counts)
            more = [cell for cell in cells if (cell.arm, cell.seed) not in asked]
            if not more:  # nothing is open, or the last look waits for a cell
                break
            self._complete(more, executor)
            asked |= {(cell.arm, cell.seed): cell for cell in more}
            so_far = self._take_looks(arms, number)
            write_json(self._folder / LOOKS_FILE, to_json(so_far.stages))
            counts = so_far.counts
        return tuple(asked.values())

    def _write_plan(self, cells: Sequence[PlannedCell]) -> None:
        write_plan(self._folder / "plan.json", self._study, self._paths.roots, cells)

    def _search(self, executor: Executor) -> SearchResult:
        if self._study.search is None:
            return SearchResult(self._study.arms)
        draws = drawn_before(self._paths.runs, self._study.name)
        searches = make_searches(self._study, maximise=self._metric.higher_is_better, draws=draws)
        asked: list[PlannedCell] = []
        while not all(search.over for search in searches):
            batches = {search.arm.label: search.ask() for search in searches if not search.over}
            batch = [cell for cells in batches.values() for cell in cells]
            draws.save()
            new = any(recorded_state(cell, self._paths).state == "missing" for cell in batch)
            self._complete(batch, executor)
            self._check_answered(batch)
            asked += batch
            for search in searches:
                if search.arm.label in batches:
                    search.tell({cell.id: self._value(cell) for cell in batches[search.arm.label]})
            if new:
                self._update_search_journals(searches)
        self._update_search_journals(searches)
        winners = {
            search.arm.label: {"settings": dict(best[0]), "value": best[1], "trials": search.trials}
            for search in searches
            if (best := search.winner()) is not None
        }
        write_json(self._folder / "search.json", winners)
        return finished_searches(searches, asked)

    def _check_answered(self, cells: Sequence[PlannedCell]) -> None:
        """Raise an error if a trial has neither result nor failure (the disk is full): later trials would differ."""
        left = [cell for cell in cells if recorded_state(cell, self._paths).state == "missing"]
        if left:
            raise FusionBenchError(
                f"the search cannot go on: {len(left)} of its cells have no result "
                f"({left[0].arm}, cell {left[0].id}); solve the problem printed above and run the study again"
            )

    def _update_search_journals(self, searches: Sequence[ArmSearch]) -> None:
        for search in searches:
            update_search_journal(search, self._study.name, self._folder, self._paths.runs, self._metric.name)

    def _complete(self, cells: Sequence[PlannedCell], executor: Executor) -> None:
        """Train the cells that are not done; a failure is recorded and does not stop the others."""
        write_configs(cells, self._paths.runs)
        count = len(self._cells)
        self._cells += cells
        everything = cell_statuses(self._cells, self._paths, self._inputs)
        statuses = [self._retried(status) for status in everything[count:]]
        self._observer.notify(self._planned([*everything[:count], *statuses]))
        todo = {status.cell.id: status.cell for status in statuses if status.state == "missing"}
        before = {status.cell.id: status.state for status in everything[count:]}
        for cell in todo.values():
            self._inputs.check_source(cell.config)  # raises before anything trains
        if todo:
            prepare_cells(list(todo.values()), executor, self._observer)
        # From here on the run replaces what an earlier one left: its data and weights are there.
        self._write_plan(self._cells)
        for name in todo:
            self._put_aside(name, before[name])
        if records := self._records():  # none while a search goes on
            self._journal.update(records)
        if not todo:
            return
        for event in executor.run(list(todo)):
            self._lease.check()  # another run may have taken over while this process was stopped
            self._relay(event)

    def _planned(self, statuses: Sequence[CellStatus]) -> RunPlanned:
        found = {item.cell.id: self._value(item.cell) for item in statuses if item.state == "done"}
        selected = {cell: value for cell, value in found.items() if value is not None}
        return RunPlanned(statuses, self._metric.name, selected)

    def _retried(self, status: CellStatus) -> CellStatus:
        """Return the status of a cell, missing if the options ask to try it again."""
        failed = status.state == "failed" and self._options.retry_failed and not status.cell.abandoned
        stale = status.state == "stale" and self._options.retry_stale
        if failed or (stale and not would_be_the_same(status, self._inputs)):
            return replace(status, state="missing", reason="")
        return status

    def _put_aside(self, cell: str, state: CellState) -> None:
        """Make room for a new try of a cell: forget its failure, or keep its stale outcome aside.

        A cell that was missing is left alone, because another process may have finished it since. One that another
        process holds right now gets a new outcome from there.
        """
        folder = cell_folder(self._paths.runs, cell)
        if state == "missing":
            return
        with suppress(LeaseHeld), held(folder) as own:
            own.forget_failure()
            if state == "stale" and folder.done:
                own.set_aside()

    def _relay(self, event: WorkerEvent) -> None:
        """Record how a cell ended and hand the event on to the observer."""
        if isinstance(event, CellPrepared | CellMeasured | CellBusy):
            return
        if isinstance(event, CellPreparing):
            self._count(event.what, event.done, event.total)
            if event.cell in self._heard:  # it is being trained, and its worker prepares more for it
                self._heard[event.cell] = time.monotonic()
                self._observer.notify(event)
            return
        if isinstance(event, CellFinished | CellFailed):
            self._heard.pop(event.cell, None)
        elif not isinstance(event, CellSilent):
            self._heard[event.cell] = time.monotonic()
        if isinstance(event, CellFailed) and event.worker_died:
            failure = Failure(event.reason, kind=event.kind)
            record_failure(cell_folder(self._paths.runs, event.cell), failure)
        if isinstance(event, CellFinished):
            self._trained += 1
        if isinstance(event, CellFinished | CellFailed):
            self._journal_end(event.cell)
        self._observer.notify(event)

    def _count(self, what: str, done: int, total: int) -> None:
        self._observer.notify(RunPreparing(what, done, total))

    def _training(self) -> str:
        """Return the cells that are being trained, and for how long each has been silent if that is over a minute."""
        cells, now = {cell.id: cell for cell in self._cells}, time.monotonic()
        return ", ".join(
            f"{cells[name].arm} seed {cells[name].seed}"
            + (f" (silent for {(now - heard) / 60:.0f} min)" if now - heard > _SILENCE_TOLD_SECONDS else "")
            for name, heard in self._heard.items()
        )

    def _journal_end(self, ended: str) -> None:
        """Add the trials of a cell that ended to the journal (two arms may share one cell)."""
        for cell in self._cells:
            if cell.id == ended and cell.purpose == "confirm":
                self._journal.add(self._confirm_record(cell))

    def _records(self) -> list[Record]:
        return [self._confirm_record(cell) for cell in self._cells if cell.purpose == "confirm"]

    def _confirm_record(self, cell: PlannedCell) -> Record:
        factors = {"arm": cell.arm, **cell.factors}
        if cell.abandoned:
            return Record((cell.id,), (cell.seed,), factors, None, cell.abandoned)
        failure = cell_folder(self._paths.runs, cell.id).failure
        return Record((cell.id,), (cell.seed,), factors, self._value(cell), failure)

    def _details(self, record: Record) -> TrialDetails:
        return details_of(record.cells, self._paths.runs, self._metric.name)

    def _value(self, cell: PlannedCell) -> float | None:
        return selection_value(cell, self._paths.runs, self._metric.name)


def study_folder(runs: Path, name: str) -> Path:
    """Return the folder of a study, which holds its plan, journal and report."""
    return runs / "studies" / name
