"""Studies drawn as sums have the distribution of whole tables, and are judged as `compare` judges tables."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.calibration.sums import Sums, draw_sums, judged
from fusion_bench.statistics.comparison import Question, compare
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.simulation import Scatter, StudyShape, simulate_study

SHAPE = StudyShape(4, 3, 12, seed_sd=1.0, shared_seed_sd=0.5, cluster_sd=3.0, residual_sd=4.0)
MANY_ARMS = dataclasses.replace(SHAPE, arms=9, clusters=6)  # fewer free clusters than arms
SEEDS_ALONE = StudyShape(4, 3, 12, seed_sd=1.0)


def sums_of(studies: list[Influences]) -> Sums:
    """The sums of whole tables, each pair by its own mean squares."""
    first = studies[0]
    squares = [
        [study.paired_squares(arm, "reference", study.seeds_of(*study.arms)) for arm in study.arms[1:]]
        for study in studies
    ]
    cluster, residual = (
        np.array([[float(getattr(item, name)) for item in row] for row in squares])
        for name in ("cluster", "residual")
    )
    return Sums(np.stack([study.table.mean(2) for study in studies]), cluster, residual, first.clusters())


def tables(shape: StudyShape, studies: int) -> list[Influences]:
    generator = np.random.default_rng(1)
    return [simulate_study(shape, np.full(shape.arms - 1, 0.7), generator) for _ in range(studies)]


def numbers(sums: Sums) -> FloatArray:
    """``[K, 6]``: means of two cells, and the mean squares of two differences."""
    return np.column_stack([sums.metric[:, :2, 0], sums.cluster[:, :2], sums.residual[:, :2]])


@pytest.mark.parametrize("shape", [SHAPE, MANY_ARMS, SEEDS_ALONE], ids=["mixed", "many arms", "seeds alone"])
def test_sums_have_the_means_the_spread_and_the_correlations_of_whole_tables(shape: StudyShape) -> None:
    summed = numbers(draw_sums(shape, np.full(shape.arms - 1, 0.7), 20_000, np.random.default_rng(2)))
    whole = numbers(sums_of(tables(shape, 1500)))
    error = whole.std(0) / np.sqrt(1500)
    assert (np.abs(summed.mean(0) - whole.mean(0)) <= 4 * error + 1e-9).all()
    assert summed.std(0) == pytest.approx(whole.std(0), rel=0.1, abs=1e-9)
    if shape.residual_sd:
        together, apart = (np.corrcoef(found.T) for found in (summed, whole))
        assert together == pytest.approx(apart, abs=0.1)


@pytest.mark.parametrize("scatter", ["equal", "reference", "log-normal"])
@pytest.mark.parametrize("arms", [2, 3, 7])
def test_sums_are_judged_as_compare_judges_the_tables(arms: int, scatter: Scatter) -> None:
    drawn = tables(dataclasses.replace(SHAPE, arms=arms, scatter=scatter), 12)
    shown = judged(sums_of(drawn))
    for number, study in enumerate(drawn):
        table = compare(study, Question("reference", study.arms[1:]))
        for name in ("low", "high", "p", "p_holm"):
            assert getattr(shown, name)[number] == pytest.approx(table[name].to_numpy(), rel=1e-9)
