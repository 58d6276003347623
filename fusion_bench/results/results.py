"""The complete input of a report: the arms of the plan and the outcomes of the cells, as tidy tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from fusion_bench.results.browsed import no_thumbnails, nothing_browsed
from fusion_bench.spec.arms import Role
from fusion_bench.statistics.sequential import Stages

FLOOR_SCORES = ["name", "split", "sample", "score"]
"""The columns of `StudyResults.floor_scores`."""


def no_floor_scores() -> pd.DataFrame:
    """Return an empty table of floor scores."""
    return pd.DataFrame(columns=FLOOR_SCORES)


@dataclass(frozen=True)
class ArmSummary:
    """The description of one arm in a report.

    Attributes:
        label: the name of the arm in the study.
        role: ``reference`` (the arm with which the others are compared), ``arm`` or ``control``.
        component: its module or network (``laconv``, ``my_module.py``).
        factors: the settings in which it differs, as its cells are trained (``kernel_size`` -> 5): those that the
            study writes for it, that a matched budget chose and that a search chose.
        citation: the paper, in short form; empty for a module without one.
        listens: the language input that the module declares (words, sentence, both, nothing).
        position_code: the position code that the module declares.
        fusion_parameters: the parameters of its fusion modules and adapters (the budget). This and the next three
            fields are None for an arm without a finished cell.
        fusion_multiply_adds: the multiply-adds of the same for one sample.
        around_parameters: the parameters of the rest of the model: backbone (if it is trained), text encoder, head.
        around_multiply_adds: the multiply-adds of the same for one sample.
        latency_ms: the median time in milliseconds of one forward pass of a batch of ``latency_batch`` samples,
            measured without other load; None if not measured.
        searched: those of ``factors`` that a search chose (setting -> value); empty without a search.
        search_trials: the number of trials of that search; 0 if the search is that of another study.
        search_importances: the share of the variance of the trials' values that each searched setting explains;
            empty where it is not known.
        search_history: the trials of that search that found a better value of the selection metric than every
            earlier one: Optuna's number, from 0, and value.
        search_steps: the training steps of that search if it was pruned, else None.
        matched: the one of ``factors`` whose value a matched budget chose; empty if there is none.
        budget_distance: the fusion cost divided by the matched budget, minus 1; None without a budget.
        unranked: why the arm gets no verdict ("it has no width to match"); empty if it gets one.
    """

    label: str
    role: Role
    component: str
    factors: Mapping[str, Any]
    citation: str
    listens: str
    position_code: str
    fusion_parameters: int | None
    fusion_multiply_adds: int | None
    around_parameters: int | None
    around_multiply_adds: int | None
    latency_ms: float | None = None
    searched: Mapping[str, Any] = field(default_factory=dict)
    search_trials: int = 0
    budget_distance: float | None = None
    unranked: str = ""
    search_importances: Mapping[str, float] = field(default_factory=dict)
    search_steps: int | None = None
    matched: str = ""
    search_history: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The results of a study.

    Attributes:
        name: the name of the study.
        title: one line about the study.
        setup: data, model, training and selection, as ordered pairs of heading and sentence.
        primary: the name of the primary metric.
        primary_split: the split of the verdicts.
        select_split: the split for the selection of weights and settings.
        evaluate_splits: the splits on which finished cells are evaluated.
        cluster: the kind of a cluster ("image", "sentence group").
        margin: the largest difference that counts as equivalent, a share; None if the study states none.
        reference: the label of the reference arm.
        arms: the arms, in the order of the study.
        cells: one row per planned cell: arm, role, seed, cell, state (done | failed | stale | missing),
            reason, epochs, best_epoch, seconds.
        values: one row per done cell, split and metric: arm, role, seed, cell, split, metric, value.
        samples: one row per done cell, split and sample: arm, seed, split, sample, cluster, prediction,
            truth, score, and the slice and measure columns. Texts may be categories
            (`fusion_bench.results.shared_texts`).
        slices: the names of the slice columns.
        curves: one row per done cell, epoch and quantity: arm, seed, epoch, samples_seen, quantity
            (``train/loss``, ``select/<metric>``), value.
        pictures: the samples that the report may show: sample, split, image (a path), text, truth; for boxes and
            masks also height and width of the original image.
        floors: named baselines without training, such as the wording floor or always-true, each on one split: name,
            split, accuracy, description.
        floor_scores: their scores: name, split, sample, score; empty in a report of an earlier version.
        expected: published or earlier values for comparison: arm, metric, split, value, source.
        environment: machine and versions, by name.
        cautions: sentences that qualify every verdict ("conditional on one pretext backbone").
        latency_batch: the batch size of the measured forward pass.
        command: the command that runs the study again.
        lower_is_better: the names of the metrics that should fall.
        budget: the cost in which every arm is matched to the reference ("parameters", "multiply-adds"); empty if
            none is matched.
        tolerance: the largest relative distance from the budget of a ranked arm, a share; None without a budget.
        contexts: the results of the same arms in other contexts, by label.
        shows: the content of predictions and truths, see `fusion_bench.tasks.task.Task`.
        measures: the columns of numbers that the task adds to ``samples``.
        browsed: the samples that a reader can look through (`fusion_bench.results.browsed.BROWSED`); empty in a
            report of an earlier version.
        thumbnails: their pictures (`fusion_bench.results.browsed.THUMBNAILS`).
        shares_pictures: whether the data are made here, so that their pictures may be published.
        stages: the looks that were planned and taken; None for a study in which every arm has all seeds.
    """

    name: str
    title: str
    setup: tuple[tuple[str, str], ...]
    primary: str
    primary_split: str
    select_split: str
    evaluate_splits: tuple[str, ...]
    cluster: str
    margin: float | None
    reference: str
    arms: tuple[ArmSummary, ...]
    cells: pd.DataFrame
    values: pd.DataFrame
    samples: pd.DataFrame
    slices: tuple[str, ...]
    curves: pd.DataFrame
    pictures: pd.DataFrame
    floors: pd.DataFrame
    expected: pd.DataFrame
    environment: Mapping[str, str]
    cautions: tuple[str, ...] = ()
    latency_batch: int | None = None
    command: str = ""
    lower_is_better: tuple[str, ...] = ()
    budget: str = ""
    tolerance: float | None = None
    contexts: Mapping[str, StudyResults] = field(default_factory=dict)
    shows: Literal["text", "box", "mask"] = "text"
    measures: tuple[str, ...] = ()
    stages: Stages | None = None
    floor_scores: pd.DataFrame = field(default_factory=no_floor_scores)
    browsed: pd.DataFrame = field(default_factory=nothing_browsed)
    thumbnails: pd.DataFrame = field(default_factory=no_thumbnails)
    shares_pictures: bool = True

    def on_primary(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table with ``split`` and ``metric`` that belong to the verdicts."""
        return table[(table["split"] == self.primary_split) & (table["metric"] == self.primary)]
