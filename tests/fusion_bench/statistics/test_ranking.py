"""Ranks and their agreement, compared with calculations by hand and with simulations."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.crossed import crossed, mean_covariance
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.ranking import agreement, ranks


def laid_out(
    means: FloatArray, generator: np.random.Generator, seeds: int = 3, clusters: int = 80
) -> Influences:
    """``[A]`` means with a spread between seeds, between clusters, and for each of both."""
    shape = (len(means), seeds, clusters)
    shared = generator.normal(0, 0.08, (1, 1, clusters))
    own = generator.normal(0, 0.01, (len(means), seeds, 1))
    values = means[:, None, None] + shared + own + generator.normal(0, 0.15, shape)
    names = tuple(f"arm {number}" for number in range(len(means)))
    return Influences(names, tuple(range(seeds)), np.clip(values, 0, 1), np.arange(clusters).astype(object))


def test_clear_differences_have_certain_ranks() -> None:
    scores = laid_out(np.array([0.2, 0.8, 0.5]), np.random.default_rng(0))
    table = ranks(scores, scores.arms)
    assert table["arm"].tolist() == ["arm 1", "arm 2", "arm 0"]
    assert table[["rank", "rank_low", "rank_high"]].to_numpy().tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    falling = ranks(scores, scores.arms, rising=False)
    assert falling["arm"].tolist() == ["arm 0", "arm 2", "arm 1"]
    assert falling["rank_low"].tolist() == [1, 2, 3]


def test_twins_share_their_ranks_and_a_single_seed_settles_nothing() -> None:
    scores = laid_out(np.array([0.5, 0.5, 0.9]), np.random.default_rng(1))
    table = ranks(scores, scores.arms).set_index("arm")
    assert table.loc["arm 0", ["rank_low", "rank_high"]].tolist() == [2, 3]
    assert table.loc["arm 2", ["rank_low", "rank_high"]].tolist() == [1, 1]
    one = ranks(laid_out(np.array([0.1, 0.9]), np.random.default_rng(1), seeds=1), ("arm 0", "arm 1"))
    assert one[["rank_low", "rank_high"]].to_numpy().tolist() == [[1, 2], [1, 2]]


def test_two_seeds_settle_no_rank_as_they_allow_no_verdict() -> None:
    """Also of one arm among others with three: the others keep what is certain about each other."""
    apart = laid_out(np.array([0.1, 0.9, 0.5]), np.random.default_rng(1), seeds=2)
    assert float(Differences(apart, apart.arms).of("arm 1", "arm 0").estimate.p_value()) < 0.01  # type: ignore[union-attr]
    table = ranks(apart, apart.arms)
    assert table[["rank_low", "rank_high"]].to_numpy().tolist() == [[1, 3]] * 3
    whole = laid_out(np.array([0.1, 0.9, 0.5]), np.random.default_rng(1))
    lacking = whole.table.copy()
    lacking[2, 2] = np.nan
    found = ranks(dataclasses.replace(whole, table=lacking), whole.arms).set_index("arm")
    assert found[["rank_low", "rank_high"]].loc[["arm 1", "arm 0", "arm 2"]].to_numpy().tolist() == [
        [1, 2],
        [2, 3],
        [1, 3],
    ]


def test_ranks_are_ordered_by_the_seeds_that_they_are_tested_by() -> None:
    """The last arm owes its lead to seeds that no other arm has: on the common ones it is worst."""
    generator = np.random.default_rng(7)
    scores = laid_out(np.array([0.6, 0.7, 0.5]), generator, seeds=5)
    table = scores.table.copy()
    table[2, 3:] += 0.4
    table[:2, 4:] = np.nan
    table[2, 3] = table[2, 0]
    found = ranks(dataclasses.replace(scores, table=np.clip(table, 0, 1)), scores.arms)
    assert found["arm"].tolist() == ["arm 1", "arm 0", "arm 2"]
    assert ((found["rank_low"] <= found["rank"]) & (found["rank"] <= found["rank_high"])).all()


def test_the_interval_holds_the_rank_of_an_arm_that_lacks_seeds() -> None:
    generator = np.random.default_rng(8)
    for _ in range(20):
        scores = laid_out(np.array([0.5, 0.5, 0.52, 0.48]), generator, seeds=5)
        table = scores.table.copy()
        table[0, :2] = np.nan
        table[0] += 0.2
        table[0, 2] -= 0.3
        found = ranks(dataclasses.replace(scores, table=table), scores.arms)
        assert ((found["rank_low"] <= found["rank"]) & (found["rank"] <= found["rank_high"])).all()


def test_an_interval_of_ranks_holds_the_true_rank() -> None:
    generator = np.random.default_rng(2)
    means = np.array([0.40, 0.43, 0.46, 0.52, 0.60])
    truth = {f"arm {number}": 5 - number for number in range(5)}
    held = []
    for _ in range(40):
        table = ranks(laid_out(means, generator), tuple(truth))
        held += [row.rank_low <= truth[row.arm] <= row.rank_high for row in table.itertuples()]
    assert np.mean(held) >= 0.95


def test_the_covariance_has_the_variances_of_one_arm_alone() -> None:
    scores = laid_out(np.array([0.3, 0.5, 0.6]), np.random.default_rng(3))
    mean, covariance = mean_covariance(scores.table, np.ones(80))
    alone = crossed(scores.table, np.ones(80))
    assert mean == pytest.approx(alone.mean)
    assert np.sqrt(np.diag(covariance)) == pytest.approx(alone.standard_error)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_agreement_is_kendalls_tau_of_the_means() -> None:
    generator = np.random.default_rng(4)
    means = np.linspace(0.3, 0.7, 6)
    here, there = laid_out(means, generator), laid_out(means[[1, 0, 2, 3, 5, 4]], generator)
    found = agreement(here, there, here.arms)
    by_hand = stats.kendalltau(*(scores.table.mean((1, 2)) for scores in (here, there))).statistic
    assert found.tau == pytest.approx(by_hand)
    assert found.low < found.tau < found.high <= 1
    single = [
        stats.kendalltau(here.table[:, s].mean(1), there.table[:, t].mean(1)).statistic
        for s, t in itertools.permutations(range(3), 2)
    ]
    assert found.across == pytest.approx(np.mean(single))
    within = [
        stats.kendalltau(side.table[:, s].mean(1), side.table[:, t].mean(1)).statistic
        for side in (here, there)
        for s, t in itertools.permutations(range(3), 2)
    ]
    assert found.within == pytest.approx(np.mean(within)), "the yardstick is that of both contexts"
    same = agreement(here, here, here.arms)
    assert same.tau == pytest.approx(1)
    assert same.within == pytest.approx(same.across)


def test_arms_and_seeds_that_one_context_lacks_are_left_out() -> None:
    generator = np.random.default_rng(5)
    here, there = (laid_out(np.array([0.3, 0.5, 0.7]), generator) for _ in range(2))
    values = there.table.copy()
    values[0] = np.nan  # an arm without a finished seed
    values[1, 2] = np.nan
    part = dataclasses.replace(there, table=values)
    found = agreement(here, part, here.arms)
    assert found.arms == 2
    assert found.tau == pytest.approx(1)
    assert np.isnan(agreement(here, part, ["arm 0", "arm 1"]).tau)


def test_other_samples_cannot_be_compared() -> None:
    generator = np.random.default_rng(6)
    means = np.array([0.3, 0.5])
    with pytest.raises(FusionBenchError, match="evaluated different samples"):
        agreement(laid_out(means, generator), laid_out(means, generator, clusters=70), ("arm 0", "arm 1"))
    here = laid_out(means, generator)
    renamed = dataclasses.replace(here, sample_ids=here.sample_ids + 80)
    with pytest.raises(FusionBenchError, match="evaluated different samples"):
        agreement(here, renamed, here.arms)  # in the same clusters, of the same sizes


@pytest.mark.parametrize("arms", [5, 12])
def test_the_interval_covers_the_tau_that_such_studies_show_on_average(arms: int) -> None:
    generator = np.random.default_rng(arms)
    here = generator.uniform(0.4, 0.6, arms)
    there = 0.5 + 0.8 * (here - 0.5) + generator.uniform(-0.04, 0.04, arms)
    names = tuple(f"arm {number}" for number in range(arms))
    found = [agreement(laid_out(here, generator), laid_out(there, generator), names) for _ in range(60)]
    average = np.mean([item.tau for item in found])
    assert np.mean([item.low <= average <= item.high for item in found]) >= 0.9
