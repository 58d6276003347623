"""Verdicts, and the cases without a verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from fusion_bench.statistics.comparison import Question, compare, holm, means
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.scores import Scores
from fusion_bench.statistics.seeds.moderation import plain_variances
from fusion_bench.statistics.simulation import StudyShape, simulate_study

SKILL = {"ref": 0.70, "strong": 0.85, "weak": 0.50, "twin": 0.70, "noisy": 0.72, "blind": 0.45}
ARMS = ("strong", "weak", "twin", "noisy")


def scores(seeds: int = 5, clusters: int = 200) -> Influences:
    """Arms of known skill; ``twin`` answers nearly as the reference does, ``noisy`` differs from seed to seed."""
    generator = np.random.default_rng(11)
    size = 5
    parts = []
    for seed in range(seeds):
        luck = generator.random(clusters * size)
        for arm, skill in SKILL.items():
            own = luck if arm in {"ref", "twin"} else generator.random(clusters * size)
            right = own < skill + (0.06 * generator.normal() if arm == "noisy" else 0.0)
            if arm == "twin":
                right ^= generator.random(clusters * size) < 0.01
            parts.append(
                pd.DataFrame(
                    {
                        "arm": arm,
                        "seed": seed,
                        "sample": np.arange(clusters * size),
                        "cluster": np.arange(clusters * size) // size,
                        "score": right.astype(float),
                    }
                )
            )
    return Scores.of(pd.concat(parts), list(SKILL)).influences()


QUESTION = Question("ref", ARMS, controls=("blind",), margin=0.05)


def test_each_verdict() -> None:
    table = compare(scores(), QUESTION).set_index("arm")
    assert table["verdict"].to_dict() == {
        "strong": "better",
        "weak": "worse",
        "twin": "equivalent",
        "noisy": "underpowered",
        "blind": "",
    }
    assert table.loc["strong", "low"] < SKILL["strong"] - SKILL["ref"] < table.loc["strong", "high"]


def test_without_a_margin_nothing_is_equivalent() -> None:
    table = compare(scores(), Question("ref", ARMS)).set_index("arm")
    assert table.loc["twin", "verdict"] == "underpowered", (
        "surely smaller than the margin, and not shown to differ"
    )
    assert table["p_margin"].isna().all()


def test_the_direction_of_the_metric_turns_the_verdicts() -> None:
    table = compare(scores(), Question("ref", ARMS, higher_is_better=False)).set_index("arm")
    assert table.loc["strong", "verdict"] == "worse" and table.loc["weak", "verdict"] == "better"


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_give_no_verdict(seeds: int) -> None:
    table = compare(scores(seeds), QUESTION)
    assert set(table["verdict"]) == {"no verdict", ""}
    assert table["p_holm"].isna().all()
    assert table["low"].isna().all() == (seeds == 1)


def test_one_cluster_gives_no_verdict() -> None:
    assert set(compare(scores(3, 1), QUESTION)["verdict"]) == {"no verdict", ""}


def test_a_family_that_is_compared_with_further_seeds_of_the_reference_has_no_detectable_difference() -> None:
    """It is known for pairs of one pool alone; the variance that the arms share is that of their own seeds."""
    influences = simulate_study(
        StudyShape(5, 3, 50, seed_sd=1.0, residual_sd=1.0, reference_seeds=8),
        np.zeros(4),
        np.random.default_rng(0),
    )
    table = compare(influences, Question(influences.arms[0], influences.arms[1:]))
    assert set(table["reference_seeds"]) == {8} and set(table["seeds"]) == {3}
    assert table["detectable"].isna().all() and table["p_holm"].notna().all()
    plain = plain_variances(influences.per_seed(influences.arms[1:], influences.seeds_of(influences.arms[1])))
    assert table.attrs["prior_variance"] == pytest.approx(plain.prior_variance) != plain.own.mean()
    assert table.attrs["prior_degrees"] == pytest.approx(float(plain.prior_degrees))


def test_a_comparison_of_two_arms_alone_names_no_variance_that_arms_share() -> None:
    influences = simulate_study(
        StudyShape(2, 3, 50, seed_sd=1.0, residual_sd=1.0), np.zeros(1), np.random.default_rng(0)
    )
    assert compare(influences, Question(influences.arms[0], influences.arms[1:])).attrs["prior_degrees"] == 0


def test_the_family_is_the_arms_and_not_the_controls() -> None:
    table = compare(scores(), QUESTION).set_index("arm")
    expected = multipletests(table.loc[list(ARMS), "p"], method="holm")[1]
    assert np.allclose(table.loc[list(ARMS), "p_holm"], expected)
    assert np.isnan(table.loc["blind", "p_holm"])


def test_holm_agrees_with_statsmodels() -> None:
    generator = np.random.default_rng(5)
    for count in (1, 2, 7, 20):
        p_values = generator.random(count) ** 3
        assert np.allclose(holm(p_values), multipletests(p_values, method="holm")[1])
    assert holm([]).shape == (0,)


def test_means_leave_out_arms_without_a_finished_seed() -> None:
    drawn = scores(3)
    drawn.table[drawn.arms.index("weak")] = np.nan
    table = means(drawn)
    assert "weak" not in set(table["arm"])
    assert (
        (table["seeds"] == 3).all() and (table["samples"] == 1000).all() and (table["clusters"] == 200).all()
    )
