"""Leads over controls: the largest p-value over the controls, corrected over the arms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from fusion_bench.statistics.comparison import Question
from fusion_bench.statistics.controls import against_controls
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.simulation import StudyShape, simulate_study

SHAPE = StudyShape(8, 5, 40, seed_sd=1.0, cluster_sd=2.0, residual_sd=3.0)
EFFECTS = np.array([9.0, -9.0, 3.0, 0.0, 1.0, -6.0, -7.0])
QUESTION = Question("reference", ("arm 1", "arm 2", "arm 3"), ("arm 4", "arm 5"), ("arm 6", "arm 7"))


def study(shape: StudyShape = SHAPE, number: int = 0) -> Influences:
    return simulate_study(shape, EFFECTS, np.random.default_rng(number))


def test_an_arm_beats_the_controls_if_the_largest_corrected_p_value_is_small() -> None:
    table = against_controls(study(), QUESTION)
    assert set(table["arm"]) == {"reference", "arm 1", "arm 2", "arm 3", "arm 4", "arm 5"}
    worst = table.groupby("arm", sort=False)["p"].max()
    reject, corrected, *_ = multipletests(worst, alpha=0.025, method="holm")
    by_arm = table.groupby("arm", sort=False).first()
    assert by_arm["p_holm"].to_numpy() == pytest.approx(corrected)
    assert by_arm["beats"].tolist() == reject.tolist()
    assert by_arm.loc["arm 1", "beats"] and not by_arm.loc["arm 2", "beats"]


def test_the_one_sided_p_value_is_half_the_two_sided_one_on_its_side() -> None:
    influences = study()
    found = Differences(influences, QUESTION.arms(), "reference").over_control("arm 1", "arm 6")
    assert found is not None
    row = against_controls(influences, QUESTION).set_index(["arm", "control"]).loc[("arm 1", "arm 6")]
    assert row["p"] == pytest.approx(float(found.estimate.p_value()) / 2)
    assert row["interval_better"] == (row["p"] < 0.025)


def test_a_falling_metric_turns_the_leads() -> None:
    falling = dataclasses.replace(QUESTION, higher_is_better=False)
    turned = against_controls(dataclasses.replace(study(), table=-study().table), falling)
    straight = against_controls(study(), QUESTION)
    assert straight["beats"].tolist() == straight["leads"].tolist(), "every control has a result"
    for name in ("p", "p_holm", "leads", "beats", "interval_better"):
        assert pd.Series.equals(turned[name], straight[name]), name


def test_too_few_seeds_or_a_control_without_a_result_beat_nothing_and_hide_nothing() -> None:
    few = against_controls(study(dataclasses.replace(SHAPE, seeds=2)), QUESTION)
    assert few["p_holm"].isna().all() and not few["beats"].any()
    whole = study()
    table = whole.table.copy()
    table[whole.arms.index("arm 7")] = np.nan
    part = against_controls(dataclasses.replace(whole, table=table), QUESTION)
    assert set(part["control"]) == {"arm 6"}
    assert not part["beats"].any(), "a control without a result is not beaten"
    leads = part.set_index("arm")["leads"]
    assert leads["arm 1"] and not leads["arm 2"]


def test_an_arm_that_shares_no_seed_with_one_control_does_not_beat_every_control() -> None:
    whole = study()
    table = whole.table.copy()
    table[whole.arms.index("arm 1"), 3:] = np.nan
    table[whole.arms.index("arm 7"), :3] = np.nan
    found = against_controls(dataclasses.replace(whole, table=table), QUESTION).set_index("arm")
    assert found.loc[["arm 1"], "control"].tolist() == ["arm 6"]
    assert found.loc["arm 1", "leads"] and not found.loc["arm 1", "beats"]


def test_among_many_arms_like_the_best_control_hardly_any_is_said_to_lead() -> None:
    """One control is as good as the arms, the other is far behind: uncorrected, 18 % and more of studies err."""
    shape = StudyShape(16, 3, 20, seed_sd=1.0, residual_sd=0.5)
    effects = np.array([0.0] * 14 + [-9.0])
    arms = tuple(f"arm {number}" for number in range(1, 14))
    question = Question("reference", arms, controls=("arm 14", "arm 15"))
    generator = np.random.default_rng(5)
    wrong, uncorrected = 0, 0
    for _ in range(200):
        table = against_controls(simulate_study(shape, effects, generator), question)
        wrong += bool(table["beats"].any())
        uncorrected += bool((table.groupby("arm")["p"].max() <= 0.025).any())
    assert wrong / 200 <= 0.04
    assert uncorrected / 200 >= 0.08, "or the correction would not be needed"
