"""Looks at few seeds first: what they spend, what they decide, and how often they err."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from fusion_bench.statistics.comparison import Question, compare
from fusion_bench.statistics.estimate import Estimate
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.sequential import (
    Look,
    Stages,
    TakenLook,
    look_table,
    planned_looks,
    take_looks,
)
from fusion_bench.statistics.simulation import StudyShape, simulate_study
from fusion_bench.statistics.tie_groups import tie_groups

SHAPE = StudyShape(6, 12, 20, seed_sd=1.0, residual_sd=0.5)
LOOKS = planned_looks()


def study(effects: list[float], number: int = 0, **shape: Any) -> Influences:
    drawn = dataclasses.replace(SHAPE, **shape)
    return simulate_study(drawn, np.array(effects), np.random.default_rng(number))


def question(influences: Influences, margin: float | None = None) -> Question:
    return Question(influences.arms[0], influences.arms[1:], margin=margin)


def taken(influences: Influences, asked: Question | None = None) -> Stages:
    """The looks at a study whose cells have all ended."""
    return take_looks(asked or question(influences), LOOKS, lambda look, arms: influences)


def test_looks_spend_five_per_cent_in_proportion_to_their_seeds() -> None:
    assert [look.seeds for look in LOOKS] == [3, 5, 8, 12]
    assert [look.alpha for look in LOOKS] == pytest.approx([0.0125, 0.05 / 6, 0.0125, 0.05 / 3])
    assert sum(look.alpha for look in planned_looks((4, 5, 11))) == pytest.approx(0.05)
    assert planned_looks((7,)) == (Look(7, 0.05),)


@pytest.mark.parametrize("seeds", [(), (2, 5), (3, 3, 5), (5, 3)])
def test_looks_that_do_not_rise_from_three_are_refused(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="looks must rise"):
        planned_looks(seeds)


def test_a_look_compares_its_arms_on_the_first_seeds_at_its_own_level() -> None:
    influences = study([8.0, 0.0, 2.0, -1.0, 0.5])
    arms = ("arm 2", "arm 4")
    found = look_table(influences, question(influences), TakenLook(5, LOOKS[1].alpha, arms, ()))
    part = influences.restricted(["reference", *arms], range(5))
    expected = compare(part, Question("reference", arms))
    assert found["p_holm"].tolist() == pytest.approx(expected["p_holm"].tolist())
    assert found["verdict"].tolist() == [
        "worse" if p < LOOKS[1].alpha else "underpowered" for p in expected["p_holm"]
    ]
    mean, error, degrees = (expected[name].to_numpy() for name in ("estimate", "standard_error", "degrees"))
    own = Estimate(mean, error, degrees)
    low, high = own.interval(1 - 0.05 / 6)
    assert found["low"].tolist() == pytest.approx(low.tolist())
    assert found["high"].tolist() == pytest.approx(high.tolist())
    assert found["detectable"].iloc[0] > expected["detectable"].iloc[0], "the level is stricter"


def test_a_large_difference_stops_early_and_a_small_one_goes_on() -> None:
    influences = study([15.0, 2.5, 0.0, 0.0, -15.0])
    stages, asked = taken(influences), question(influences)
    assert stages.taken[0].arms == asked.family
    assert not {"arm 1", "arm 5"} & {*stages.taken[0].open}
    assert stages.last_look("arm 1") == 1 and stages.seeds_of("arm 1", asked) == 3
    assert "arm 3" in stages.taken[-1].open and stages.seeds_of("arm 3", asked) == 12
    assert stages.seeds_of("reference", asked) == 12
    assert stages.seeds_of("a control", asked) == 3
    for earlier, later in itertools.pairwise(stages.taken):
        assert later.arms == earlier.open


def test_equal_arms_are_found_equivalent_at_a_look() -> None:
    influences = study([0.0] * 5)
    stages = taken(influences, question(influences, margin=4.0))
    assert stages.taken[-1].open == ()
    assert len(stages.taken) < len(LOOKS), "nothing is open, so nothing more is spent"
    last = look_table(influences, question(influences, margin=4.0), stages.taken[-1])
    assert (last["verdict"] == "equivalent").all()


def test_a_look_waits_until_its_cells_have_ended() -> None:
    influences, asked = study([0.0] * 5), question(study([0.0] * 5))
    stages = take_looks(asked, LOOKS, lambda look, arms: influences if look.seeds < 8 else None)
    assert [look.seeds for look in stages.taken] == [3, 5]
    assert stages.next(asked.family) == LOOKS[2]
    assert {stages.seeds_of(arm, asked) for arm in influences.arms} == {8}
    none = take_looks(asked, LOOKS, lambda look, arms: None)
    assert none.taken == () and none.seeds_of("arm 1", asked) == 3


def test_an_arm_that_lacks_a_seed_is_left_out_and_the_others_go_on() -> None:
    influences = study([0.0] * 5)
    table = influences.table.copy()
    table[1, 3] = np.nan
    lacking = dataclasses.replace(influences, table=table)
    stages = taken(lacking)
    assert stages.taken[0].left_out == () and "arm 1" in stages.taken[0].open
    assert stages.taken[1].left_out == ("arm 1",)
    assert all("arm 1" not in (*look.arms, *look.open) for look in stages.taken[1:])
    assert stages.seeds_of("arm 1", question(lacking)) == 5
    without = Question("reference", tuple(arm for arm in stages.taken[0].open if arm != "arm 1"))
    expected = compare(influences.restricted(["reference", *without.family], range(5)), without)
    found = look_table(lacking, question(lacking), stages.taken[1])
    assert found["p_holm"].tolist() == pytest.approx(expected["p_holm"].tolist())


def test_a_seed_that_the_reference_lacks_is_left_out_for_everyone() -> None:
    influences = study([0.0] * 5)
    table = influences.table.copy()
    table[0, 4] = np.nan
    stages = taken(dataclasses.replace(influences, table=table))
    assert [look.left_out for look in stages.taken] == [()] * 4
    found = look_table(dataclasses.replace(influences, table=table), question(influences), stages.taken[1])
    assert set(found["seeds"]) == set(found["reference_seeds"]) == {4}
    table[0, 1] = np.nan
    assert taken(dataclasses.replace(influences, table=table)).taken == (), "two seeds allow no verdict"


def test_nothing_is_spent_where_seeds_cannot_decide() -> None:
    influences = study([0.0] * 5, clusters=1)
    stages = taken(influences)
    assert len(stages.taken) == 1 and stages.taken[0].open == (), "one cluster never gives a verdict"


def test_studies_without_differences_are_decided_in_at_most_one_of_twenty() -> None:
    studies = 100
    wrong = sum(len(taken(study([0.0] * 5, number)).taken[-1].open) < 5 for number in range(studies))
    assert wrong / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_a_difference_of_four_standard_deviations_is_found_with_few_seeds() -> None:
    found = [taken(study([4.0, 0.0, 0.0, 0.0, 0.0], number)) for number in range(40)]
    asked = question(study([0.0] * 5))
    assert np.mean([all("arm 1" not in look.open for look in stages.taken[-1:]) for stages in found]) >= 0.9
    assert np.mean([stages.seeds_of("arm 1", asked) for stages in found]) <= 8


def test_tie_groups_of_looks_test_every_pair_at_the_looks_of_both() -> None:
    influences = study([15.0, 15.0, 0.0, 0.0, -15.0])
    stages, asked = taken(influences), question(influences)
    groups = tie_groups(influences, asked, influences.arms, stages)
    assert groups.pairs() == 15
    letters = {arm: set(groups.of(arm)) for arm in influences.arms}
    for arm in ("arm 1", "arm 2", "arm 5"):
        assert stages.last_look(arm) == 1 and not letters[arm] & letters["reference"]
    assert letters["arm 1"] & letters["arm 2"], "both stopped at the first look, where they do not differ"
    assert letters["arm 3"] & letters["arm 4"] & letters["reference"]
    assert groups.ahead_of("arm 1") == 4


@pytest.mark.parametrize("number", range(8))
def test_an_arm_without_the_letter_of_the_reference_has_a_verdict(number: int) -> None:
    influences = study([6.0, 3.0, 1.5, 0.0, -3.0], number, seed_sd=1.5)
    stages = taken(influences)
    groups = tie_groups(influences, question(influences), influences.arms, stages)
    for arm in influences.arms[1:]:
        if not set(groups.of(arm)) & set(groups.of("reference")):
            assert arm not in stages.taken[stages.last_look(arm) - 1].open
