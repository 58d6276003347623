"""Differences in and outside the pool, each compared with its formula written out for one pair."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from fusion_bench.statistics.crossed import crossed, mean_squares
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.seeds.moderation import centred_variances, plain_variances
from fusion_bench.statistics.seeds.unpaired import SideVariance, unpaired
from fusion_bench.statistics.simulation import StudyShape, simulate_study
from tests.support.failed_cells import without

SHAPE = StudyShape(6, 3, 40, seed_sd=1.0, shared_seed_sd=2.0, cluster_sd=3.0, residual_sd=4.0)


def study(shape: StudyShape = SHAPE, number: int = 0) -> Influences:
    return simulate_study(shape, np.zeros(shape.arms - 1), np.random.default_rng(number))


def test_a_pair_of_the_pool_has_the_variance_and_the_degrees_that_its_formula_gives() -> None:
    influences = study()
    found = Differences(influences, influences.arms).of("arm 2", "arm 4")
    assert found is not None
    x, (seeds, clusters) = influences.table.mean(2), influences.table.shape[1:]
    variances = centred_variances(x)
    u, v = variances.moderated[2], variances.reference_variance(4)
    f, g = variances.degrees[2], seeds - 1
    nu = (u + v) ** 2 / (u**2 / f + v**2 / g + 2 * u * v / (25 * np.sqrt(f * g)))
    assert nu <= 5 * 2
    d = influences.table[2] - influences.table[4]
    by_cluster = d.mean(0) - d.mean()
    residual = d - d.mean(1, keepdims=True) - by_cluster
    ms_seed, ms_cluster = clusters * (u + v), seeds * (by_cluster**2).sum() / (clusters - 1)
    ms_residual = (residual**2).sum() / ((seeds - 1) * (clusters - 1))
    variance = max(ms_seed + ms_cluster - ms_residual, ms_seed, ms_cluster) / (seeds * clusters)
    inflated = ms_seed * (nu + 2) / nu
    combined = max(inflated + ms_cluster - ms_residual, inflated, ms_cluster)
    degrees = combined**2 / (
        inflated**2 / nu + ms_cluster**2 / (clusters - 1) + ms_residual**2 / ((seeds - 1) * (clusters - 1))
    )
    assert float(found.estimate.mean) == pytest.approx(d.mean())
    assert float(found.estimate.standard_error) == pytest.approx(np.sqrt(variance))
    assert float(found.estimate.degrees) == pytest.approx(max(degrees, min(nu, clusters - 1)))


def test_two_arms_get_the_crossed_estimate_itself() -> None:
    influences = study(dataclasses.replace(SHAPE, arms=2, seeds=5))
    found = Differences(influences, influences.arms).of("arm 1", "reference")
    assert found is not None
    expected = crossed(influences.table[1] - influences.table[0], np.ones(40))
    assert found.estimate.interval() == pytest.approx(expected.interval())
    assert float(found.estimate.degrees) == pytest.approx(float(expected.degrees))


def test_an_arm_that_lacks_a_seed_is_compared_alone_and_leaves_the_others_as_they_are() -> None:
    whole = study(dataclasses.replace(SHAPE, seeds=5))
    lacking = without(whole, "arm 1", 3)
    found = Differences(lacking, lacking.arms, "reference")
    alone = found.of("arm 1", "reference")
    assert "arm 1" not in found.pool.arms and len(found.pool.arms) == 5
    assert alone is not None and (alone.seeds, alone.other_seeds) == (4, 4)
    shared = [0, 1, 2, 4]
    expected = crossed(whole.table[1][shared] - whole.table[0][shared], np.ones(40))
    assert alone.estimate.interval() == pytest.approx(expected.interval())
    others = [arm for arm in whole.arms if arm != "arm 1"]
    rest = Differences(whole.restricted(others, whole.seeds), others, "reference")
    one, same = found.of("arm 2", "reference"), rest.of("arm 2", "reference")
    assert one is not None and same is not None
    assert one.estimate.interval() == same.estimate.interval()


def test_a_failed_cell_of_the_reference_costs_one_seed_and_not_the_pool() -> None:
    influences = without(study(dataclasses.replace(SHAPE, seeds=5)), "reference", 2)
    differences = Differences(influences, influences.arms, "reference")
    found = differences.of("arm 3", "reference")
    assert len(differences.pool.arms) == 6
    assert found is not None and (found.seeds, found.other_seeds) == (4, 4)


def test_arms_with_other_seeds_than_the_pool_are_compared_on_those_that_they_share_with_the_reference() -> (
    None
):
    influences = study(dataclasses.replace(SHAPE, arms=3, seeds=6))
    influences = without(without(influences, "arm 1", 3, 4, 5), "arm 2", 0, 1, 2)
    found = Differences(influences, influences.arms, "reference")
    for arm, seeds in (("arm 1", slice(0, 3)), ("arm 2", slice(3, 6))):
        difference, row = found.of(arm, "reference"), influences.arms.index(arm)
        assert difference is not None
        assert difference.seeds == difference.other_seeds == 3
        alone = influences.table[row, seeds] - influences.table[0, seeds]
        assert float(difference.estimate.mean) == pytest.approx(alone.mean())


def test_further_seeds_of_the_reference_are_used_unpaired() -> None:
    influences = study(dataclasses.replace(SHAPE, reference_seeds=8))
    differences = Differences(influences, influences.arms, "reference")
    found = differences.of("arm 2", "reference")
    assert found is not None and (found.seeds, found.other_seeds) == (3, 8)
    x, clusters = influences.table.mean(2), 40
    arms = plain_variances(x[1:, :3])
    w, f = arms.moderated[1], arms.degrees[1]
    w_b = float(np.var(x[0], ddof=1))
    v0 = w / 3 + w_b / 8
    nu0 = v0**2 / ((w / 3) ** 2 / f + (w_b / 8) ** 2 / 7)
    d = influences.table[2, :3] - influences.table[0, :3]
    by_cluster = d.mean(0) - d.mean()
    residual = d - d.mean(1, keepdims=True) - by_cluster
    ms_cluster, ms_residual = 3 * (by_cluster**2).sum() / 39, (residual**2).sum() / (2 * 39)
    e = max(ms_cluster - ms_residual, 0) / (clusters * 3)
    variance = max(v0 + e, ms_cluster / (clusters * 3) * (1 + 3 / 8) / 2)
    inflated = v0 * (nu0 + 2) / nu0
    degrees = max((inflated + e) ** 2 / (inflated**2 / nu0 + e**2 / 39), min(nu0, 39))
    assert float(found.estimate.mean) == pytest.approx(x[2, :3].mean() - x[0].mean())
    assert float(found.estimate.standard_error) == pytest.approx(np.sqrt(variance))
    assert float(found.estimate.degrees) == pytest.approx(degrees)
    back = differences.of("reference", "arm 2")
    assert back is not None and (back.seeds, back.other_seeds) == (8, 3)
    assert float(back.estimate.mean) == pytest.approx(-float(found.estimate.mean))
    assert float(back.estimate.standard_error) == pytest.approx(float(found.estimate.standard_error))


@pytest.mark.parametrize("lost", [(), (5,), (0, 3)])
def test_means_are_over_the_seeds_of_the_comparison_with_the_reference(lost: tuple[int, ...]) -> None:
    """Of an arm outside the pool, of a control, and of a control of a reference with further seeds."""
    shape = dataclasses.replace(SHAPE, arms=7, seeds=6)
    influences = without(without(study(shape), "arm 1", 0), "arm 2", *lost)
    for arm in ("arm 3", "arm 4", "arm 5"):
        influences = without(influences, arm, 3, 4, 5)
    ranked = tuple(arm for arm in influences.arms if arm != "arm 6")  # arm 6 is a control
    differences = Differences(influences, ranked, "reference")
    for arm in influences.arms[1:]:
        found = (
            differences.of(arm, "reference") if arm in ranked else differences.over_control("reference", arm)
        )
        assert found is not None
        sides = [
            influences.per_seed([name], differences.seeds_of(name)).mean() for name in (arm, "reference")
        ]
        seeds = differences.seeds_of(arm)
        assert int(seeds.sum()) in (found.seeds, found.other_seeds)
        if found.seeds != found.other_seeds:
            assert float(found.estimate.mean) == pytest.approx(sides[0] - sides[1])
        else:
            paired = influences.per_seed([arm, "reference"], seeds).mean(1)
            sign = 1 if arm in ranked else -1
            assert float(found.estimate.mean) == pytest.approx(sign * (paired[0] - paired[1]))


def test_where_clusters_do_not_vary_unpaired_seeds_are_compared_as_by_welch() -> None:
    generator = np.random.default_rng(3)
    few, many = generator.normal(size=3), generator.normal(0.5, 2.0, 9)
    sides = [SideVariance(float(np.var(x, ddof=1)), len(x) - 1, len(x)) for x in (few, many)]
    paired = np.repeat((few - many[:3])[:, None], 7, axis=1)
    found = unpaired(sides[0], sides[1], mean_squares(paired, np.ones(7)), 7)
    welch = stats.ttest_ind(few, many, equal_var=False)
    assert (few.mean() - many.mean()) / float(found.standard_error) == pytest.approx(welch.statistic)
    assert float(found.degrees) == pytest.approx(welch.df)


@pytest.mark.parametrize(("few", "many"), [(3, 7), (3, 8), (6, 11)])
def test_arms_that_answer_all_alike_do_not_differ_by_rounding(few: int, many: int) -> None:
    """Every seed of every arm gives one and the same answer; the means over few and many seeds differ by rounding."""
    for level in (0.1, 0.3, 0.7, 0.85):
        table = np.full((5, many, 9), level)
        table[1:, few:] = np.nan
        alike = Influences(
            ("reference", "a", "b", "c", "d"), tuple(range(many)), table, np.arange(9).astype(object)
        )
        found = Differences(alike, alike.arms, "reference").of("a", "reference")
        assert found is not None and (found.seeds, found.other_seeds) == (few, many)
        assert float(found.estimate.mean) == 0 and float(found.estimate.p_value()) == 1


def test_a_pool_of_two_leaves_further_seeds_unused() -> None:
    """Two arms of 3 seeds know too little of their scatter to be compared with a reference of 8."""
    influences = study(dataclasses.replace(SHAPE, arms=3, reference_seeds=8))
    differences = Differences(influences, influences.arms, "reference")
    found = differences.of("arm 1", "reference")
    assert len(differences.pool.arms) == 3
    assert found is not None and (found.seeds, found.other_seeds) == (3, 3)


def test_one_and_the_same_model_and_models_without_spread_have_no_uncertainty() -> None:
    influences = study()
    table = influences.table.copy()
    table[3] = table[0]
    found = Differences(dataclasses.replace(influences, table=table), influences.arms).of(
        "arm 3", "reference"
    )
    assert found is not None and float(found.estimate.standard_error) == 0 and float(found.estimate.mean) == 0
    constant = np.broadcast_to(np.array([0.3, 0.5, 0.5])[:, None, None], (3, 3, 7)).copy()
    point = Influences(("a", "b", "c"), (0, 1, 2), constant, np.arange(7).astype(object))
    differences = Differences(point, point.arms)
    one, none = differences.of("b", "a"), differences.of("c", "b")
    assert one is not None and none is not None
    assert float(one.estimate.p_value()) == 0 and float(none.estimate.p_value()) == 1


def test_arms_without_a_common_seed_are_not_compared() -> None:
    influences = study()
    influences = without(without(influences, "arm 1", 0, 1), "arm 2", 2)
    differences = Differences(influences, influences.arms)
    assert differences.of("arm 1", "arm 2") is None
    single = differences.of("arm 1", "reference")
    assert single is not None and single.seeds == 1 and np.isnan(single.estimate.standard_error)
    nobody = Differences(without(influences, "reference", 0, 1, 2), influences.arms, "reference")
    assert nobody.of("arm 3", "reference") is None


def test_one_seed_gives_differences_without_intervals() -> None:
    influences = study(dataclasses.replace(SHAPE, seeds=1))
    differences = Differences(influences, influences.arms, "reference")
    found = differences.of("arm 1", "reference")
    assert differences.pool.arms == () and differences.variances is None
    assert found is not None and np.isnan(found.estimate.standard_error)


def test_a_control_adds_its_own_scatter_around_the_arms() -> None:
    influences = study()
    arms, control = influences.arms[:-1], influences.arms[-1]
    differences = Differences(influences, arms, "reference")
    found = differences.over_control("arm 1", control)
    assert found is not None and control not in differences.pool.arms
    x = influences.table.mean(2)
    variances = centred_variances(x[:-1])
    u, f = variances.moderated[1], variances.degrees[1]
    scatter = float(np.var(x[-1] - x[:-1].mean(0), ddof=1))
    nu = (u + scatter) ** 2 / (u**2 / f + scatter**2 / 2)
    d = influences.table[1] - influences.table[-1]
    by_cluster = d.mean(0) - d.mean()
    residual = d - d.mean(1, keepdims=True) - by_cluster
    ms_cluster, ms_residual = 3 * (by_cluster**2).sum() / 39, (residual**2).sum() / (2 * 39)
    ms_seed = 40 * (u + scatter)
    variance = max(ms_seed + ms_cluster - ms_residual, ms_seed, ms_cluster) / 120
    inflated = ms_seed * (nu + 2) / nu
    combined = max(inflated + ms_cluster - ms_residual, inflated, ms_cluster)
    degrees = combined**2 / (inflated**2 / nu + ms_cluster**2 / 39 + ms_residual**2 / 78)
    assert float(found.estimate.standard_error) == pytest.approx(np.sqrt(variance))
    assert float(found.estimate.degrees) == pytest.approx(max(degrees, min(nu, 39)))
