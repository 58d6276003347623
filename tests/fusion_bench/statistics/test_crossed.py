"""The interval: its mean squares against statsmodels, its linearisation against a jackknife, its coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from fusion_bench.statistics.crossed import crossed, mean_squares, pairwise_mean_squares


def test_mean_squares_are_those_of_a_two_way_analysis_of_variance() -> None:
    table = np.random.default_rng(0).normal(size=(3, 8))
    long = pd.DataFrame(
        {"seed": np.repeat(range(3), 8), "cluster": np.tile(range(8), 3), "value": table.reshape(-1)}
    )
    expected = anova_lm(ols("value ~ C(seed) + C(cluster)", long).fit(), typ=2)
    expected = expected["sum_sq"] / expected["df"]
    found = mean_squares(table, np.ones(8))
    assert found.seed == pytest.approx(expected["C(seed)"])
    assert found.cluster == pytest.approx(expected["C(cluster)"])
    assert found.residual == pytest.approx(expected["Residual"])


def test_equal_sizes_reduce_to_cluster_means() -> None:
    table = np.random.default_rng(1).normal(size=(3, 8))
    plain, sized = mean_squares(table, np.ones(8)), mean_squares(5 * table, np.full(8, 5))
    assert np.allclose(
        [plain.mean, plain.seed, plain.cluster, plain.residual],
        [sized.mean, sized.seed, sized.cluster, sized.residual],
    )


def test_the_estimate_weighs_samples_equally_when_clusters_are_unequal() -> None:
    totals, sizes = np.array([[2.0, 9.0, 1.0], [4.0, 7.0, 0.0]]), np.array([4, 10, 1])
    assert crossed(totals, sizes).mean == pytest.approx(23 / 30)


def test_unequal_clusters_vary_as_leaving_each_out_says() -> None:
    """The cluster mean square over S N is the delete-one jackknife variance of the ratio of means."""
    generator = np.random.default_rng(2)
    sizes = generator.integers(1, 30, 400)
    totals = generator.binomial(sizes, generator.beta(4, 2, 400), (3, 400)).astype(float)
    left_out = (totals.sum() - totals.sum(0)) / (3 * (sizes.sum() - sizes))
    jackknife = 399 / 400 * ((left_out - left_out.mean()) ** 2).sum()
    assert mean_squares(totals, sizes).cluster / (3 * 400) == pytest.approx(jackknife, rel=0.02)


def test_a_seed_that_is_better_everywhere_leaves_no_residual_in_unequal_clusters() -> None:
    sizes = np.array([1, 5, 20, 3])
    squares = mean_squares(np.array([[0.5], [0.7], [0.6]]) * sizes, sizes)
    assert squares.residual == pytest.approx(0, abs=1e-15)
    assert squares.cluster == pytest.approx(0, abs=1e-15)


def test_satterthwaite_reduces_to_the_one_way_t_interval_when_seeds_are_all_that_vary() -> None:
    seeds = np.array([0.1, 0.5, 0.3, 0.9])
    estimate = crossed(np.repeat(seeds[:, None], 6, axis=1), np.ones(6))
    expected = stats.t.interval(0.95, 3, seeds.mean(), stats.sem(seeds))
    assert float(estimate.degrees) == pytest.approx(3)
    assert np.allclose(estimate.interval(), expected)
    assert float(estimate.p_value()) == pytest.approx(stats.ttest_1samp(seeds, 0).pvalue)


def test_one_seed_or_one_cluster_gives_no_interval() -> None:
    for totals in (np.array([[0.2, 0.4, 0.9]]), np.array([[0.2], [0.4]])):
        estimate = crossed(totals, np.ones(totals.shape[1]))
        assert estimate.mean == pytest.approx(totals.mean())
        assert np.isnan([*estimate.interval(), estimate.p_value()]).all()


def test_a_large_residual_with_few_degrees_of_freedom_does_not_burst_the_interval() -> None:
    estimate = crossed(
        np.array([[1.0, 0.0], [0.0, 1.1]]), np.ones(2)
    )  # seeds and clusters agree, cells do not
    assert float(estimate.degrees) == 1
    low, high = estimate.interval()
    assert float(high - low) == pytest.approx(2 * stats.t.ppf(0.975, 1) * float(estimate.standard_error))


def test_an_interval_ends_where_the_mean_cannot_be() -> None:
    estimate = replace(crossed(np.array([[0.9, 0.2], [0.1, 0.8]]), np.ones(2)), possible=(0.0, 1.0))
    assert estimate.interval() == (0.0, 1.0)


def test_equal_values_give_a_point() -> None:
    none, all_of_it = crossed(np.zeros((3, 5)), np.ones(5)), crossed(np.full((3, 5), 0.3), np.ones(5))
    assert [*none.interval(), *all_of_it.interval()] == pytest.approx([0, 0, 0.3, 0.3])
    assert none.p_value() == 1 and all_of_it.p_value() == 0
    assert none.p_outside(0.01) == 0 and all_of_it.p_outside(0.01) == 1


def test_inside_the_margin_is_a_90_percent_interval_inside_it() -> None:
    generator = np.random.default_rng(3)
    estimate = crossed(generator.normal(0.1, 1, (500, 3, 20)), np.ones(20))
    low, high = estimate.interval(0.9)
    assert np.array_equal((low > -0.4) & (high < 0.4), estimate.p_outside(0.4) < 0.05)


def _crossed_normal(
    generator: np.random.Generator, draws: int, seeds: int, clusters: int, spread: tuple[float, float, float]
) -> np.ndarray:
    seed, cluster, residual = (generator.normal(size=shape) for shape in _shapes(draws, seeds, clusters))
    return spread[0] * seed + spread[1] * cluster + spread[2] * residual


def _shapes(draws: int, seeds: int, clusters: int) -> tuple[tuple[int, ...], ...]:
    return (draws, seeds, 1), (draws, 1, clusters), (draws, seeds, clusters)


SPREADS = {
    "samples rule": (0.002, 0.3, 0.3),
    "seeds matter": (0.01, 0.3, 0.3),
    "seeds rule": (0.05, 0.2, 0.3),
    "noise alone": (0.0, 0.0, 0.4),
    "all alike": (0.1, 0.3, 0.5),
}


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("clusters", [50, 300])
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_coverage_with_normal_effects(seeds: int, clusters: int, spread: tuple[float, float, float]) -> None:
    generator = np.random.default_rng([seeds, clusters])
    drawn = _crossed_normal(generator, 2000 if clusters == 50 else 1000, seeds, clusters, spread)
    low, high = crossed(drawn, np.ones(clusters)).interval()
    assert ((low <= 0) & (high >= 0)).mean() >= 0.93


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [(0.02, 1.0), (0.1, 1.0), (0.3, 0.5)], ids=["quiet", "usual", "unruly"])
def test_coverage_with_right_and_wrong_answers_in_clusters_of_unequal_size(
    seeds: int, spread: tuple[float, float]
) -> None:
    """Two arms answer the same questions about the same images; what is estimated is known in closed form.

    An answer is right when skill + seed + image + noise is above zero (a probit), so the expected accuracy
    over seeds and images is Phi(skill / sqrt(1 + var(seed) + var(image))).
    """
    generator = np.random.default_rng([seeds, 7])
    draws, clusters, largest = 1000, 60, 6
    sizes = generator.integers(1, largest + 1, (draws, clusters))
    asked = np.arange(largest) < sizes[..., None]
    totals, skill = [], (0.8, 0.6)
    image = spread[1] * generator.normal(size=(draws, 1, clusters))
    for level in skill:
        seed = spread[0] * generator.normal(size=(draws, seeds, 1))
        chance = stats.norm.cdf(level + seed + image)
        right = generator.random((draws, seeds, clusters, largest)) < chance[..., None]
        totals.append((right & asked[:, None]).sum(-1))
    truth = np.diff(stats.norm.cdf(np.array(skill) / np.sqrt(1 + spread[0] ** 2 + spread[1] ** 2)))[0]
    low, high = crossed(totals[1] - totals[0], sizes).interval()
    assert ((low <= truth) & (truth <= high)).mean() >= 0.93


def test_mean_squares_of_all_pairs_are_those_of_each_difference() -> None:
    tables = np.random.default_rng(8).normal(size=(4, 3, 20))
    tables[3] = tables[2]  # one and the same model: no negative sum of squares by rounding
    found = pairwise_mean_squares(tables)
    for one, other in np.ndindex(4, 4):
        alone = mean_squares(tables[one] - tables[other], np.ones(20))
        for name, values in vars(found).items():
            assert values[one, other] == pytest.approx(float(getattr(alone, name)), abs=1e-12)
            assert name == "mean" or values[one, other] >= 0
    assert np.isnan(pairwise_mean_squares(tables[:, :1]).seed).all()
    assert np.isnan(pairwise_mean_squares(tables[:, :, :1]).cluster).all()
