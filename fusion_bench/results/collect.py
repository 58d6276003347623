"""Everything that a report says about a study, gathered from the folders of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

from fusion_bench.cells.current_inputs import CurrentInputs
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.measure_cell import LATENCY_BATCH
from fusion_bench.cells.result import Outcome
from fusion_bench.contract import FusionModule, VisionLanguageNetwork
from fusion_bench.errors import FusionBenchError, NoResultError
from fusion_bench.results.browsed import browsed_samples, no_thumbnails, nothing_browsed
from fusion_bench.results.data_tables import floor_tables, select_pictures
from fusion_bench.results.describe import cautions_of, describe
from fusion_bench.results.looks import study_cells
from fusion_bench.results.outcome_tables import cell_state_table, cell_tables, metric_values
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.results.shared_texts import SharedTexts
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.arms import Arm, settings_of
from fusion_bench.spec.budget import UNITS
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import CellStatus, cell_statuses, not_compared, recorded_state
from fusion_bench.study.last_run import read_last_run, with_earlier_settings
from fusion_bench.study.measure import Measured, measure_for_report
from fusion_bench.study.plan import PlannedCell, confirm_cells
from fusion_bench.study.run import RunResult, study_folder
from fusion_bench.study.searching.search_results import SearchResult, search_result, with_choices
from fusion_bench.study.searching.search_summary import SearchSummary, summarise_search
from fusion_bench.tasks.task import Task
from fusion_bench.training.config import DataConfig
from fusion_bench.training.inputs import declared_data, open_data
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.slot import instantiate_module
from fusion_bench.training.splits import read_split, task_class

NOT_COMPARED = "The data of the cells were not compared with today's"
"""The start of the caution of a report whose data cannot be opened."""


def collect(study: Study, paths: RunPaths, runs: Mapping[str, RunResult] | None = None) -> StudyResults:
    """Return everything that a report says about a study.

    Args:
        study: read and checked.
        paths: where runs, data and weights lie.
        runs: what the runs of the study and of its contexts left, by the study's name; a run that is not among
            them is read again from its folders.

    Raises:
        NoResultError: no cell is finished.
        FusionBenchError: a finished cell is damaged.
    """
    runs = runs or {}
    own = runs.get(study.name)
    search = search_result(study, paths) if own is None else own.search
    around = {label: with_choices(context, search) for label, context in study.contexts.items()}
    contexts, left_out = _collect_contexts(around, paths, runs)
    arms = search.arms
    finished = _has_finished_cell(replace(study, arms=arms), paths)
    data, here = _opened(arms[0].config.data, paths) if finished else (declared_data(study.data), False)
    inputs = CurrentInputs(paths)
    cells = study_cells(study, arms, paths, inputs)
    statuses = with_earlier_settings(
        cells.statuses,
        arms,
        read_last_run(study_folder(paths.runs, study.name)),
        paths.runs,
    )
    done = [item.cell.id for item in statuses if item.state == "done"]
    if done:
        paths.notify(f"reading the cells of {study.name}", 0, 0)
    outcomes, texts = {}, SharedTexts()
    for number, cell in enumerate(done, 1):
        outcome = cells.outcomes.get(cell) or cell_folder(paths.runs, cell).if_done(CellFolder.outcome)
        if outcome is not None:
            outcomes[cell] = replace(outcome, samples=texts.of(outcome.samples))
        paths.notify(f"reading the cells of {study.name}:", number, len(done))
    statuses = tuple(map(partial(_unless_put_aside, outcomes), statuses))
    if not outcomes:
        reasons = sorted({item.reason for item in statuses if item.reason})
        because = f": {reasons[0]}" if reasons else ""
        if any(item.state == "stale" for item in statuses):
            because += "; `run --retry-stale` trains stale cells again"
        raise NoResultError(f"no cell of the study {study.name!r} is finished{because}")
    measured = (
        measure_for_report(arms, study.seeds, paths, study_folder(paths.runs, study.name))
        if own is None
        else own.measured
    )
    splits = {
        name: read_split(data, name, arms[0].config.data, paths.workers).split
        for name in (_split_names(data) if here else ())
    }
    samples = cell_tables(statuses, outcomes, "samples")
    task = task_class(arms[0].config.data)
    evaluate = data.splits.evaluate
    floors, floor_scores = floor_tables(data, splits, task)
    browsed, thumbnails = (
        browsed_samples(
            samples, splits[study.primary_split], [arm.label for arm in arms if arm.role != "control"]
        )
        if splits
        else (nothing_browsed(), no_thumbnails())
    )
    return StudyResults(
        name=study.name,
        title=study.title,
        setup=describe(
            study,
            search,
            data,
            splits,
            {item.cell.arm: outcomes[item.cell.id] for item in statuses if item.cell.id in outcomes},
        ),
        primary=study.primary,
        primary_split=study.primary_split,
        select_split=data.splits.select,
        evaluate_splits=evaluate,
        cluster=data.cluster,
        margin=study.margin,
        reference=study.reference,
        arms=tuple(_summary(arm, measured.get(arm.label), search, study.weight_files, paths) for arm in arms),
        cells=cell_state_table(statuses, outcomes),
        values=metric_values(statuses, {cell: outcome.result for cell, outcome in outcomes.items()}),
        samples=samples,
        slices=splits[evaluate[0]].slices if splits else _slices(samples, task),
        curves=cell_tables(statuses, outcomes, "curves"),
        pictures=(
            select_pictures(samples, splits[study.primary_split], arms, study.pictures)
            if splits
            else pd.DataFrame(columns=["sample", "split", "image", "text", "truth"])
        ),
        floors=floors,
        floor_scores=floor_scores,
        browsed=browsed,
        thumbnails=thumbnails,
        shares_pictures=data.built_in,
        expected=pd.DataFrame(
            [vars(item) for item in study.expected], columns=["arm", "metric", "split", "value", "source"]
        ),
        environment={**_environment(outcomes, study), **_time_of_search(search.search_cells, paths)},
        cautions=(
            *(f"{NOT_COMPARED}: {problem}." for problem in not_compared(statuses, inputs)),
            *cautions_of(arms, data, study.weight_files, next(iter(outcomes.values())).result.data_warnings),
            *_stale_search_warning(search, inputs),
            *(f"The context {label!r} is left out: {reason}." for label, reason in left_out.items()),
        ),
        latency_batch=LATENCY_BATCH,
        budget=UNITS[study.budget.match] if study.budget else "",
        tolerance=study.budget.tolerance if study.budget else None,
        lower_is_better=tuple(
            name for name in data.tasks[study.task] if not task.metrics[name].higher_is_better
        ),
        shows=task.shows,
        measures=task.measures,
        contexts=contexts,
        stages=cells.stages,
        command=f"fusion-bench run {study.path.name if study.path.is_absolute() else study.path}",
    )


def _collect_contexts(
    around: Mapping[str, Study], paths: RunPaths, runs: Mapping[str, RunResult]
) -> tuple[dict[str, StudyResults], dict[str, str]]:
    """Return the results of the contexts by label, and why others are left out whose finished cells do not count.

    A context without a finished cell is left out without a word: it is not trained yet.
    """
    contexts, left_out = {}, {}
    for label, context in around.items():
        if _has_finished_cell(context, paths):
            try:
                contexts[label] = collect(context, paths, runs)
            except NoResultError as error:
                left_out[label] = str(error)
    return contexts, left_out


def _unless_put_aside(outcomes: Mapping[str, Outcome], status: CellStatus) -> CellStatus:
    """Return a status; missing if another process has put the outcome aside since it was looked at."""
    if status.state == "done" and status.cell.id not in outcomes:
        return replace(status, state="missing", reason="it is being trained again")
    return status


def _has_finished_cell(study: Study, paths: RunPaths) -> bool:
    """Return True if a cell of the study is finished, stale or not."""
    cells = confirm_cells(study.arms, study.seeds)
    return any(recorded_state(cell, paths).state == "done" for cell in cells)


def _opened(config: DataConfig, paths: RunPaths) -> tuple[DataSet, bool]:
    """Return the data set and whether its files are here; without them a report tells what the cells left."""
    try:
        return open_data(config, paths), True
    except FusionBenchError:
        return declared_data(config), False


def _slices(samples: pd.DataFrame, task: type[Task]) -> tuple[str, ...]:
    """Return the slice columns of a table of samples whose splits are not here."""
    known = {"arm", "seed", "split", "sample", "cluster", "prediction", "truth", "score", *task.measures}
    return tuple(str(name) for name in samples.columns if name not in known)


def _stale_search_warning(search: SearchResult, inputs: CurrentInputs) -> tuple[str, ...]:
    """Return a caution if cells of the search are stale, since the settings were chosen by them."""
    statuses = cell_statuses(search.search_cells, inputs.paths, inputs)
    stale = sum(status.state == "stale" for status in statuses)
    if not stale:
        return ()
    return (
        f"{stale} of the search's {len(search.search_cells)} cells were trained before source, data or weights "
        "changed; `run --retry-stale` trains them anew, and may choose other settings.",
    )


def _split_names(data: DataSet) -> list[str]:
    return [data.splits.train, data.splits.select, *data.splits.evaluate]


def _summary(
    arm: Arm, measured: Measured | None, search: SearchResult, files: Mapping[str, Path], paths: RunPaths
) -> ArmSummary:
    kind: type[FusionModule] | type[VisionLanguageNetwork] = arm.config.arm.target.load()
    module = instantiate_module(arm.config, files)
    own = search.searches.get(arm.label)
    searched = SearchSummary() if own is None else summarise_search(own, paths.runs)
    return ArmSummary(
        label=arm.label,
        role=arm.role,
        component=arm.component,
        factors=arm.factors,
        citation=str(kind.citation),
        listens=module.listens if module else "words",
        position_code=module.position_code if module else "none",
        fusion_parameters=measured.costs.fusion_parameters if measured else None,
        fusion_multiply_adds=measured.costs.fusion_multiply_adds if measured else None,
        around_parameters=measured.costs.around_parameters if measured else None,
        around_multiply_adds=measured.costs.around_multiply_adds if measured else None,
        latency_ms=measured.latency_ms if measured else None,
        searched=settings_of(arm.config, arm.searched),
        search_trials=search.trials.get(arm.label, 0),
        budget_distance=arm.budget_match.distance if arm.budget_match else None,
        unranked=arm.budget_match.unranked if arm.budget_match else "",
        search_importances=searched.importances,
        search_steps=searched.training_steps,
        matched=arm.budget_match.setting if arm.budget_match else "",
        search_history=searched.history,
    )


def _environment(outcomes: Mapping[str, Outcome], study: Study) -> dict[str, str]:
    recorded = next(iter(outcomes.values())).provenance
    try:
        own = version("laconv-fusion-bench")
    except PackageNotFoundError:
        own = "not installed"
    seconds = sum(outcome.timing.seconds for outcome in outcomes.values())
    return {
        "fusion-bench": own,
        "device": recorded.device,
        "threads per cell": str(study.threads),
        "python": recorded.python,
        "torch": recorded.torch,
        "timm": recorded.timm,
        "numpy": recorded.numpy,
        "platform": recorded.platform,
        "data manifest": recorded.data[:16],
        "numerics source": recorded.numerics,
        "training time of all cells": f"{seconds / 60:.1f} minutes of one worker",
    }


def _time_of_search(cells: Sequence[PlannedCell], paths: RunPaths) -> dict[str, str]:
    """Return how long the finished cells of a search took, as a row of the environment; none without a search."""
    own = {cell.id for cell in cells}  # trials with the same settings have the same cell
    timings = [cell_folder(paths.runs, cell).if_done(CellFolder.timing) for cell in own]
    seconds = sorted(timing.seconds for timing in timings if timing is not None)
    if not seconds:
        return {}
    return {
        "training time of the search": f"{sum(seconds) / 60:.1f} minutes of one worker, {len(seconds)} cells"
    }
