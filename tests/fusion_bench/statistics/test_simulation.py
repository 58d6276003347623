"""Studies of known truth: coverage, the tail of the p-values, the error of the family, and power."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.statistics.comparison import holm
from fusion_bench.statistics.simulation import Scatter, StudyShape, error_rates, simulate_study


def error_of(share: float, studies: int) -> float:
    """Two Monte-Carlo standard errors of a share."""
    return 2 * float(np.sqrt(share * (1 - share) / studies))


@pytest.mark.parametrize(
    ("arms", "seeds", "scatter", "studies"),
    [
        (3, 5, "equal", 250),
        (6, 3, "equal", 250),
        (6, 3, "reference", 250),
        (6, 3, "one arm", 250),
        (27, 3, "log-normal", 100),
    ],
)
def test_intervals_hold_the_truth_and_families_do_not_err(
    arms: int, seeds: int, scatter: Scatter, studies: int
) -> None:
    shape = StudyShape(arms, seeds, 15, seed_sd=1.0, residual_sd=0.5, scatter=scatter)
    rates = error_rates(shape, np.zeros(arms - 1), studies, np.random.default_rng([arms, seeds]))
    assert rates.coverage >= 0.93 - error_of(0.93, studies)
    assert rates.worst_coverage >= 0.92 - error_of(0.92, studies)
    assert rates.family_error <= 0.05 + error_of(0.05, studies)
    if scatter != "reference":
        assert rates.tail <= 1.3 + 2 * np.sqrt(1.3 / (studies * 0.05)), "counts of rare events, .05 a study"


def test_clusters_that_vary_are_held_too() -> None:
    shape = StudyShape(6, 3, 40, seed_sd=0.3, cluster_sd=4.0, residual_sd=6.0)
    rates = error_rates(shape, np.zeros(5), 200, np.random.default_rng(1))
    assert rates.coverage >= 0.93 and rates.family_error <= 0.05 + error_of(0.05, 200)


def test_a_reference_with_more_seeds_is_more_precise_and_no_less_honest() -> None:
    generator = np.random.default_rng(2)
    shape = StudyShape(6, 3, 15, seed_sd=1.0, residual_sd=0.5)
    more = StudyShape(6, 3, 15, seed_sd=1.0, residual_sd=0.5, reference_seeds=8)
    equal, richer = (error_rates(kind, np.zeros(5), 200, generator) for kind in (shape, more))
    assert richer.half_width < 0.9 * equal.half_width
    assert richer.coverage >= 0.93 and richer.family_error <= 0.05 + error_of(0.05, 200)


def test_moderation_finds_what_pairs_alone_do_not() -> None:
    """Eight standard deviations, 26 comparisons, 3 seeds."""
    shape, effects = StudyShape(27, 3, 15, seed_sd=1.0, residual_sd=0.5), np.repeat([8.0, 0.0], 13)
    power = error_rates(shape, effects, 30, np.random.default_rng(3)).power
    generator, alone = np.random.default_rng(3), []
    for _ in range(30):
        study = simulate_study(shape, effects, generator)
        seeds = study.seeds_of(*study.arms)
        p = [float(study.paired(arm, "reference", seeds).p_value()) for arm in study.arms[1:]]
        alone.append((holm(p)[:13] < 0.05).mean())
    assert power >= 0.6
    assert np.mean(alone) <= 0.4


def test_simulated_studies_have_the_effects_and_the_scatter_that_are_asked_for() -> None:
    shape = StudyShape(4, 2000, 2, seed_sd=0.5, scatter="one arm", reference_seeds=2500)
    study = simulate_study(shape, np.array([1.0, 0.0, -1.0]), np.random.default_rng(4))
    assert [int(study.seeds_of(arm).sum()) for arm in study.arms] == [2500, 2000, 2000, 2000]
    values = [study.per_seed([arm], study.seeds_of(arm))[0] for arm in study.arms]
    assert [value.mean() for value in values] == pytest.approx([0.0, 1.0, 0.0, -1.0], abs=0.1)
    assert [value.std() for value in values] == pytest.approx([0.5, 1.0, 0.5, 0.5], rel=0.08)
    uneven = StudyShape(4000, 3, 2, seed_sd=2.0, scatter="log-normal")
    drawn = simulate_study(uneven, np.zeros(3999), np.random.default_rng(5)).table[:, :, 0]
    assert drawn.var(1, ddof=1).mean() == pytest.approx(4.0, rel=0.1), "the mean variance is that of seed_sd"
