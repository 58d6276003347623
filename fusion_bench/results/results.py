"""Everything a report is made from: the plan's arms and the outcomes, as tidy tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from fusion_bench.spec.arms import Role


@dataclass(frozen=True)
class ArmSummary:
    """One arm as the report names it.

    Attributes:
        label: the name in the study.
        role: ``reference`` (what the others are compared with), ``arm`` or ``control``.
        component: what it is (``laconv``, ``my_module.py``).
        factors: its settings that differ from the study's base, flat (``kernel_size`` -> 3).
        citation: the paper, short; empty for a module without one.
        listens, position_code: what the module declares.
        fusion: parameters and multiply-adds of its modules and adapters (the budget).
        around: the same of backbone (if it is trained), text encoder and head. All four are None for an
            arm without a finished cell.
        latency_ms: median milliseconds of one forward pass of one batch of ``latency_batch``, measured
            with nothing else running; None if not measured.
        budget_distance: its fusion cost over the budget that the study matches, less 1; None without one.
        unranked: why it gets no verdict ("it has no width to match"); empty if it may have one.
        searched: what a search chose for it (setting -> value), with ``search_trials``; empty without a search.
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


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A study's outcomes.

    Attributes:
        name, title: the study's name and one line about it.
        setup: what was compared on what and how: ordered pairs of heading and sentence.
        primary: the primary metric's name; ``primary_split``: the split that the verdicts judge.
        select_split, evaluate_splits: names of splits.
        cluster: what a cluster is ("image", "sentence group").
        margin: the difference that counts as nothing (equivalence), if the study states one.
        reference: label of the reference arm.
        arms: in the study's order.
        cells: one row per planned cell: arm, role, seed, cell, state (done | failed | stale | missing),
            reason, epochs, best_epoch, seconds.
        values: one row per done cell, split and metric: arm, role, seed, cell, split, metric, value.
        samples: one row per done cell, split and sample: arm, seed, split, sample, cluster, prediction,
            truth, score, and the slice and measure columns.
        slices: names of the slice columns.
        curves: one row per done cell, epoch and quantity: arm, seed, epoch, samples_seen, quantity
            (``train/loss``, ``select/<metric>``), value.
        pictures: samples to show: sample, split, image (a path), text, truth; where boxes or masks are shown also
            height and width of the original image. Those that all arms answer
            alike are left out.
        floors: named constant baselines, such as the wording floor or always-true, each on one split:
            name, split, accuracy, description.
        expected: published or earlier values to compare with (arm, metric, split, value, source).
        environment: machine and versions, by name.
        cautions: sentences that belong under every verdict ("conditional on one pretext backbone").
        latency_batch: how many samples the measured forward pass had.
        command: the command that runs the study again.
        lower_is_better: names of the metrics that should fall.
        budget: what every arm should have as much of as the reference ("parameters", "multiply-adds"), up to
            ``tolerance``, a share; empty where nothing is matched.
        shows: what predictions and truths hold, see `fusion_bench.tasks.task.Task`.
        measures: columns of numbers that the task adds to ``samples``.
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
