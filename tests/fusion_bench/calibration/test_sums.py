"""Studies drawn as sums have the distribution of whole tables."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.calibration.families import all_pairs, pairs_with_reference
from fusion_bench.calibration.sums import Sums, draw_sums
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.simulation import StudyShape, simulate_study
from summed_studies import sums_of

SHAPE = StudyShape(4, 3, 12, seed_sd=1.0, shared_seed_sd=0.5, cluster_sd=3.0, residual_sd=4.0)
MANY_ARMS = dataclasses.replace(SHAPE, arms=9, clusters=6)  # fewer free clusters than arms
SEEDS_ALONE = StudyShape(4, 3, 12, seed_sd=1.0)


def tables(shape: StudyShape, studies: int) -> list[Influences]:
    generator = np.random.default_rng(1)
    return [simulate_study(shape, np.full(shape.arms - 1, 0.7), generator) for _ in range(studies)]


def numbers(sums: Sums) -> FloatArray:
    """``[K, 6]``: means of two cells, and the mean squares of two differences."""
    return np.column_stack([sums.metric[:, :2, 0], sums.cluster[:, :2], sums.residual[:, :2]])


@pytest.mark.parametrize("shape", [SHAPE, MANY_ARMS, SEEDS_ALONE], ids=["mixed", "many arms", "seeds alone"])
def test_sums_have_the_means_the_spread_and_the_correlations_of_whole_tables(shape: StudyShape) -> None:
    pairs = pairs_with_reference(shape.arms)
    truth = np.array([0.0, *[0.7] * (shape.arms - 1)])
    summed = numbers(draw_sums(shape, truth, pairs, 20_000, np.random.default_rng(2)))
    whole = numbers(sums_of(tables(shape, 1500), pairs))
    error = whole.std(0) / np.sqrt(1500)
    assert (np.abs(summed.mean(0) - whole.mean(0)) <= 4 * error + 1e-9).all()
    assert summed.std(0) == pytest.approx(whole.std(0), rel=0.1, abs=1e-9)
    if shape.residual_sd:
        together, apart = (np.corrcoef(found.T) for found in (summed, whole))
        assert together == pytest.approx(apart, abs=0.1)


def test_every_pair_of_arms_and_every_control_has_its_own_sums() -> None:
    """Controls follow the arms and scatter by their own factor."""
    shape = dataclasses.replace(SHAPE, arms=2, controls=2, control_variance=9.0, shared_seed_sd=0.0)
    pairs = all_pairs(4)
    drawn = draw_sums(shape, np.zeros(4), pairs, 20_000, np.random.default_rng(0))
    assert drawn.metric.shape == (20_000, 4, 3) and drawn.cluster.shape == drawn.residual.shape == (20_000, 6)
    beside = 3.0**2 / 12 + 4.0**2 / 12  # what clusters and the residual add to the variance of a metric
    variances = drawn.metric[:, :, 0].var(0)
    assert variances == pytest.approx([1 + beside] * 2 + [9 + beside] * 2, rel=0.05)
    assert drawn.cluster.mean(0) == pytest.approx(2 * (3 * 9.0 + 16.0), rel=0.02)
    assert drawn.residual.mean(0) == pytest.approx(2 * 16.0, rel=0.02)
    whole = simulate_study(shape, np.zeros(3), np.random.default_rng(0))
    assert whole.arms == ("reference", "arm 1", "control 1", "control 2")
