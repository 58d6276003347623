"""Looks at few seeds first: what they spend, what they decide, and how often they err."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.statistics.comparison import Question, compare
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.sequential import UNDECIDED, Look, decide_in_stages, look_at, planned_looks
from fusion_bench.statistics.simulation import StudyShape, simulate_study

SHAPE = StudyShape(6, 12, 20, seed_sd=1.0, residual_sd=0.5)
LOOKS = planned_looks()


def study(effects: list[float], number: int = 0, shape: StudyShape = SHAPE) -> Influences:
    return simulate_study(shape, np.array(effects), np.random.default_rng(number))


def question(influences: Influences, margin: float | None = None) -> Question:
    return Question(influences.arms[0], influences.arms[1:], margin=margin)


def test_looks_spend_five_per_cent_in_proportion_to_their_seeds() -> None:
    assert [look.seeds for look in LOOKS] == [3, 5, 8, 12]
    assert [look.alpha for look in LOOKS] == pytest.approx([0.0125, 0.05 / 6, 0.0125, 0.05 / 3])
    assert sum(look.alpha for look in planned_looks((4, 5, 11))) == pytest.approx(0.05)
    assert planned_looks((7,)) == (Look(7, 0.05),)


@pytest.mark.parametrize("seeds", [(), (2, 5), (3, 3, 5), (5, 3)])
def test_looks_that_do_not_rise_from_three_are_refused(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="looks must rise"):
        planned_looks(seeds)


def test_a_look_is_a_comparison_of_the_open_arms_on_the_first_seeds_at_its_own_level() -> None:
    influences = study([8.0, 0.0, 2.0, -1.0, 0.5])
    open_arms = ("arm 2", "arm 4")
    found = look_at(influences, dataclasses.replace(question(influences), family=open_arms), LOOKS, 1)
    part = influences.restricted(["reference", *open_arms], range(5))
    expected = compare(part, Question("reference", open_arms))
    assert found["p_holm"].tolist() == pytest.approx(expected["p_holm"].tolist())
    assert found["verdict"].tolist() == [
        "worse" if p < LOOKS[1].alpha else UNDECIDED for p in expected["p_holm"]
    ]
    reach = (found["high"] - found["low"]) / (expected["high"] - expected["low"])
    assert (reach > 1.2).all(), "the level of the look is stricter than 95 %"


def test_a_large_difference_stops_early_and_a_small_one_goes_on() -> None:
    table = decide_in_stages(study([15.0, 2.5, 0.0, 0.0, -15.0]), *_asked([15.0, 2.5, 0.0, 0.0, -15.0]))
    by_arm = table.set_index("arm")
    assert by_arm.loc["arm 1", ["verdict", "look", "seeds"]].tolist() == ["better", 1, 3]
    assert by_arm.loc["arm 5", ["verdict", "look"]].tolist() == ["worse", 1]
    assert by_arm.loc["arm 3", "look"] == 4 and by_arm.loc["arm 3", "seeds"] == 12
    assert by_arm.loc["arm 3", "verdict"] == UNDECIDED


def _asked(effects: list[float]) -> tuple[Question, tuple[Look, ...]]:
    return question(study(effects)), LOOKS


def test_equal_arms_are_told_equivalent_at_a_look() -> None:
    influences = study([0.0] * 5)
    table = decide_in_stages(influences, question(influences, margin=4.0), LOOKS)
    assert (table["verdict"] == "equivalent").all()
    assert (table["p_margin_holm"] < table["alpha"]).all()


def test_looks_wait_for_seeds_and_for_cells() -> None:
    influences = study([0.0] * 5, shape=dataclasses.replace(SHAPE, seeds=6))
    table = decide_in_stages(influences, question(influences), LOOKS)
    assert table["look"].tolist() == [2] * 5, "eight seeds are not there yet"
    late = influences.table.copy()
    late[1, 3] = np.nan
    table = decide_in_stages(dataclasses.replace(influences, table=late), question(influences), LOOKS)
    assert table["look"].tolist() == [1, 2, 2, 2, 2]
    none = influences.restricted(influences.arms, [0, 1])
    assert decide_in_stages(none, question(none), LOOKS).empty


def test_studies_without_differences_are_decided_in_at_most_one_of_twenty() -> None:
    studies = 100
    wrong = sum(
        bool((decide_in_stages(study([0.0] * 5, number), *_asked([0.0] * 5))["verdict"] != UNDECIDED).any())
        for number in range(studies)
    )
    assert wrong / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_a_difference_of_four_standard_deviations_is_found_with_few_seeds() -> None:
    rows = [
        decide_in_stages(study([4.0, 0.0, 0.0, 0.0, 0.0], number), *_asked([0.0] * 5)).iloc[0]
        for number in range(40)
    ]
    assert np.mean([row["verdict"] == "better" for row in rows]) >= 0.9
    assert np.mean([row["seeds"] for row in rows]) <= 8
