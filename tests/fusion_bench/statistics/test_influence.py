"""Influences of clusters on ratios of sums, against a jackknife and a bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.statistics.crossed import crossed, mean_squares
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences, influence_table


def overlaps(seeds: int = 3, clusters: int = 400, number: int = 0) -> tuple[FloatArray, FloatArray]:
    """Intersections and unions ``[2, S, N]`` of two arms whose unions differ by arm, seed and object."""
    generator = np.random.default_rng(number)
    objects = generator.lognormal(6, 1, clusters)
    share = generator.beta(6, 3, (2, seeds, clusters))
    unions = objects * generator.uniform(1.0, 1.8, (2, seeds, clusters))
    return share * unions, unions


def test_the_mean_over_clusters_is_the_ratio_of_sums() -> None:
    intersections, unions = overlaps()
    table = influence_table(intersections, unions)
    assert table.mean(-1) == pytest.approx(intersections.sum(-1) / unions.sum(-1))


def test_with_equal_denominators_the_difference_is_the_table_of_the_summed_differences() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.integers(1, 9, 50)
    totals = generator.random((2, 3, 50)) * sizes
    tables = influence_table(totals, sizes)
    one, other = mean_squares(tables[0] - tables[1], np.ones(50)), mean_squares(totals[0] - totals[1], sizes)
    for name in ("mean", "seed", "cluster", "residual"):
        assert float(getattr(one, name)) == pytest.approx(float(getattr(other, name)))


def test_a_difference_of_two_ratios_varies_over_clusters_as_leaving_each_out_says() -> None:
    intersections, unions = overlaps()
    tables = influence_table(intersections, unions)
    left_out = intersections.sum(-1, keepdims=True) - intersections
    left_out = left_out / (unions.sum(-1, keepdims=True) - unions)
    differences = (left_out[0] - left_out[1]).mean(0)
    jackknife = 399 / 400 * ((differences - differences.mean()) ** 2).sum()
    found = mean_squares(tables[0] - tables[1], np.ones(400)).cluster / (3 * 400)
    assert found == pytest.approx(jackknife, rel=0.03)


def test_the_interval_of_a_difference_of_ratios_holds_the_truth() -> None:
    """Objects of lognormal size: the truth is the ratio of expectations, found from a large draw."""
    large, sizes = overlaps(1, 400_000, 99)
    ratios = large.sum(-1) / sizes.sum(-1)
    truth = float(ratios[0, 0] - ratios[1, 0])
    held = []
    for number in range(300):
        tables = influence_table(*overlaps(3, 150, number))
        low, high = crossed(tables[0] - tables[1], np.ones(150)).interval()
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.93


def test_restricted_tables_keep_their_cells() -> None:
    table = np.arange(24.0).reshape(2, 3, 4)
    whole = Influences(("a", "b"), (4, 5, 9), table, np.arange(4).astype(object))
    part = whole.restricted(["b"], [5, 9])
    assert (part.arms, part.seeds) == (("b",), (5, 9))
    assert np.array_equal(part.table, table[1:, 1:])
    assert part.per_seed(["b"], part.seeds_of("b")).tolist() == [[17.5, 21.5]]
