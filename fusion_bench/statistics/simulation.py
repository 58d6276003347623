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

from fusion_bench.statistics.comparison import ALPHA, Question, compare
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.rates import Rates, Shown, Truth, rates_of
from fusion_bench.statistics.sequential import InfluencesAt, look_table, planned_looks, take_looks

Scatter: TypeAlias = Literal[
    "equal", "one arm", "reference", "log-normal", "a third", "a third and the reference"
]
"""Whose variance over seeds differs: nobody's; that of one arm or of the reference, by 4 times; everyone's by chance;
that of a third of the arms, without or with the reference, by 100 times, as of arms that are still learning."""

_FACTOR, _LEARNING_FACTOR = 4.0, 100.0
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
        controls: the number of controls, beside the arms.
        control_variance: the variance over seeds of each control, as a multiple of ``seed_sd ** 2``.
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
    controls: int = 0
    control_variance: float = 1.0

    def rows(self) -> int:
        """Return the number of arms and controls."""
        return self.arms + self.controls


Draw: TypeAlias = Callable[[StudyShape, FloatArray, np.random.Generator], Influences]
"""Draws a study of a shape with the true differences ``[A - 1]`` of the arms from the first one, the reference."""


def simulate_study(shape: StudyShape, effects: FloatArray, generator: np.random.Generator) -> Influences:
    """Return one simulated study; its first arm is the reference, and controls follow the arms.

    Args:
        shape: the shape of the study.
        effects: ``[A - 1]``, the true difference of each arm (and control) from the reference.
        generator: the source of chance.
    """
    most = max(shape.seeds, shape.reference_seeds or 0)
    spread = shape.seed_sd * np.sqrt(variance_factors(shape, generator)[0])
    truth = np.concatenate([[0.0], effects])
    by_seed = generator.normal(size=(shape.rows(), most)) * spread[:, None]
    by_seed += shape.shared_seed_sd * generator.normal(size=most)
    by_cluster = shape.cluster_sd * generator.normal(size=(shape.rows(), shape.clusters))
    table = (truth[:, None] + by_seed)[:, :, None] + by_cluster[:, None, :]
    if shape.residual_sd:
        table = table + shape.residual_sd * generator.normal(size=table.shape)
    table[1:, shape.seeds :] = np.nan
    table[0, shape.reference_seeds or shape.seeds :] = np.nan
    names = (
        "reference",
        *(f"arm {number}" for number in range(1, shape.arms)),
        *(f"control {number}" for number in range(1, shape.controls + 1)),
    )
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
    return rates_of(shown, Truth(effects, effects == 0))


def look_rates(
    shape: StudyShape, effects: FloatArray, looks: Sequence[int], studies: int, generator: np.random.Generator
) -> Rates:
    """Return how often the verdicts of studies with looks are right, in ``studies`` simulated studies.

    Each study takes its looks as a run does. A test is that of an arm over all its looks: its p-value is the smallest
    of ``p .05 / alpha_k``, so that it is below 5 % where some look finds the arm better or worse.

    Args:
        shape: the shape of the studies, with the seeds of the last look.
        effects: ``[A - 1]``, the true difference of each arm from the reference.
        looks: the numbers of seeds of the looks.
        studies: the number of studies.
        generator: the source of chance.
    """
    planned = planned_looks(looks)
    p, p_holm = np.ones((2, studies, shape.arms - 1))
    for number in range(studies):
        study = simulate_study(shape, effects, generator)
        question = Question(study.arms[0], study.arms[1:])
        for look in take_looks(question, planned, _ended(study)).taken:
            table = look_table(study, question, look)
            rows = [question.family.index(arm) for arm in table["arm"]]
            for found, column in ((p, "p"), (p_holm, "p_holm")):
                scaled = table[column].to_numpy(dtype=np.float64) * ALPHA / look.alpha
                found[number, rows] = np.minimum(found[number, rows], scaled)
    none = np.empty((studies, 0))
    return rates_of([Shown(none, none, p, p_holm)], Truth(np.empty(0), effects == 0))


def _ended(study: Influences) -> InfluencesAt:
    """Return the cells of a study at every look: all have ended."""
    return lambda look, arms: study


def variance_factors(shape: StudyShape, generator: np.random.Generator, studies: int = 1) -> FloatArray:
    """Return ``[studies, A]``, the variance over seeds of each arm and control, as a multiple of ``seed_sd ** 2``."""
    factors = np.ones((studies, shape.rows()))
    if shape.scatter == "one arm":
        factors[:, 1] = _FACTOR
    elif shape.scatter == "reference":
        factors[:, 0] = _FACTOR
    elif shape.scatter == "log-normal":
        factors = np.exp(_LOG_SPREAD * generator.normal(size=factors.shape) - _LOG_SPREAD**2 / 2)
    elif shape.scatter != "equal":
        factors[:, shape.arms - max(1, shape.arms // 3) : shape.arms] = _LEARNING_FACTOR
        if shape.scatter == "a third and the reference":
            factors[:, 0] = _LEARNING_FACTOR
    factors[:, shape.arms :] *= shape.control_variance
    return factors
