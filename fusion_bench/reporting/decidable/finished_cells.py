"""How the finished cells of a study scatter, before its report is made."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import pyarrow as pa

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.result import CellResult
from fusion_bench.registries import TASKS
from fusion_bench.results.metric_scores import AllMetricScores
from fusion_bench.results.outcome_tables import metric_values, split_samples
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.statistics.comparison import FinishedScatter, Question, finished_scatter
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True, eq=False)
class _FinishedCells:
    """The tables of the finished cells of the arms without controls, on the split of the verdicts."""

    arms: tuple[Arm, ...]
    samples: pd.DataFrame
    values: pd.DataFrame
    measures: tuple[str, ...]


def scatter_of_cells(
    study: Study,
    arms: tuple[Arm, ...],
    family: Sequence[Arm],
    statuses: Sequence[CellStatus],
    paths: RunPaths,
) -> FinishedScatter | None:
    """Return how the finished comparisons scatter; None unless two arms share two finished seeds.

    Args:
        study: the study.
        arms: its arms without controls.
        family: those that get a verdict.
        statuses: the states of its cells.
        paths: where its cells lie.

    Raises:
        FusionBenchError: a finished cell is damaged.
    """
    done = [status for status in statuses if status.state == "done" and status.cell.role != "control"]
    seeds: dict[str, set[int]] = {}
    for status in done:
        seeds.setdefault(status.cell.arm, set()).add(status.cell.seed)
    if not any(len(one & other) > 1 for one, other in itertools.combinations(seeds.values(), 2)):
        return None
    tables, found = {}, {}
    for status in done:
        outcome = cell_folder(paths.runs, status.cell.id).if_done(partial(_read, split=study.primary_split))
        if outcome is not None:
            tables[status.cell.id], found[status.cell.id] = outcome
    if not found:
        return None
    values = metric_values(done, found)
    cells = _FinishedCells(
        arms,
        split_samples(done, tables),
        values[(values["split"] == study.primary_split) & (values["metric"] == study.primary)],
        TASKS.load(study.task).measures,
    )
    influences = AllMetricScores(cells).on(study.primary, study.primary_split)
    if influences is None:
        return None
    labels = tuple(arm.label for arm in family)
    unranked = tuple(arm.label for arm in arms if arm.role == "arm" and arm.label not in labels)
    return finished_scatter(influences, Question(study.reference, labels, unranked))


def _read(folder: CellFolder, split: str) -> tuple[pa.Table, CellResult]:
    return folder.samples_of(split), folder.result()
