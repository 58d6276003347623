"""A study against itself: pseudo-arms of known truth from the cells that there are."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fusion_bench.calibration.own_cells import halves_compared, split_own_cells
from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import Question, compare
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.seeds.pool import pool_of
from fusion_bench.statistics.simulation import StudyShape, simulate_study
from tests.support.failed_cells import without

SHAPE = StudyShape(6, 6, 15, seed_sd=1.0, shared_seed_sd=2.0, cluster_sd=3.0, residual_sd=1.0)
EFFECTS = np.array([5.0, -5.0, 20.0, 0.0, 1.0])


def study(shape: StudyShape = SHAPE, number: int = 0) -> tuple[Influences, Question]:
    found = simulate_study(shape, EFFECTS[: shape.arms - 1], np.random.default_rng(number))
    return found, Question("reference", found.arms[1:])


def test_a_pseudo_arm_is_one_half_minus_the_other_on_the_same_seeds_for_all_arms() -> None:
    influences, question = study(dataclasses.replace(SHAPE, seeds=7))
    arms = question.arms()
    pseudo = halves_compared(influences, pool_of(influences, arms, "reference"), np.random.default_rng(1))
    assert pseudo.table.shape == (6, 3, 15) and pseudo.seeds == (0, 1, 2)
    order = np.random.default_rng(1).permutation(7)
    for row in range(6):
        expected = influences.table[row][order[:3]] - influences.table[row][order[3:6]]
        assert pseudo.table[row] == pytest.approx(expected)
    assert pseudo.per_seed(arms, np.ones(3, bool)) == pytest.approx(pseudo.table.mean(2))


def test_arms_that_differ_greatly_are_not_called_different_from_themselves() -> None:
    """Errors over many studies, though every arm is truly another; one study alone would say little."""
    found = [split_own_cells(*study(number=number), 4, np.random.default_rng(number)) for number in range(60)]
    assert all(item.cells == 36 and item.reference_seeds == 6 for item in found)
    assert np.mean([item.family_error for item in found]) <= 0.055 + 2 * math.sqrt(0.05 / 60)
    assert np.mean([item.coverage for item in found]) >= 0.93
    assert np.mean([item.comparison_error for item in found]) <= 0.03


def test_verdicts_that_are_too_bold_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_bench.calibration.own_cells.ALPHA", 0.5)
    found = [split_own_cells(*study(number=number), 4, np.random.default_rng(number)) for number in range(20)]
    assert np.mean([item.family_error for item in found]) > 0.1


def test_four_seeds_check_intervals_and_three_nothing() -> None:
    four = split_own_cells(*study(dataclasses.replace(SHAPE, seeds=4)), 10, np.random.default_rng(0))
    assert math.isnan(four.family_error) and math.isnan(four.comparison_error) and 0.5 < four.coverage <= 1
    with pytest.raises(FusionBenchError, match=r"6 of its arms are compared on 3 seeds"):
        split_own_cells(*study(dataclasses.replace(SHAPE, seeds=3)), 10, np.random.default_rng(0))


def test_an_arm_that_lacks_seeds_is_left_out() -> None:
    influences, question = study()
    found = split_own_cells(without(influences, "arm 2", 5), question, 5, np.random.default_rng(0))
    assert (found.arms, found.seeds, found.cells) == (5, 6, 30)


def test_further_seeds_of_the_reference_are_split_where_its_comparisons_use_them() -> None:
    """12 seeds of the reference, 6 of the arms: halves of 6 and 3 are compared unpaired."""
    influences, question = study(dataclasses.replace(SHAPE, reference_seeds=12))
    found = split_own_cells(influences, question, 5, np.random.default_rng(0))
    assert (found.arms, found.seeds, found.reference_seeds, found.cells) == (6, 6, 12, 42)
    pool = pool_of(influences, question.arms(), "reference")
    pseudo = halves_compared(influences, pool, np.random.default_rng(1))
    assert (
        pseudo.seeds_of("reference").sum() == 6
        and pseudo.seeds_of("arm 1").tolist() == [True] * 3 + [False] * 3
    )
    table = compare(pseudo, question)
    assert set(table["seeds"]) == {3} and set(table["reference_seeds"]) == {6}
    generator = np.random.default_rng(1)
    generator.permutation(6)
    order = 6 + generator.permutation(6)
    expected = influences.table[0, order[:3]] - influences.table[0, order[3:]]
    assert pseudo.table[0, 3:] == pytest.approx(expected)


@pytest.mark.parametrize(("seeds", "further", "split"), [(6, 9, 0), (10, 15, 0), (6, 10, 4), (8, 12, 4)])
def test_further_seeds_of_which_a_half_is_too_few_are_not_split(seeds: int, further: int, split: int) -> None:
    """Half of 3 further seeds is one, and 4 seeds beside 3 are not compared unpaired."""
    influences, question = study(dataclasses.replace(SHAPE, seeds=seeds, reference_seeds=further))
    found = split_own_cells(influences, question, 3, np.random.default_rng(0))
    assert (found.reference_seeds, found.unused_seeds) == (seeds + split, further - seeds - split)
    assert found.cells == 6 * seeds + split


def test_seeds_that_no_comparison_uses_are_not_split() -> None:
    """One further seed of the reference changes nothing, and an arm without a seed of the others is left out."""
    influences, question = study(dataclasses.replace(SHAPE, reference_seeds=7))
    found = split_own_cells(without(influences, "arm 4", 0, 1), question, 5, np.random.default_rng(0))
    assert (found.arms, found.seeds, found.reference_seeds, found.cells) == (5, 6, 6, 30)
    lost = without(influences, "reference", 2)
    found = split_own_cells(lost, question, 5, np.random.default_rng(0))
    assert (found.arms, found.seeds) == (6, 5), "a failed cell of the reference costs one seed of all"


def test_a_reference_that_shares_no_seeds_cannot_be_split() -> None:
    influences, question = study()
    with pytest.raises(FusionBenchError, match="the reference one of them"):
        split_own_cells(without(influences, "reference", *range(6)), question, 5, np.random.default_rng(0))
