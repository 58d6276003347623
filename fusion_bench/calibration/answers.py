"""Simulated studies whose samples are right or wrong, read through the same `Scores` as the samples of real cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.scores import Scores
from fusion_bench.statistics.simulation import StudyShape, variance_factors

_LEVEL = 0.7  # the accuracy of an arm without effects
_QUESTIONS = 3.0  # a cluster has one question and, on average, so many more
_DIFFICULTY = 1.0  # the standard deviation of clusters, in logits, that all arms share


def answered_study(shape: StudyShape, effects: FloatArray, generator: np.random.Generator) -> Influences:
    """Return a study of right and wrong answers to questions about images.

    Each question of cluster ``c`` is answered rightly with the probability
    ``sigmoid(t + e + d_c + a_s + b_as + g_ac)``: accuracy, effect, difficulty of the image, effects of the seed on
    all arms and on the arm, and of the image on the arm. The standard deviations of ``shape`` are points of accuracy
    and are divided by the slope of the sigmoid. What remains, the answers themselves, is the residual. All arms
    without an effect have one distribution.

    Args:
        shape: the shape of the study; ``residual_sd`` has no part, and every arm has ``seeds`` seeds.
        effects: ``[A - 1]``, in points at the slope of the sigmoid.
        generator: the source of chance.
    """
    arms, seeds, clusters = shape.arms, shape.seeds, shape.clusters
    per_logit = 100 * _LEVEL * (1 - _LEVEL)
    spread = shape.seed_sd * np.sqrt(variance_factors(shape, generator)[0])
    by_seed = spread[:, None] * generator.normal(size=(arms, seeds))
    by_seed += shape.shared_seed_sd * generator.normal(size=seeds) + np.concatenate([[0.0], effects])[:, None]
    by_cluster = shape.cluster_sd * generator.normal(size=(arms, clusters))
    difficulty = _DIFFICULTY * generator.normal(size=clusters)
    points = (by_seed[:, :, None] + by_cluster[:, None, :]) / per_logit
    right = special.expit(special.logit(_LEVEL) + points + difficulty)
    cluster = np.repeat(np.arange(clusters), 1 + generator.poisson(_QUESTIONS, size=clusters))
    score = (generator.uniform(size=(arms, seeds, len(cluster))) < right[:, :, cluster]).astype(np.float64)
    names = ("reference", *(f"arm {number}" for number in range(1, arms)))
    table = pd.DataFrame(
        {
            "arm": np.repeat(np.array(names, dtype=object), seeds * len(cluster)),
            "seed": np.tile(np.repeat(np.arange(seeds), len(cluster)), arms),
            "sample": np.tile(np.arange(len(cluster)), arms * seeds),
            "cluster": np.tile(cluster, arms * seeds),
            "score": score.reshape(-1),
        }
    )
    return Scores.of(table, names).influences()
