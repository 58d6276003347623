"""Means, paired differences and verdicts: tables out of `Scores`.

**One family.** The verdicts judge one metric on one split, and the family is every arm against the reference.
Controls are not in it: nobody asks whether a control is better than the reference, and letting them in would
only make the arms' tests stricter. They get intervals here and a question of their own, `against_controls`.
Holm's step-down (1979) corrects the family. "Does it differ?" and "is it within the margin?" are two
questions, each corrected over the whole family.
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
"""Of an arm against the reference; empty for a control, which is not judged against the reference."""

ALPHA = 0.05
FEWEST_SEEDS = 3
"""Below this many paired seeds no verdict is given: the spread between seeds is all but unknown."""


@dataclass(frozen=True)
class Question:
    """What a family of comparisons asks.

    Attributes:
        reference: the arm that the others are compared with.
        family: the arms that are judged; controls: arms that only get an interval.
        margin: the largest difference that counts as nothing, or None.
        unit: what the metric is a mean over.
        higher_is_better: its direction.
    """

    reference: str
    family: tuple[str, ...]
    controls: tuple[str, ...] = ()
    margin: float | None = None
    unit: Unit = "samples"
    higher_is_better: bool = True


@dataclass(frozen=True)
class _Row:
    """One estimate as the tables hold it."""

    estimate: float
    low: float
    high: float
    standard_error: float
    degrees: float
    seeds: int
    clusters: int
    samples: int


def means(scores: Scores, unit: Unit = "samples") -> pd.DataFrame:
    """Each arm that has a finished seed: ``arm``, ``estimate``, ``low``, ``high`` ...."""
    rows = [
        {"arm": arm, **asdict(_row(scores, scores.mean(arm, unit), arm))}
        for arm in scores.arms
        if scores.seeds_of(arm).any()
    ]
    return pd.DataFrame(rows, columns=["arm", *_Row.__dataclass_fields__])


def compare(scores: Scores, question: Question) -> pd.DataFrame:
    """Paired differences ``arm - reference``, judged.

    Returns:
        One row per arm that shares a finished seed with the reference: ``arm``, the difference as
        ``estimate`` with ``low`` and ``high`` (95 %, not widened for the family), ``standard_error``,
        ``degrees``, ``seeds``, ``clusters``, ``samples``; ``p`` and ``p_holm``; ``p_margin`` and
        ``p_margin_holm`` (two one-sided tests, NaN without a margin); ``detectable`` (the true difference
        found with 80 % probability at the family's strictest level); ``verdict``. Equivalence comes
        before better and worse: a study that states a margin says that what lies inside it is nothing.
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
    judged = (table["arm"].isin(question.family) & (table["seeds"] >= FEWEST_SEEDS)).to_numpy(dtype=bool)
    alpha = ALPHA / max(1, int(judged.sum()))
    p = np.array([float(estimate.p_value()) for estimate in estimates.values()])
    p_margin = np.full(len(table), np.nan)
    if question.margin is not None:
        p_margin[:] = [float(estimate.p_outside(question.margin)) for estimate in estimates.values()]
    detectable = [float(estimate.detectable(alpha)) for estimate in estimates.values()]
    p_holm, p_margin_holm = _holm_of(p, judged), _holm_of(p_margin, judged)
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
    """Each arm's paired lead over each control: ``arm, control, estimate, low, high, ..., leads, ahead, beats``.

    ``leads`` is True where the difference lies on the better side of zero, ``ahead`` where its whole 95 %
    interval does, ``beats`` where at least three seeds are paired as well. An arm passes only if it beats
    *every* control; such an intersection-union test needs no correction over the controls (Berger, 1982).
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
    table["leads"] = table["estimate"] > 0 if question.higher_is_better else table["estimate"] < 0
    table["ahead"] = table["low"] > 0 if question.higher_is_better else table["high"] < 0
    table["beats"] = table["ahead"] & (table["seeds"] >= FEWEST_SEEDS)
    return table


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's step-down adjusted p-values (Scandinavian Journal of Statistics 6, 1979), in the given order."""
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
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


def _holm_of(p_values: FloatArray, judged: npt.NDArray[np.bool_]) -> FloatArray:
    """Holm over the judged rows; NaN elsewhere, and where there was nothing to test."""
    adjusted = np.full(len(p_values), np.nan)
    tested = judged & ~np.isnan(p_values)
    adjusted[tested] = holm(p_values[tested])
    return adjusted
