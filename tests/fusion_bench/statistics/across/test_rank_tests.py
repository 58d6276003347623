"""Rank tests over data sets: against the example of Demšar (2006) and against their formulas."""

from __future__ import annotations

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
from scipy import stats

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.across.blocks import CompleteBlocks, complete_blocks
from fusion_bench.statistics.across.rank_power import rank_power
from fusion_bench.statistics.across.rank_tests import critical_difference, rank_tests

posthocs = pytest.mark.skipif(find_spec("scikit_posthocs") is None, reason="scikit-posthocs is not installed")
C45 = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
# Of the two equal printed values of the data set "voting", the paper ranks the third arm higher.
AREAS = """
0.763 0.768 0.771 0.798  0.599 0.591 0.590 0.569  0.954 0.971 0.968 0.967  0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898  0.936 0.931 0.916 0.931  0.661 0.668 0.609 0.685  0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875  1.000 1.000 1.000 1.000  0.940 0.962 0.965 0.962  0.619 0.666 0.614 0.669
0.972 0.981 0.9751 0.975  0.957 0.978 0.946 0.970
"""


def demsar() -> CompleteBlocks:
    scores = np.array(AREAS.split(), dtype=float).reshape(14, 4)
    return CompleteBlocks(tuple(f"data {number}" for number in range(14)), C45, scores, {}, ())


@posthocs
def test_the_example_of_demsar() -> None:
    """Tables 6 and 7 of the paper; its chi-square has no correction for ties, so ours is a little larger."""
    found = rank_tests(demsar(), "C4.5")
    assert found.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    untied = 12 * 14 / 20 * ((found.mean_ranks - 2.5) ** 2).sum()
    assert untied == pytest.approx(9.28, abs=0.01) and 9.28 < found.chi_square < 10.5
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert np.isnan(found.holm[0])
    # p-values of .016 (C4.5+m+cf), .019 (C4.5+m) and .607 (C4.5+cf); by Holm times 3, 2 and 1, and never falling.
    assert found.holm[1:] == pytest.approx([3 * 0.0157, 0.607, 3 * 0.0157], abs=2e-3)
    assert found.p == pytest.approx(found.p_chi_square, abs=0.01) and found.p < 0.05


@posthocs
def test_every_p_value_follows_from_the_mean_ranks() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 4)).round(1)
    blocks = CompleteBlocks(tuple("vwxyz"), tuple("abcd"), scores, {}, ())
    found = rank_tests(blocks, "b")
    ranks = np.array(
        [
            [
                1 + sum(other > own for other in row) + (sum(other == own for other in row) - 1) / 2
                for own in row
            ]
            for row in scores
        ]
    )
    assert found.ranks == pytest.approx(ranks)
    error = np.sqrt(4 * 5 / (6 * 5))
    for one, other in itertools.combinations(range(4), 2):
        q = abs(ranks.mean(0)[one] - ranks.mean(0)[other]) / error * np.sqrt(2)
        assert found.nemenyi[one, other] == pytest.approx(stats.studentized_range.sf(q, 4, np.inf), abs=1e-6)
    raw = {arm: 2 * stats.norm.sf(abs(ranks.mean(0)[arm] - ranks.mean(0)[1]) / error) for arm in (0, 2, 3)}
    highest = 0.0
    for step, arm in enumerate(sorted(raw, key=lambda arm: raw[arm])):
        highest = max(highest, min(1.0, (3 - step) * raw[arm]))
        assert found.holm[arm] == pytest.approx(highest)


@posthocs
def test_the_p_value_of_few_blocks_is_that_of_permutations() -> None:
    """Three blocks that agree on three arms: one of 36 orders of the others agrees, where chi-square says 5 %."""
    agree = CompleteBlocks(tuple("xyz"), tuple("abc"), np.tile([3.0, 2.0, 1.0], (3, 1)), {}, ())
    found = rank_tests(agree, "")
    assert found.p == pytest.approx(1 / 36, abs=0.006)
    assert found.p_chi_square == pytest.approx(np.exp(-3)) and np.isnan(found.holm).all()
    assert (
        found.critical_difference == pytest.approx(critical_difference(3, 3))
        and found.largest_possible() == 2
    )


@posthocs
def test_blocks_without_any_difference_reject_nothing() -> None:
    alike = CompleteBlocks(tuple("xy"), tuple("abc"), np.ones((2, 3)), {}, ())
    found = rank_tests(alike, "a")
    assert np.isnan(found.chi_square) and found.p == found.p_chi_square == 1
    assert (found.mean_ranks == 2).all() and found.holm[1:] == pytest.approx([1, 1])


def test_too_few_arms_or_data_sets_are_refused() -> None:
    for shape in ((1, 3), (4, 2)):
        blocks = CompleteBlocks(tuple("wxyz"[: shape[0]]), tuple("abc"[: shape[1]]), np.ones(shape), {}, ())
        with pytest.raises(FusionBenchError, match=f"{shape[0]} data sets? (share|has) {shape[1]} arms"):
            rank_tests(blocks, "a")


def test_an_arm_that_one_data_set_lacks_leaves() -> None:
    found = complete_blocks({"x": {"a": 1, "b": 2, "c": 3, "d": 4}, "y": {"b": 5, "a": 6, "c": 7}})
    assert found.blocks == ("x", "y") and found.arms == ("a", "b", "c") and found.lacking == {"d": ("y",)}
    assert found.scores.tolist() == [[1, 2, 3], [6, 5, 7]] and found.left_out == ()


def test_a_data_set_leaves_where_too_few_arms_are_shared() -> None:
    three = {"a": 1.0, "b": 2.0, "c": 3.0}
    found = complete_blocks({"x": three, "poor": {"a": 1.0, "z": 2.0}, "y": three, "z": {**three, "d": 4.0}})
    assert found.blocks == ("x", "y", "z") and found.left_out == ("poor",)
    assert found.arms == ("a", "b", "c") and found.lacking == {"d": ("x", "y")}
    none = complete_blocks({"x": {"a": 1.0}, "y": {"b": 1.0}})
    assert none.arms == () and none.scores.shape == (2, 0)


def test_three_data_sets_decide_next_to_nothing() -> None:
    few, many = rank_power(4, 3), rank_power(4, 30)
    assert few.friedman < 0.2 and few.holm < few.friedman
    assert many.friedman > 0.8 and few.needed == many.needed and 3 < (few.needed or 0) <= 30
    assert rank_power(4, 3, lead=0.0).friedman < 0.08 and rank_power(4, 3, lead=0.0).needed is None
