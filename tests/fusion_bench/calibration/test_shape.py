"""Variance components are found again in a study that was drawn from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.calibration.shape import shape_of
from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import Question
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


def test_a_study_without_verdicts_has_no_shape() -> None:
    with pytest.raises(FusionBenchError, match="share 2 finished seeds"):
        shape_of(*study(dataclasses.replace(SHAPE, seeds=2)))
    influences, question = study(SHAPE)
    table = influences.table.copy()
    table[0] = np.nan
    with pytest.raises(FusionBenchError, match="'reference' must be one of them"):
        shape_of(dataclasses.replace(influences, table=table), question)
    with pytest.raises(FusionBenchError, match="1 clusters"):
        shape_of(*study(dataclasses.replace(SHAPE, clusters=1)))
