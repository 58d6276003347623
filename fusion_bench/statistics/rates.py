"""How often the statistics were right about simulated studies of known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_bench.statistics.comparison import ALPHA
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import BoolArray


@dataclass(frozen=True)
class Rates:
    """How often the statistics were right in simulated studies.

    A Monte-Carlo error is one standard error. Comparisons of one study depend on each other, so that it is computed
    from the means of the studies.

    Attributes:
        studies: the number of studies.
        coverage: the share of 95 % intervals that hold the true difference.
        coverage_error: its Monte-Carlo error.
        worst_coverage: the same for the arm with the lowest share.
        worst_coverage_error: its Monte-Carlo error.
        family_error: the share of studies in which a test rejects that must not: an arm without an effect is called
            better or worse.
        family_error_error: its Monte-Carlo error.
        tail: the share of tests that must not reject whose p-value is below level / m, divided by level / m.
        tail_error: its Monte-Carlo error.
        power: the share of the other tests that reject: arms with an effect that are called better or worse; NaN
            without effects.
        power_error: its Monte-Carlo error.
        half_width: the mean half width of the intervals; it and the coverage are NaN without intervals.
    """

    studies: int
    coverage: float
    coverage_error: float
    worst_coverage: float
    worst_coverage_error: float
    family_error: float
    family_error_error: float
    tail: float
    tail_error: float
    power: float
    power_error: float
    half_width: float


@dataclass(frozen=True, eq=False)
class Shown:
    """The intervals and p-values of simulated studies.

    Attributes:
        low, high: ``[studies, K]``, the ends of the 95 % intervals; ``K`` is 0 where none are shown.
        p: ``[studies, m]``, the p-values of the tests of one family.
        p_holm: ``[studies, m]``, the same after Holm's correction.
    """

    low: FloatArray
    high: FloatArray
    p: FloatArray
    p_holm: FloatArray


@dataclass(frozen=True, eq=False)
class Truth:
    """The true values of the simulated studies, and the tests that must not reject.

    Attributes:
        differences: ``[K]``, the true values that the intervals are for.
        null: ``[m]``, True for a test that must not reject.
        level: the level of the family.
    """

    differences: FloatArray
    null: BoolArray
    level: float = ALPHA


def rates_of(shown: Sequence[Shown], truth: Truth) -> Rates:
    """Return how often the statistics were right, from what they say and what is true."""
    low, high, p, p_holm = (
        np.concatenate([getattr(item, name) for item in shown]) for name in ("low", "high", "p", "p_holm")
    )
    null, level = truth.null, truth.level / len(truth.null)
    held, found = (low <= truth.differences) & (truth.differences <= high), p_holm < truth.level
    return Rates(
        len(p),
        *_mean_of_studies(held),
        *_share(float(held.mean(0).min()) if held.shape[1] else float("nan"), len(p)),
        *_share(float((found & null).any(1).mean()), len(p)),
        *_mean_of_studies((p < level)[:, null] / level),
        *_mean_of_studies(found[:, ~null]),
        float((high - low).mean() / 2) if held.shape[1] else float("nan"),
    )


def _mean_of_studies(right: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Return the mean of ``[studies, arms]`` and its Monte-Carlo error; NaN without arms."""
    if not right.shape[1]:
        return float("nan"), float("nan")
    of_study = right.mean(1)
    return float(of_study.mean()), float(of_study.std() / np.sqrt(len(of_study)))


def _share(share: float, studies: int) -> tuple[float, float]:
    """Return the share of studies and its Monte-Carlo error."""
    return share, float(np.sqrt(share * (1 - share) / studies))
