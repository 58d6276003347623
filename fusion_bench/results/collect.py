"""From the folders of a study's cells to the tidy tables of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from fusion_bench.cells.folder import Outcome, cell_folder
from fusion_bench.contract import FusionModule, VisionLanguageNetwork
from fusion_bench.errors import FusionBenchError
from fusion_bench.results.describe import cautions_of, describe
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Split
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.budget import UNITS
from fusion_bench.spec.study import Study
from fusion_bench.study.measure import LATENCY_BATCH, Measured, measure_arms
from fusion_bench.study.plan import CellStatus, cell_status, comparable, confirm_cells
from fusion_bench.study.run import study_folder
from fusion_bench.study.search_results import SearchResult, search_result, with_choices
from fusion_bench.tasks.task import Task
from fusion_bench.training.inputs import open_data
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.slot import instantiate_module
from fusion_bench.training.splits import read_split, task_class

_CELL = ["arm", "role", "seed", "cell"]


def collect(study: Study, paths: RunPaths) -> StudyResults:
    """Gather everything that a report says.

    Raises:
        FusionBenchError: no cell is finished, or a finished one is damaged.
    """
    search = search_result(study, paths)
    around = {label: with_choices(context, search) for label, context in study.contexts.items()}
    contexts = {label: collect(context, paths) for label, context in around.items() if _begun(context, paths)}
    arms = search.arms
    cells = confirm_cells(arms, study.seeds)
    statuses = comparable([cell_status(cell, paths) for cell in cells], paths)
    outcomes = {
        item.cell.id: cell_folder(paths.runs, item.cell.id).outcome()
        for item in statuses
        if item.state == "done"
    }
    if not outcomes:
        reasons = sorted({item.reason for item in statuses if item.reason})
        because = f": {reasons[0]}" if reasons else ""
        raise FusionBenchError(f"no cell of the study {study.name!r} is finished{because}")
    folder = study_folder(paths.runs, study.name)
    measured = measure_arms(arms, study.seeds, paths, folder / "measured.json")
    data = open_data(arms[0].config.data, paths)
    splits = {name: read_split(data, name, arms[0].config.data, paths.workers).split for name in _names(data)}
    samples = _gathered(statuses, outcomes, "samples")
    task = task_class(arms[0].config.data)
    evaluate = data.splits.evaluate
    return StudyResults(
        name=study.name,
        title=study.title,
        setup=describe(study, arms, data, splits, next(iter(outcomes.values()))),
        primary=study.primary,
        primary_split=study.primary_split,
        select_split=data.splits.select,
        evaluate_splits=evaluate,
        cluster=data.cluster,
        margin=study.margin,
        reference=study.reference,
        arms=tuple(_summary(arm, measured.get(arm.label), search, study.weight_files) for arm in arms),
        cells=_cell_table(statuses, outcomes),
        values=_values(statuses, outcomes),
        samples=samples,
        slices=splits[evaluate[0]].slices,
        curves=_gathered(statuses, outcomes, "curves"),
        pictures=_pictures(samples, splits[study.primary_split], arms, study.pictures),
        floors=_floors(data, splits, task),
        expected=pd.DataFrame(
            [vars(item) for item in study.expected], columns=["arm", "metric", "split", "value", "source"]
        ),
        environment=_environment(outcomes, study),
        cautions=(
            *cautions_of(arms, data, study.weight_files, next(iter(outcomes.values())).result),
            *_stale_search_warning(search, paths),
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
        command=f"fusion-bench run {study.path.name if study.path.is_absolute() else study.path}",
    )


def _begun(study: Study, paths: RunPaths) -> bool:
    """Whether any cell of a context is finished; one that is not is left out of the report."""
    cells = confirm_cells(study.arms, study.seeds)
    return any(cell_status(cell, paths).state == "done" for cell in cells)


def _stale_search_warning(search: SearchResult, paths: RunPaths) -> tuple[str, ...]:
    """A search is as current as its trials."""
    stale = sum(cell_status(cell, paths).state == "stale" for cell in search.search_cells)
    if not stale:
        return ()
    return (
        f"{stale} of the search's {len(search.search_cells)} cells were trained before source, data or weights "
        "changed; `run --retry-stale` trains them anew, and may choose other settings.",
    )


def _names(data: DataSet) -> list[str]:
    return [data.splits.train, data.splits.select, *data.splits.evaluate]


def _summary(
    arm: Arm, measured: Measured | None, search: SearchResult, files: Mapping[str, Path]
) -> ArmSummary:
    kind: type[FusionModule] | type[VisionLanguageNetwork] = arm.config.arm.target.load()
    module = instantiate_module(arm.config, files)
    return ArmSummary(
        label=arm.label,
        role=arm.role,
        component=arm.component,
        factors=arm.factors,
        citation=str(kind.citation),
        listens=module.listens if module else "words",
        position_code=module.position_code if module else "none",
        fusion_parameters=measured.fusion_parameters if measured else None,
        fusion_multiply_adds=measured.fusion_multiply_adds if measured else None,
        around_parameters=measured.around_parameters if measured else None,
        around_multiply_adds=measured.around_multiply_adds if measured else None,
        latency_ms=measured.latency_ms if measured else None,
        searched=dict(search.chosen.get(arm.label, {})),
        search_trials=search.trials.get(arm.label, 0),
        budget_distance=arm.fit.distance if arm.fit else None,
        unranked=arm.fit.unranked if arm.fit else "",
    )


def _row(item: CellStatus) -> dict[str, Any]:
    cell = item.cell
    return {"arm": cell.arm, "role": cell.role, "seed": cell.seed, "cell": cell.id}


def _cell_table(statuses: Sequence[CellStatus], outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    rows = []
    for item in statuses:
        outcome = outcomes.get(item.cell.id)
        rows.append(
            {
                **_row(item),
                "state": item.state,
                "reason": item.reason,
                "epochs": outcome.result["epochs"] if outcome else None,
                "best_epoch": outcome.result["best_epoch"] if outcome else None,
                "seconds": sum(outcome.timing.values()) if outcome else None,
            }
        )
    return pd.DataFrame(rows, columns=[*_CELL, "state", "reason", "epochs", "best_epoch", "seconds"])


def _values(statuses: Sequence[CellStatus], outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    rows = []
    for item in statuses:
        if item.cell.id in outcomes:
            for name, value in sorted(outcomes[item.cell.id].result["metrics"].items()):
                split, _, metric = name.partition("/")
                rows.append({**_row(item), "split": split, "metric": metric, "value": value})
    return pd.DataFrame(rows, columns=[*_CELL, "split", "metric", "value"])


def _gathered(statuses: Sequence[CellStatus], outcomes: Mapping[str, Outcome], table: str) -> pd.DataFrame:
    """One table of all cells, arm and seed in front."""
    parts = []
    for item in statuses:
        if item.cell.id in outcomes:
            part: pd.DataFrame = getattr(outcomes[item.cell.id], table).copy()
            part.insert(0, "arm", item.cell.arm)
            part.insert(1, "seed", item.cell.seed)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _pictures(samples: pd.DataFrame, split: Split, arms: Sequence[Arm], wanted: int) -> pd.DataFrame:
    """Samples on which the arms disagree most: where about half of the trained models are right.

    One per cluster, so that no image and no sentence is shown twice; ties in the table's order, so that the
    choice is the same every time.
    """
    ranked = {arm.label for arm in arms if arm.role != "control"}
    judged = samples[(samples["split"] == split.name) & samples["arm"].isin(ranked)]
    right = judged.groupby("sample", sort=False)["score"].mean()
    rows = split.table.assign(undecided=(split.table["sample"].map(right) - 0.5).abs())
    rows = rows.sort_values("undecided", kind="stable").drop_duplicates("cluster").head(wanted)
    pictures = pd.DataFrame(
        {
            "sample": rows["sample"],
            "split": split.name,
            "image": [str(split.images[number]) for number in rows["image"]],
            "text": rows["text"],
            "truth": rows["truth"],
        }
    )
    if split.referents is not None:
        pictures[["height", "width"]] = split.referents.sizes[rows["image"].to_numpy()]
    return pictures.reset_index(drop=True)


def _floors(data: DataSet, splits: Mapping[str, Split], task: type[Task]) -> pd.DataFrame:
    rows = []
    train = splits[data.splits.train]
    for name in (data.splits.select, *data.splits.evaluate):
        floor = task.floor(data, train, splits[name])
        if floor is not None:
            rows.append(
                {
                    "name": floor.name,
                    "split": name,
                    "accuracy": floor.accuracy,
                    "description": floor.description,
                }
            )
    return pd.DataFrame(rows, columns=["name", "split", "accuracy", "description"])


def _environment(outcomes: Mapping[str, Outcome], study: Study) -> dict[str, str]:
    recorded = next(iter(outcomes.values())).provenance
    try:
        own = version("laconv-fusion-bench")
    except PackageNotFoundError:
        own = "not installed"
    seconds = sum(sum(outcome.timing.values()) for outcome in outcomes.values())
    return {
        "fusion-bench": own,
        "device": str(recorded["device"]),
        "threads per cell": str(study.threads),
        "python": str(recorded["python"]),
        "torch": str(recorded["torch"]),
        "timm": str(recorded["timm"]),
        "numpy": str(recorded["numpy"]),
        "platform": str(recorded["platform"]),
        "data manifest": str(recorded["data"])[:16],
        "numerics source": str(recorded["numerics"]),
        "training time of all cells": f"{seconds / 60:.1f} minutes of one worker",
    }
