"""Means, paired differences and verdicts, as tables computed from `Scores`.

**One family.** Verdicts are values for one metric on one split. The family of tests is every arm against the
reference. Controls are not in the family: whether a control is better than the reference is not a question of the
study, and more tests would only make those of the arms stricter. Controls get intervals here, and
`against_controls` compares the arms with them. Holm's step-down procedure (1979) corrects the family. "Does the arm
differ?" and "is the difference within the margin?" are two questions; each is corrected over the whole family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_bench.statistics.crossed import Estimate, FloatArray
from fusion_bench.statistics.scores import Scores, Unit

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "underpowered", "no verdict", ""]
"""The verdict on an arm against the reference; empty for an arm outside the family (a control)."""

ALPHA = 0.05
FEWEST_SEEDS = 3
"""The smallest number of paired seeds for a verdict; with fewer, the spread between seeds is nearly unknown."""


@dataclass(frozen=True)
class Question:
    """The comparisons of one family.

    Attributes:
        reference: the arm with which the others are compared.
        family: the arms that get a verdict.
        controls: the arms that get an interval only.
        margin: the largest difference that counts as equivalent, a share; None without an equivalence test.
        unit: whether the metric is a mean over samples or over clusters.
        higher_is_better: the direction of the metric.
    """

    reference: str
    family: tuple[str, ...]
    controls: tuple[str, ...] = ()
    margin: float | None = None
    unit: Unit = "samples"
    higher_is_better: bool = True


@dataclass(frozen=True)
class _Row:
    """The columns that every table of estimates has; ``low`` and ``high`` are the ends of the 95 % interval."""

    estimate: float
    low: float
    high: float
    standard_error: float
    degrees: float
    seeds: int
    clusters: int
    samples: int


def means(scores: Scores, unit: Unit = "samples") -> pd.DataFrame:
    """Return the mean of each arm that has a finished seed.

    Returns:
        One row per arm: ``arm``, ``estimate``, ``low``, ``high`` (95 %), ``standard_error``, ``degrees``, ``seeds``,
        ``clusters``, ``samples``.
    """
    rows = [
        {"arm": arm, **asdict(_row(scores, scores.mean(arm, unit), arm))}
        for arm in scores.arms
        if scores.seeds_of(arm).any()
    ]
    return pd.DataFrame(rows, columns=["arm", *_Row.__dataclass_fields__])


def compare(scores: Scores, question: Question) -> pd.DataFrame:
    """Return the paired differences ``arm - reference`` with their verdicts.

    Returns:
        One row per arm that shares a finished seed with the reference: ``arm``, the difference as
        ``estimate`` with ``low`` and ``high`` (95 %, not widened for the family), ``standard_error``,
        ``degrees``, ``seeds``, ``clusters``, ``samples``; ``p`` and ``p_holm``; ``p_margin`` and
        ``p_margin_holm`` (two one-sided tests, NaN without a margin); ``detectable`` (the true difference
        that is found with 80 % probability at the strictest level of the family); ``verdict``. The verdict
        "equivalent" has priority over "better" and "worse": a study that states a margin treats a difference
        inside it as negligible.
    """
    estimates = {
        arm: scores.difference(arm, question.reference, question.unit)
        for arm in (*question.family, *question.controls)
        if scores.seeds_of(arm, question.reference).any()
    }
    table = pd.DataFrame(
        [
            {"arm": arm, **asdict(_row(scores, estimate, arm, question.reference))}
            for arm, estimate in estimates.items()
        ],
        columns=["arm", *_Row.__dataclass_fields__],
    )
    in_family = (table["arm"].isin(question.family) & (table["seeds"] >= FEWEST_SEEDS)).to_numpy(dtype=bool)
    alpha = ALPHA / max(1, int(in_family.sum()))
    p = np.array([float(estimate.p_value()) for estimate in estimates.values()])
    p_margin = np.full(len(table), np.nan)
    if question.margin is not None:
        p_margin[:] = [float(estimate.p_outside(question.margin)) for estimate in estimates.values()]
    detectable = [float(estimate.detectable(alpha)) for estimate in estimates.values()]
    p_holm, p_margin_holm = _holm_of(p, in_family), _holm_of(p_margin, in_family)
    gain = table["estimate"].to_numpy(dtype=np.float64) * (1 if question.higher_is_better else -1)
    verdict = np.select(
        [
            ~table["arm"].isin(question.family),
            np.isnan(p_holm),
            p_margin_holm < ALPHA,
            p_holm >= ALPHA,
            gain > 0,
        ],
        ["", "no verdict", "equivalent", "underpowered", "better"],
        "worse",
    )
    return table.assign(
        p=p,
        p_holm=p_holm,
        p_margin=p_margin,
        p_margin_holm=p_margin_holm,
        detectable=detectable,
        verdict=verdict,
    )


def against_controls(
    scores: Scores, arms: Sequence[str], controls: Sequence[str], question: Question
) -> pd.DataFrame:
    """Return the paired differences ``arm - control`` of each arm from each control.

    An arm passes only if it beats *every* control. This is an intersection-union test, which needs no correction
    over the controls (Berger, 1982).

    Returns:
        One row per arm and control: ``arm``, ``control``, the columns of `means`, and three flags: ``better`` (the
        estimate is on the better side of zero), ``interval_better`` (the whole 95 % interval is) and ``beats``
        (the whole interval is, with at least three paired seeds).
    """
    rows = [
        {
            "arm": arm,
            "control": control,
            **asdict(_row(scores, scores.difference(arm, control, question.unit), arm, control)),
        }
        for arm in arms
        for control in controls
        if scores.seeds_of(arm, control).any()
    ]
    table = pd.DataFrame(rows, columns=["arm", "control", *_Row.__dataclass_fields__])
    table["better"] = table["estimate"] > 0 if question.higher_is_better else table["estimate"] < 0
    table["interval_better"] = table["low"] > 0 if question.higher_is_better else table["high"] < 0
    table["beats"] = table["interval_better"] & (table["seeds"] >= FEWEST_SEEDS)
    return table


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values adjusted by Holm's step-down procedure, in the values order.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _row(scores: Scores, estimate: Estimate, *arms: str) -> _Row:
    low, high = estimate.interval()
    return _Row(
        float(estimate.mean),
        float(low),
        float(high),
        float(estimate.standard_error),
        float(estimate.degrees),
        int(scores.seeds_of(*arms).sum()),
        scores.clusters(),
        scores.values.shape[2],
    )


def _holm_of(p_values: FloatArray, family: npt.NDArray[np.bool_]) -> FloatArray:
    """Adjust the p-values of the rows in ``family`` [rows]; NaN in other rows and where the p-value is NaN."""
    adjusted = np.full(len(p_values), np.nan)
    tested = family & ~np.isnan(p_values)
    adjusted[tested] = holm(p_values[tested])
    return adjusted
