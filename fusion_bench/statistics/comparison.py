"""Means, differences and verdicts, as tables computed from `Influences`.

**Two families.** Verdicts are values for one metric on one split. "Does the arm differ from the reference?" is one
family of tests, over every ranked arm; "is the difference within the margin?" is another, over the same arms. Holm's
step-down procedure (1979) holds the chance of any false claim below 5 % in each of them, not in both together.
Controls are in neither: whether a control is better than the reference is not a question of the study, and more tests
would only make those of the arms stricter. Controls get intervals here, and
`fusion_bench.statistics.controls.against_controls` compares the arms with them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_bench.statistics.differences import Difference, Differences
from fusion_bench.statistics.estimate import Estimate, FloatArray, stacked
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.power import ComparisonScatter, decidable_difference

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "underpowered", "no verdict", ""]
"""The verdict on an arm against the reference; empty for an arm outside the family (a control)."""

ALPHA = 0.05
FEWEST_SEEDS = 3
"""The smallest number of seeds of each side for a verdict; with fewer, the spread between seeds is nearly unknown."""


@dataclass(frozen=True)
class Question:
    """The comparisons of one family.

    Attributes:
        reference: the arm with which the others are compared.
        family: the arms that get a verdict.
        unranked: arms that get an interval only, and whose seeds tell how arms of the study scatter.
        controls: the controls, which get an interval only.
        margin: the largest difference that counts as equivalent, a share; None without an equivalence test.
        higher_is_better: the direction of the metric.
    """

    reference: str
    family: tuple[str, ...]
    unranked: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    margin: float | None = None
    higher_is_better: bool = True

    def arms(self) -> tuple[str, ...]:
        """Return all arms but the controls, the reference first."""
        return (self.reference, *self.family, *self.unranked)

    def differences(self, influences: Influences) -> Differences:
        """Return the differences of these arms; verdicts, leads and tie groups all take their seeds from its pool."""
        return Differences(influences, self.arms(), self.reference)


ESTIMATE_COLUMNS = (
    "estimate",
    "low",
    "high",
    "standard_error",
    "degrees",
    "seeds",
    "clusters",
    "samples",
)
"""The columns that every table of estimates has; ``low`` and ``high`` are the ends of the interval."""


def means(influences: Influences) -> pd.DataFrame:
    """Return the mean of each arm that has a finished seed.

    Returns:
        One row per arm: ``arm``, ``estimate``, ``low``, ``high`` (95 %), ``standard_error``, ``degrees``, ``seeds``,
        ``clusters``, ``samples``.
    """
    arms = [arm for arm in influences.arms if influences.seeds_of(arm).any()]
    seeds = [int(influences.seeds_of(arm).sum()) for arm in arms]
    estimates = stacked([influences.mean(arm) for arm in arms])
    return pd.DataFrame({"arm": arms, **estimate_columns(influences, estimates, seeds)})


def compare(influences: Influences, question: Question, alpha: float = ALPHA) -> pd.DataFrame:
    """Return the differences ``arm - reference`` with their verdicts.

    Args:
        influences: the finished cells.
        question: the comparisons.
        alpha: the level of each family, and 1 less the level of the intervals; a look at few seeds has a part of 5 %
            (`fusion_bench.statistics.sequential`).

    Returns:
        One row per arm that shares a finished seed with the reference: ``arm``, the difference as
        ``estimate`` with ``low`` and ``high`` (``1 - alpha``, not widened for the family), ``standard_error``,
        ``degrees``, ``seeds`` of the arm and ``reference_seeds``, ``clusters``, ``samples``; ``p`` and ``p_holm``;
        ``p_margin`` and ``p_margin_holm`` (two one-sided tests, NaN without a margin); ``detectable`` (one number
        for the family: the true difference that is found with 80 % probability at its strictest level; NaN outside
        the family); ``verdict``. The verdict "equivalent" has priority over "better" and "worse": a study that
        states a margin treats a difference inside it as negligible. The table's ``attrs`` hold what the seed
        variances say, under ``"prior_degrees"`` and ``"prior_variance"``; both are absent where no
        comparison is moderated.
    """
    differences = question.differences(influences)
    ranked = (*question.family, *question.unranked)
    found: dict[str, Difference] = {}
    for arm in (*ranked, *question.controls):
        difference = (
            differences.of(arm, question.reference)
            if arm in ranked
            else differences.over_control(question.reference, arm)
        )
        if difference is not None:
            found[arm] = difference if arm in ranked else difference.reversed()
    estimates = stacked([item.estimate for item in found.values()])
    seeds = np.array([item.seeds for item in found.values()], dtype=np.int64)
    reference_seeds = np.array([item.other_seeds for item in found.values()], dtype=np.int64)
    asked = np.array([arm in question.family for arm in found], dtype=bool)
    in_family = asked & (np.minimum(seeds, reference_seeds) >= FEWEST_SEEDS)
    p = estimates.p_value()
    p_margin = np.full(len(p), np.nan) if question.margin is None else estimates.p_outside(question.margin)
    p_holm, p_margin_holm = holm_of(p, in_family), holm_of(p_margin, in_family)
    gain = estimates.mean * (1 if question.higher_is_better else -1)
    verdict = np.select(
        [
            ~asked,
            np.isnan(p_holm),
            p_margin_holm < alpha,
            p_holm >= alpha,
            gain > 0,
        ],
        ["", "no verdict", "equivalent", "underpowered", "better"],
        "worse",
    )
    tested = [item for item, inside in zip(found.values(), in_family, strict=True) if inside]
    table = pd.DataFrame(
        {
            "arm": [*found],
            **estimate_columns(influences, estimates, seeds, 1 - alpha),
            "reference_seeds": reference_seeds,
            "p": p,
            "p_holm": p_holm,
            "p_margin": p_margin,
            "p_margin_holm": p_margin_holm,
            "detectable": np.where(in_family, _detectable(differences, tested, alpha), np.nan),
            "verdict": verdict,
        }
    )
    variances = differences.moderating([*found.values()])
    if variances is not None:
        table.attrs["prior_degrees"] = float(variances.prior_degrees)
        table.attrs["prior_variance"] = float(variances.prior_variance)
    return table


def _detectable(differences: Differences, tested: list[Difference], alpha: float) -> float:
    """Return the true difference that a comparison of this study finds at the strictest level of the family.

    A comparison as the pool expects it; NaN where no tested pair lies in the pool.
    """
    scatter = differences.scatter(tested)
    if scatter is None:
        return float("nan")
    return decidable_difference(
        scatter, len(differences.pool.arms), scatter.seeds, strictest_level(len(tested), alpha)
    )


def strictest_level(comparisons: int, alpha: float = ALPHA) -> float:
    """Return the level of the first step of Holm's correction at ``alpha``."""
    return alpha / max(1, comparisons)


@dataclass(frozen=True)
class FinishedScatter:
    """How finished comparisons scatter, and the cells that tell it.

    Attributes:
        scatter: the scatter.
        arms: the arms that are compared on one set of seeds.
        seeds: these seeds; each of the arms has finished all of them.
    """

    scatter: ComparisonScatter
    arms: tuple[str, ...]
    seeds: tuple[int, ...]


def finished_scatter(influences: Influences, question: Question) -> FinishedScatter | None:
    """Return how the finished comparisons of a family scatter; None unless two arms share two finished seeds.

    That is told by the arms that are compared on one set of seeds: by their differences from the reference, or from
    each other where the reference is not among them, because it has many more seeds or none.
    """
    differences = question.differences(influences)
    pool = differences.pool.arms
    if question.reference in pool:
        pairs = [(arm, question.reference) for arm in question.family if arm in pool]
    else:
        pairs = list(itertools.combinations(pool, 2))
    found = [differences.of(*pair) for pair in pairs]
    scatter = differences.scatter([item for item in found if item is not None])
    if scatter is None:
        return None
    seeds = np.array(influences.seeds)[differences.pool.seeds]
    return FinishedScatter(scatter, pool, tuple(seeds.tolist()))


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values ``[..., m]`` adjusted by Holm's step-down procedure along the last axis, in the values order.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, axis=-1, kind="stable")
    scaled = np.take_along_axis(values, order, -1) * np.arange(values.shape[-1], 0, -1)
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(scaled, -1), 1.0), -1)
    return adjusted


def estimate_columns(
    influences: Influences, estimates: Estimate, seeds: npt.ArrayLike, level: float = 1 - ALPHA
) -> dict[str, FloatArray | npt.NDArray[np.int64]]:
    """Return `ESTIMATE_COLUMNS` for estimates ``[K]`` on ``seeds`` ``[K]`` seeds, with intervals of ``level``."""
    low, high = estimates.interval(level)
    count = np.asarray(seeds, dtype=np.int64)
    clusters, samples = (
        np.full_like(count, number) for number in (influences.clusters(), influences.samples())
    )
    columns = (
        estimates.mean,
        low,
        high,
        estimates.standard_error,
        estimates.degrees,
        count,
        clusters,
        samples,
    )
    return dict(zip(ESTIMATE_COLUMNS, columns, strict=True))


def holm_of(p_values: FloatArray, family: npt.NDArray[np.bool_]) -> FloatArray:
    """Adjust the p-values of the rows in ``family`` [rows]; NaN in other rows and where the p-value is NaN."""
    adjusted = np.full(len(p_values), np.nan)
    tested = family & ~np.isnan(p_values)
    adjusted[tested] = holm(p_values[tested])
    return adjusted
