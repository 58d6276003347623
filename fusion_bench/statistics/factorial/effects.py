r"""Main effects and two-way interactions of a full factorial, by the crossed model of the comparisons.

An effect is a contrast ``psi = sum_a c_a mu_a`` of the arms' means, ``sum_a c_a = 0``. With ``L`` levels of a factor
and ``K`` combinations of the levels of the other factors, the main effect of a level against the first one has
``c = +-1/K`` on the arms of these two levels: their difference, averaged over everything else. The interaction of a
level of one factor with a level of another is a difference of two such differences, averaged over the rest
(Montgomery, *Design and Analysis of Experiments*, chapters 5 and 6; there, a 2 x 2 interaction is half of it).

**Variance.** With the table ``v[a, s, n]`` of arm, seed and cluster (`fusion_bench.statistics.influence`), the
contrast has the table ``z[s, n] = sum_a c_a v[a, s, n]``, whose grand mean is its estimate. In the crossed model
``v = mu[a] + alpha[a, s] + beta[a, n] + e[a, s, n]`` with seeds and clusters drawn once for all arms, ``z`` is again
a crossed table, ``z = psi + sum_a c_a alpha[a, s] + sum_a c_a beta[a, n] + sum_a c_a e``: what is common to all arms
cancels, and its mean squares and variance are those of `fusion_bench.statistics.crossed`. The contrasts of a balanced
analysis of variance have the same mean squares: with one cluster, ``psi^2 / (MS_seed / S)`` is the F of the factor in
an analysis with repeated measures over seeds.

**Seeds.** Seed effects of different arms are independent but for the common part, so the variance over seeds of ``z``
is ``sum_a c_a^2 u_a`` with ``u_a`` the moderated seed variances of the study's pool
(`fusion_bench.statistics.seeds.moderation`), on the degrees of `SeedVariances.contrast`. No arm of a factorial is in
every contrast as the reference of a study is in every comparison, so no arm gets its caution.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fusion_bench.statistics.comparison import FEWEST_SEEDS, Question, estimate_columns, holm_of
from fusion_bench.statistics.crossed import crossed, estimate_of, mean_squares
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.estimate import Estimate, FloatArray, stacked
from fusion_bench.statistics.factorial.design import FactorialDesign
from fusion_bench.statistics.influence import Influences

MAIN, INTERACTION = "main effect", "interaction"
EFFECT_COLUMNS = ("kind", "factor", "level", "base", "other_factor", "other_level", "other_base")


@dataclass(frozen=True)
class FactorialEffect:
    """An effect as a contrast of arms.

    Attributes:
        factor, level, base: the factor, and its level against its first one.
        other_factor, other_level, other_base: the same of the second factor; empty for a main effect.
        coefficients: ``c_a`` by the label of the arm; arms that have none are left out.
    """

    factor: str
    level: str
    base: str
    other_factor: str
    other_level: str
    other_base: str
    coefficients: Mapping[str, float]

    @property
    def kind(self) -> str:
        """``main effect`` or ``interaction``."""
        return INTERACTION if self.other_factor else MAIN


def effects_of(design: FactorialDesign) -> Iterator[FactorialEffect]:
    """Yield the main effects of the levels of every factor, then the interactions of every two factors."""
    for axis, (name, levels) in enumerate(zip(design.factors, design.levels, strict=True)):
        for level in range(1, len(levels)):
            yield FactorialEffect(
                name, levels[level], levels[0], "", "", "", _coefficients(design, {axis: level})
            )
    for (one, first), (two, second) in itertools.combinations(enumerate(design.levels), 2):
        for level, other in itertools.product(range(1, len(first)), range(1, len(second))):
            yield FactorialEffect(
                design.factors[one],
                first[level],
                first[0],
                design.factors[two],
                second[other],
                second[0],
                _coefficients(design, {one: level, two: other}),
            )


def factorial_effects(influences: Influences, question: Question, design: FactorialDesign) -> pd.DataFrame:
    """Return the effects of a design on a metric.

    Main effects are one family of tests and interactions another; Holm's correction runs within each.

    Args:
        influences: the finished cells.
        question: the comparisons of the study, whose arms tell how much seeds scatter.
        design: the design.

    Returns:
        One row per effect whose arms share a finished seed: ``kind``, ``factor``, ``level``, ``base``,
        ``other_factor``, ``other_level``, ``other_base``, the columns of
        `fusion_bench.statistics.comparison.means`, ``p`` and ``p_holm`` (NaN with fewer than three seeds).
    """
    differences = question.differences(influences)
    effects, estimates, seeds = [], [], []
    for effect in effects_of(design):
        shared = _seeds(differences, influences, effect)
        if shared.any():
            effects.append(effect)
            estimates.append(contrast_estimate(influences, differences, effect.coefficients))
            seeds.append(int(shared.sum()))
    found = stacked(estimates)
    p = found.p_value()
    kinds = np.array([effect.kind for effect in effects], dtype=object)
    enough = np.array(seeds, dtype=np.int64) >= FEWEST_SEEDS
    corrected = np.full(len(p), np.nan)
    for kind in (MAIN, INTERACTION):
        corrected = np.where(kinds == kind, holm_of(p, enough & (kinds == kind)), corrected)
    # The ends that an effect cannot pass depend on its contrast, so the intervals are taken one by one.
    columns = estimate_columns(influences, found, seeds)
    ends = np.array([item.interval() for item in estimates], dtype=np.float64).reshape(-1, 2)
    named = {name: [getattr(effect, name) for effect in effects] for name in EFFECT_COLUMNS}
    return pd.DataFrame(
        {**named, **columns, "low": ends[:, 0], "high": ends[:, 1], "p": p, "p_holm": corrected}
    )


def contrast_estimate(
    influences: Influences, differences: Differences, coefficients: Mapping[str, float]
) -> Estimate:
    """Return the estimate of a contrast of arms, on the pool's seeds or else on those that all of them share."""
    arms, pool = [*coefficients], differences.pool
    weights = np.array([*coefficients.values()], dtype=np.float64)
    in_pool = {*arms} <= {*pool.arms} and differences.variances is not None
    seeds = pool.seeds if in_pool else influences.seeds_of(*arms)
    table: FloatArray = np.tensordot(weights, np.stack([influences.of(arm, seeds) for arm in arms]), 1)
    sizes = np.ones(influences.clusters())
    found = crossed(table, sizes)
    if in_pool and differences.variances is not None and (found.standard_error > 0).all():
        every = np.zeros(len(pool.arms))
        every[[pool.arms.index(arm) for arm in arms]] = weights
        variance, degrees = differences.variances.contrast(every)
        if variance > 0:
            squares = mean_squares(table, sizes)
            seed = np.asarray(influences.clusters() * variance)
            found = estimate_of(replace(squares, seed=seed), int(seeds.sum()), influences.clusters(), degrees)
    low, high = influences.possible
    reach = float(np.abs(weights).sum()) / 2 * (high - low)
    mean = weights @ influences.per_seed(arms, seeds).mean(1)
    return replace(found, mean=np.asarray(mean), possible=(-reach, reach))


def _seeds(differences: Differences, influences: Influences, effect: FactorialEffect) -> np.ndarray:
    arms = [*effect.coefficients]
    return differences.pool.seeds if {*arms} <= {*differences.pool.arms} else influences.seeds_of(*arms)


def _coefficients(design: FactorialDesign, levels: Mapping[int, int]) -> dict[str, float]:
    """Return the coefficients of the contrast of the given level of one or two axes with their first levels."""
    chosen = {
        arm: float(np.prod([1 if place[axis] == level else -1 for axis, level in levels.items()]))
        for place, arm in design.arms.items()
        if all(place[axis] in (0, level) for axis, level in levels.items())
    }
    others = len(chosen) / 2 ** len(levels)
    return {arm: sign / others for arm, sign in chosen.items()}
