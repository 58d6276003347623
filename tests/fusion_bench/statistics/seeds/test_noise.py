"""Variance components of comparisons: against all pairs by hand, and against the truth of simulated studies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.seeds.noise import comparison_noise
from fusion_bench.statistics.simulation import StudyShape, simulate_study


def test_the_components_are_those_of_the_mean_over_all_pairs() -> None:
    study = simulate_study(StudyShape(4, 3, 30, 1.0, 0.5, 2.0, 5.0), np.zeros(3), np.random.default_rng(0))
    squares = [
        study.paired_squares(one, other, study.seeds_of(one, other))
        for one, other in itertools.combinations(study.arms, 2)
    ]
    seed, cluster, rest = (
        np.mean([float(getattr(item, name)) for item in squares]) for name in ("seed", "cluster", "residual")
    )
    noise = comparison_noise(study, study.arms)
    assert noise is not None and (noise.arms, noise.seeds, noise.clusters) == (4, 3, 30)
    assert noise.residual**2 == pytest.approx(rest)
    assert noise.seed**2 == pytest.approx(max(0.0, (seed - rest) / 30))
    assert noise.cluster**2 == pytest.approx(max(0.0, (cluster - rest) / 3))
    parts = [noise.seed**2 / 3, noise.cluster**2 / 30, noise.residual**2 / 90]
    assert noise.shares() == pytest.approx([part / sum(parts) for part in parts])
    doubled = noise.seed**2 / 6 + noise.cluster**2 / 30 + noise.residual**2 / 180
    assert noise.narrowing(seeds=2) == pytest.approx(1 - np.sqrt(doubled / sum(parts)))


def test_the_components_of_drawn_studies_are_on_average_the_true_ones() -> None:
    shape, generator = StudyShape(5, 4, 40, 1.5, 0.7, 4.0, 6.0), np.random.default_rng(1)
    found = [
        comparison_noise(
            simulate_study(shape, np.zeros(4), generator), ("reference", "arm 1", "arm 2", "arm 3", "arm 4")
        )
        for _ in range(300)
    ]
    means = np.mean([(one.seed**2, one.cluster**2, one.residual**2) for one in found if one], axis=0)
    assert means == pytest.approx([2 * 1.5**2, 2 * 4.0**2, 2 * 6.0**2], rel=0.08)


def test_a_component_below_zero_is_zero_and_named() -> None:
    rest = np.array([[1.0, -1.0], [-1.0, 1.0]])  # neither seeds nor clusters differ on average
    study = Influences(("a", "b"), (0, 1), np.stack([0 * rest, rest]), np.arange(2).astype(object), (-9, 9))
    noise = comparison_noise(study, study.arms)
    assert noise is not None and noise.negative == ("seed", "cluster")
    assert noise.seed == noise.cluster == 0 and noise.shares() == (0, 0, 1)


def test_nothing_is_said_about_one_arm_one_seed_or_one_cluster() -> None:
    table = np.random.default_rng(0).normal(size=(2, 2, 5))
    ids = np.arange(5).astype(object)
    assert comparison_noise(Influences(("a", "b"), (0, 1), table, ids), ("a",)) is None
    assert comparison_noise(Influences(("a", "b"), (0,), table[:, :1], ids), ("a", "b")) is None
    assert comparison_noise(Influences(("a", "b"), (0, 1), table[..., :1], ids[:1]), ("a", "b")) is None
    alike = comparison_noise(Influences(("a", "b"), (0, 1), 0 * table, ids), ("a", "b"))
    assert alike is not None and all(np.isnan(alike.shares())) and alike.narrowing(2, 2) == 0
