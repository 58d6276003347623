"""The smallest difference that is found four times in five, against simulated studies of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.statistics.comparison import Question, compare, finished_scatter, strictest_level
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.power import ComparisonScatter, decidable_difference
from fusion_bench.statistics.simulation import StudyShape, simulate_study


def question(study: Influences) -> Question:
    return Question(study.arms[0], study.arms[1:])


def truth(shape: StudyShape) -> ComparisonScatter:
    """What the mean squares of a simulated study are on average."""
    residual = 2 * shape.residual_sd**2
    return ComparisonScatter(
        shape.seed_sd**2 + shape.residual_sd**2 / shape.clusters,
        2 * shape.seeds * shape.cluster_sd**2 + residual,
        residual,
        shape.clusters,
        shape.seeds,
    )


@pytest.mark.parametrize(
    "shape",
    [
        StudyShape(2, 4, 30, seed_sd=1.0, residual_sd=1.0),
        StudyShape(6, 3, 30, seed_sd=1.0, residual_sd=1.0),
        StudyShape(6, 5, 60, seed_sd=1.0, cluster_sd=4.0, residual_sd=8.0),
        StudyShape(14, 3, 15, seed_sd=0.2, cluster_sd=3.0, residual_sd=1.0),
    ],
    ids=["two arms", "few seeds", "everything varies", "clusters vary"],
)
def test_the_difference_is_found_in_four_of_five_comparisons(shape: StudyShape) -> None:
    generator, others = np.random.default_rng(shape.arms), shape.arms - 1
    alpha, studies = 0.05 / others, 100 + 200 // others
    difference = decidable_difference(truth(shape), shape.arms, shape.seeds, alpha)
    found = []
    for _ in range(studies):
        study = simulate_study(shape, np.full(others, difference), generator)
        found.append((compare(study, question(study))["p"] < alpha).mean())
    error = float(np.std(found) / np.sqrt(studies))
    assert np.mean(found) == pytest.approx(0.8, abs=3 * error + 0.01)


def test_the_scatter_of_a_finished_study_is_that_of_its_truth_and_tells_studies_of_other_sizes() -> None:
    shape = StudyShape(30, 6, 400, seed_sd=0.5, cluster_sd=3.0, residual_sd=5.0)
    study = simulate_study(shape, np.zeros(29), np.random.default_rng(0))
    finished, expected = finished_scatter(study, question(study)), truth(shape)
    assert finished is not None
    assert (finished.arms, finished.seeds) == (study.arms, study.seeds)
    found = finished.scatter
    assert (found.clusters, found.seeds) == (400, 6)
    assert found.seed_variance == pytest.approx(expected.seed_variance, rel=0.2)
    assert [found.cluster, found.residual] == pytest.approx([expected.cluster, expected.residual], rel=0.1)
    for seeds in (3, 12):
        measured = decidable_difference(found, 6, seeds, 0.01)
        assert measured == pytest.approx(decidable_difference(expected, 6, seeds, 0.01), rel=0.1)


def test_a_finished_study_finds_what_its_table_says() -> None:
    study = simulate_study(
        StudyShape(5, 3, 40, seed_sd=1.0, residual_sd=4.0), np.zeros(4), np.random.default_rng(1)
    )
    detectable = compare(study, question(study))["detectable"].unique()
    finished = finished_scatter(study, question(study))
    assert finished is not None
    assert detectable == pytest.approx([decidable_difference(finished.scatter, 5, 3, strictest_level(4))])
    one = study.restricted(study.arms, study.seeds[:1])
    alone = study.restricted(study.arms[:1], study.seeds)
    assert finished_scatter(one, question(one)) is None
    assert finished_scatter(alone, question(alone)) is None


def test_seeds_clusters_and_fewer_comparisons_make_it_smaller_and_units_do_not_matter() -> None:
    scatter = truth(StudyShape(6, 3, 100, seed_sd=0.01, cluster_sd=0.05, residual_sd=0.1))
    by_seeds = [decidable_difference(scatter, 6, seeds, 0.01) for seeds in (3, 5, 8, 12)]
    assert by_seeds == sorted(by_seeds, reverse=True)
    assert decidable_difference(scatter, 6, 5, 0.05) < by_seeds[1]
    larger = ComparisonScatter(
        1e4 * scatter.seed_variance, 1e4 * scatter.cluster, 1e4 * scatter.residual, 100, 3
    )
    assert decidable_difference(larger, 6, 5, 0.01) == pytest.approx(100 * by_seeds[1], rel=1e-3)
    more = ComparisonScatter(scatter.seed_variance, scatter.cluster, scatter.residual, 10_000, 3)
    assert decidable_difference(more, 6, 5, 0.01) < by_seeds[1]


def test_a_cluster_component_below_zero_does_not_make_mean_squares_negative() -> None:
    scatter = ComparisonScatter(1e-4, cluster=0.1, residual=0.5, clusters=50, seeds=3)
    squares = scatter.expected(12)
    assert float(squares.cluster) == 0.0 and float(squares.residual) == 0.5
    assert decidable_difference(scatter, 4, 12, 0.01) > 0


def test_where_nothing_scatters_no_difference_is_named() -> None:
    assert np.isnan(decidable_difference(ComparisonScatter(0.0, 0.0, 0.0, 50, 3), 4, 3, 0.01))
