"""Simulated studies of known truth, and how often the statistics are right about them.

The unit is free (points of accuracy, say): simulated metrics have no limits. Everything is drawn from the crossed
random-effects model that the estimates assume, with normal effects; what differs between cases is who scatters how
much. A study without effects is an A/A study: every difference that is found in it is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from fusion_bench.statistics.comparison import ALPHA, Question, compare
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences

Scatter: TypeAlias = Literal["equal", "one arm", "reference", "log-normal"]
"""Whose variance over seeds differs: nobody's; 4 times that of one arm or of the reference; everyone's by chance."""

_FACTOR = 4.0
_LOG_SPREAD = float(
    np.log(_FACTOR) / 2
)  # one standard deviation below to one above the median is a factor of 4


@dataclass(frozen=True)
class StudyShape:
    """The shape of a simulated study.

    Attributes:
        arms: the number of arms, the reference included.
        seeds: the number of seeds of each arm.
        clusters: the number of clusters.
        seed_sd: the standard deviation of an arm over seeds (root of the mean variance).
        shared_seed_sd: that of a seed's effect on all arms.
        cluster_sd: that of a cluster's effect on one arm; an effect on all arms cancels and is not drawn.
        residual_sd: that of one seed of one arm on one cluster.
        scatter: how the variance over seeds differs between arms.
        reference_seeds: the number of seeds of the reference; None for as many as the arms have.
    """

    arms: int
    seeds: int
    clusters: int
    seed_sd: float
    shared_seed_sd: float = 0.0
    cluster_sd: float = 0.0
    residual_sd: float = 0.0
    scatter: Scatter = "equal"
    reference_seeds: int | None = None


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
        family_error: the share of studies in which an arm without an effect is called better or worse.
        family_error_error: its Monte-Carlo error.
        tail: the share of comparisons without an effect whose p-value is below .05 / m, divided by .05 / m.
        tail_error: its Monte-Carlo error.
        power: the share of arms with an effect that are called better or worse; NaN without effects.
        power_error: its Monte-Carlo error.
        half_width: the mean half width of the intervals.
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


Draw: TypeAlias = Callable[[StudyShape, FloatArray, np.random.Generator], Influences]
"""Draws a study of a shape with the true differences ``[A - 1]`` of the arms from the first one, the reference."""


def simulate_study(shape: StudyShape, effects: FloatArray, generator: np.random.Generator) -> Influences:
    """Return one simulated study; its first arm is the reference.

    Args:
        shape: the shape of the study.
        effects: ``[A - 1]``, the true difference of each arm from the reference.
        generator: the source of chance.
    """
    most = max(shape.seeds, shape.reference_seeds or 0)
    spread = shape.seed_sd * np.sqrt(variance_factors(shape, generator)[0])
    truth = np.concatenate([[0.0], effects])
    by_seed = generator.normal(size=(shape.arms, most)) * spread[:, None]
    by_seed += shape.shared_seed_sd * generator.normal(size=most)
    by_cluster = shape.cluster_sd * generator.normal(size=(shape.arms, shape.clusters))
    table = (truth[:, None] + by_seed)[:, :, None] + by_cluster[:, None, :]
    if shape.residual_sd:
        table = table + shape.residual_sd * generator.normal(size=table.shape)
    table[1:, shape.seeds :] = np.nan
    table[0, shape.reference_seeds or shape.seeds :] = np.nan
    names = ("reference", *(f"arm {number}" for number in range(1, shape.arms)))
    ids = np.arange(shape.clusters).astype(object)
    return Influences(names, tuple(range(most)), table, ids, (-np.inf, np.inf))


def error_rates(
    shape: StudyShape,
    effects: FloatArray,
    studies: int,
    generator: np.random.Generator,
    draw: Draw = simulate_study,
) -> Rates:
    """Return how often `fusion_bench.statistics.comparison.compare` is right in ``studies`` simulated studies.

    Args:
        shape: the shape of the studies.
        effects: ``[A - 1]``, the true difference of each arm from the reference.
        studies: the number of studies.
        generator: the source of chance.
        draw: draws a study.
    """
    shown = [Shown(*np.empty((4, 0, shape.arms - 1)))]
    for _ in range(studies):
        study = draw(shape, effects, generator)
        table = compare(study, Question(study.arms[0], study.arms[1:]))
        columns = (table[name].to_numpy(dtype=np.float64)[None] for name in ("low", "high", "p", "p_holm"))
        shown.append(Shown(*columns))
    return rates_of(shown, effects)


@dataclass(frozen=True, eq=False)
class Shown:
    """The intervals and p-values of simulated studies, each ``[studies, A - 1]``."""

    low: FloatArray
    high: FloatArray
    p: FloatArray
    p_holm: FloatArray


def rates_of(shown: Sequence[Shown], effects: FloatArray) -> Rates:
    """Return how often the statistics were right, from what they say and the true differences ``[A - 1]``."""
    low, high, p, p_holm = (
        np.concatenate([getattr(item, name) for item in shown]) for name in ("low", "high", "p", "p_holm")
    )
    null, level = effects == 0, ALPHA / len(effects)
    held, found = (low <= effects) & (effects <= high), p_holm < ALPHA
    return Rates(
        len(p),
        *_mean_of_studies(held),
        *_share(float(held.mean(0).min()), len(p)),
        *_share(float((found & null).any(1).mean()), len(p)),
        *_mean_of_studies((p < level)[:, null] / level),
        *_mean_of_studies(found[:, ~null]),
        float((high - low).mean() / 2),
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


def variance_factors(shape: StudyShape, generator: np.random.Generator, studies: int = 1) -> FloatArray:
    """Return ``[studies, A]``, the variance over seeds of each arm, as a multiple of ``seed_sd ** 2``."""
    factors = np.ones((studies, shape.arms))
    if shape.scatter == "one arm":
        factors[:, 1] = _FACTOR
    elif shape.scatter == "reference":
        factors[:, 0] = _FACTOR
    elif shape.scatter == "log-normal":
        factors = np.exp(_LOG_SPREAD * generator.normal(size=factors.shape) - _LOG_SPREAD**2 / 2)
    return factors
