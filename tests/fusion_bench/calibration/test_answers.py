"""Simulated answers are right or wrong, of uneven clusters, and about as often right as is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.calibration.answers import answered_study
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


def test_seeds_and_images_scatter_as_asked() -> None:
    still = StudyShape(3, 6, 300, seed_sd=0.0)
    wild = StudyShape(3, 6, 300, seed_sd=8.0)
    spread = [
        answered_study(shape, np.zeros(2), np.random.default_rng(1))
        .per_seed(["arm 1"], np.ones(6, bool))
        .std()
        for shape in (still, wild)
    ]
    assert spread[0] < 0.02 and spread[1] > 0.025
