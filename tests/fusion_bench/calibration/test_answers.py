"""Simulated answers are right or wrong, of uneven clusters, and about as often right as is asked for."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from fusion_bench.calibration.answers import answered_study
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.simulation import StudyShape

SHAPE = StudyShape(3, 4, 400, seed_sd=0.5, cluster_sd=5.0)


def test_answers_are_shares_of_right_ones() -> None:
    study = answered_study(SHAPE, np.array([0.0, 10.0]), np.random.default_rng(0))
    assert study.arms == ("reference", "arm 1", "arm 2")
    assert study.clusters() == 400 and study.samples() > 2 * study.clusters()
    values = study.per_seed(study.arms, study.seeds_of(*study.arms))
    assert values.shape == (3, 4)
    right = values * study.samples()
    assert right == pytest.approx(np.round(right), abs=1e-6)
    level = values.mean(1)
    assert 0.62 < level[0] < 0.72 and level[1] == pytest.approx(level[0], abs=0.03)
    assert 0.05 < level[2] - level[0] < 0.12, "ten points at the slope of the sigmoid, less where it is flat"


def drawn_logits(*deviations: float) -> tuple[FloatArray, ...]:
    """Nodes of independent normal effects in logits, and the weights of their product, by Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    grids = np.meshgrid(*(deviation * nodes for deviation in deviations), indexing="ij")
    return *grids, functools.reduce(np.multiply.outer, [weights / weights.sum()] * len(deviations))


def right(*effects: FloatArray) -> FloatArray:
    """The probability of a right answer: 70 % without effects, in the logistic model of the docstring."""
    return np.asarray(1 / (1 + 3 / 7 * np.exp(-sum(effects))))


@pytest.mark.parametrize("deviation", [0.0, 3.0, 8.0])
def test_images_scatter_as_asked(deviation: float) -> None:
    """The difference of two arms on an image is squared and averaged over both effects and the difficulty."""
    shape = StudyShape(2, 6, 10_000, seed_sd=0.0, cluster_sd=deviation)
    study = answered_study(shape, np.zeros(1), np.random.default_rng(1))
    squares = study.paired_squares("arm 1", "reference", np.ones(6, bool))
    measured = (float(squares.cluster) - float(squares.residual)) / 6
    one, other, difficulty, weight = drawn_logits(deviation / 21, deviation / 21, 1.0)
    expected = (weight * (right(one, difficulty) - right(other, difficulty)) ** 2).sum()
    expected *= 1 + 3 / 16  # an image of n = 1 + Poisson(3) questions counts n / 4 times
    assert measured == pytest.approx(expected, rel=0.1, abs=0.0002)


@pytest.mark.parametrize("deviation", [0.0, 3.0, 8.0])
def test_seeds_scatter_as_asked(deviation: float) -> None:
    """The accuracy of an arm with one seed is the mean over difficulties; its variance is over the seed's effect."""
    shape = StudyShape(2, 800, 200, seed_sd=deviation)
    study = answered_study(shape, np.zeros(1), np.random.default_rng(1))
    squares = study.paired_squares("arm 1", "reference", np.ones(800, bool))
    measured = (float(squares.seed) - float(squares.residual)) / 200
    seed, difficulty, weight = drawn_logits(deviation / 21, 1.0)
    by_seed = (right(seed, difficulty) * weight).sum(1) / weight.sum(1)
    expected = 2 * float(np.cov(by_seed, aweights=weight.sum(1), ddof=0))
    assert measured == pytest.approx(expected, rel=0.1, abs=0.0001)
