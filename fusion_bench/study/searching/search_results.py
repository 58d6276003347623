"""The result of a search, computed again from its finished cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import TASKS
from fusion_bench.samples.metric import Metric
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import recorded_state
from fusion_bench.study.plan import PlannedCell
from fusion_bench.study.searching.draws import Draws
from fusion_bench.study.searching.search import ArmSearch
from fusion_bench.training.config import Json
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True, eq=False)
class SearchResult:
    """A study after its search.

    Attributes:
        arms: the study's arms, with the winners' settings.
        search_cells: the trials' cells, in the order in which they were asked; empty without a search.
        chosen: the winner's settings by arm label, and ``trials``: out of how many; empty without a search, and
            without an arm in which there is nothing to search.
        searches: the finished search of each arm by label; empty without a search.
    """

    arms: tuple[Arm, ...]
    search_cells: tuple[PlannedCell, ...] = ()
    chosen: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    trials: Mapping[str, int] = field(default_factory=dict)
    searches: Mapping[str, ArmSearch] = field(default_factory=dict)


def search_result(study: Study, paths: RunPaths) -> SearchResult:
    """Repeat every search over its finished cells and return what it chose.

    Raises:
        FusionBenchError: the search is not finished.
    """
    if study.search is None:
        return SearchResult(study.arms)
    metric, searches = _searches_so_far(study, paths)
    asked: list[PlannedCell] = []
    for search in searches:
        ended_cells, waiting = _repeated(search, paths, metric)
        if waiting:
            raise FusionBenchError(f"the search of {search.arm.label!r} is not finished; run the study first")
        asked += ended_cells
    return finished_searches(searches, asked)


def ended_trials(study: Study, paths: RunPaths) -> Mapping[str, int]:
    """Repeat every search as far as its cells have ended, and return how many did, by arm label."""
    metric, searches = _searches_so_far(study, paths)
    ended = {}
    for search in searches:
        ended_cells, waiting = _repeated(search, paths, metric)
        over = sum(recorded_state(cell, paths).state != "missing" for cell in waiting)
        ended[search.arm.label] = len(ended_cells) + over
    return ended


def _searches_so_far(study: Study, paths: RunPaths) -> tuple[Metric, tuple[ArmSearch, ...]]:
    """Return the metric that chooses trials, and one search for each arm that draws what earlier runs drew."""
    metric = selection_metric(study)
    draws = drawn_before(paths.runs, study.name)
    return metric, make_searches(study, maximise=metric.higher_is_better, draws=draws)


def _repeated(
    search: ArmSearch, paths: RunPaths, metric: Metric
) -> tuple[list[PlannedCell], list[PlannedCell]]:
    """Tell a search its batches that have ended; return their cells, and those of the first batch that has not."""
    ended_cells: list[PlannedCell] = []
    while not search.over:
        cells = search.ask()
        if any(recorded_state(cell, paths).state == "missing" for cell in cells):
            return ended_cells, list(cells)
        search.tell({cell.id: selection_value(cell, paths.runs, metric.name) for cell in cells})
        ended_cells += cells
    return ended_cells, []


def finished_searches(searches: Sequence[ArmSearch], cells: Sequence[PlannedCell]) -> SearchResult:
    """Return what the finished searches of all arms chose; ``cells`` are those of every trial."""
    winners = {search.arm.label: search.winner() for search in searches}
    chosen = {label: won[0] for label, won in winners.items() if won is not None}
    trials = {search.arm.label: search.trials for search in searches if search.arm.label in chosen}
    return SearchResult(
        tuple(search.confirmed() for search in searches),
        tuple(cells),
        chosen,
        trials,
        {search.arm.label: search for search in searches},
    )


def drawn_before(runs: Path, name: str) -> Draws:
    """Return what the searches of a study drew in earlier runs."""
    return Draws(runs / "studies" / name / "search" / "draws.json")


def make_searches(study: Study, *, maximise: bool, draws: Draws | None = None) -> tuple[ArmSearch, ...]:
    """Return one search for each arm, all with the same number of trials; ``draws`` is what was drawn before."""
    assert study.search is not None  # noqa: S101 - asked only of studies with a search
    return tuple(
        ArmSearch(
            arm,
            study.search.space_of(arm),
            trials=study.search.trials,
            batch=study.search.batch,
            seeds=study.search.seeds,
            maximise=maximise,
            matched=study.matched,
            sampler=study.search.sampler,
            pruner=study.search.pruner,
            draws=draws,
        )
        for arm in study.arms
    )


def selection_metric(study: Study) -> Metric:
    """Return the metric that chooses weights and trials: the first metric of the data set."""
    found: Metric = TASKS.load(study.task).metrics[study.selection_metric]
    return found


def selection_value(cell: PlannedCell, runs: Path, metric: str) -> float | None:
    """Return a finished cell's metric on the selection split; None if the cell is not done.

    Raises:
        FusionBenchError: its result is damaged or lacks the metric.
    """
    folder = cell_folder(runs, cell.id)
    if not folder.done:
        return None
    selection = folder.result().selection
    if metric not in selection:
        raise FusionBenchError(
            f"{folder.path / 'result.json'} has no {metric!r} among its selection metrics; delete the folder to "
            "train the cell again"
        )
    return selection[metric]


def with_choices(context: Study, result: SearchResult) -> Study:
    """Return a context whose arms have the settings that the search of the study itself chose."""

    def chosen(arm: Arm) -> Arm:
        settings: Mapping[str, Json] = result.chosen.get(arm.label, {})
        if settings:
            arm = replace(context.matched(arm.having(settings)), searched=tuple(settings))
        return replace(arm, abandoned=abandoned.get(arm.label, ""))

    abandoned = {arm.label: arm.abandoned for arm in result.arms}
    return replace(context, arms=tuple(map(chosen, context.arms)))
