"""Variance components are found again in a study that was drawn from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.calibration.shape import arms_left_out, shape_of
from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import Question, compare
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.simulation import StudyShape, simulate_study

SHAPE = StudyShape(30, 12, 200, seed_sd=0.02, shared_seed_sd=0.03, cluster_sd=0.2, residual_sd=0.4)


def study(shape: StudyShape) -> tuple[Influences, Question]:
    found = simulate_study(shape, np.zeros(shape.arms - 1), np.random.default_rng(0))
    return found, Question("reference", found.arms[1:])


def test_components_are_found_again_in_points() -> None:
    found = shape_of(*study(SHAPE))
    assert (found.arms, found.seeds, found.clusters, found.reference_seeds) == (30, 12, 200, None)
    assert found.seed_sd == pytest.approx(2.0, rel=0.2)
    assert found.shared_seed_sd == pytest.approx(3.0, rel=0.4)
    assert found.cluster_sd == pytest.approx(20.0, rel=0.1)
    assert found.residual_sd == pytest.approx(40.0, rel=0.05)


def test_components_below_zero_are_zero_and_further_seeds_are_counted() -> None:
    flat = StudyShape(5, 4, 100, seed_sd=0.0, residual_sd=0.4, reference_seeds=9)
    found = shape_of(*study(flat))
    assert found.seed_sd < 2 and found.cluster_sd < 10 and found.reference_seeds == 9


def test_arms_and_seeds_are_those_that_comparisons_use() -> None:
    """One arm lacks seeds: it leaves the shape, and the others keep their seeds."""
    influences, question = study(dataclasses.replace(SHAPE, arms=8, seeds=5))
    table = influences.table.copy()
    table[3, 3:] = np.nan
    lacking = dataclasses.replace(influences, table=table)
    found = shape_of(lacking, question)
    assert (found.arms, found.seeds, found.reference_seeds) == (7, 5, None)
    assert arms_left_out(lacking, question) == ("arm 3",)
    kept = [arm for arm in influences.arms if arm != "arm 3"]
    rest = Question("reference", tuple(kept[1:]))
    assert found == shape_of(influences.restricted(kept, influences.seeds), rest)
    compared = compare(lacking, question).set_index("arm")["seeds"]
    assert compared.drop("arm 3").eq(found.seeds).all()


@pytest.mark.parametrize(
    ("reference_seeds", "used"), [(6, None), (9, 9)], ids=["one more is not used", "many are used"]
)
def test_further_seeds_of_the_reference_count_where_comparisons_use_them(
    reference_seeds: int, used: int | None
) -> None:
    influences, question = study(dataclasses.replace(SHAPE, arms=8, seeds=5, reference_seeds=reference_seeds))
    found = shape_of(influences, question)
    assert (found.arms, found.seeds, found.reference_seeds) == (8, 5, used)
    assert set(compare(influences, question)["reference_seeds"]) == {used or 5}
    assert arms_left_out(influences, question) == ()


def test_a_study_without_verdicts_has_no_shape() -> None:
    with pytest.raises(FusionBenchError, match="compared on 2 seeds"):
        shape_of(*study(dataclasses.replace(SHAPE, seeds=2)))
    influences, question = study(SHAPE)
    table = influences.table.copy()
    table[0] = np.nan
    with pytest.raises(FusionBenchError, match="'reference' must be one of them"):
        shape_of(dataclasses.replace(influences, table=table), question)
    with pytest.raises(FusionBenchError, match="1 clusters"):
        shape_of(*study(dataclasses.replace(SHAPE, clusters=1)))
