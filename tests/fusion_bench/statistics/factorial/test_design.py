"""Full factorials are found among the arms of a study, whatever else stands beside them."""

from __future__ import annotations

import itertools

from fusion_bench.statistics.factorial.design import NOT_SET, full_factorial, settings_changed_alone


def grid(**levels: str) -> dict[str, dict[str, str]]:
    """Every combination of the levels, given as words."""
    points = itertools.product(
        *([(name, level) for level in words.split()] for name, words in levels.items())
    )
    return {" ".join(level for _, level in point): dict(point) for point in points}


def test_a_grid_is_found_and_the_levels_of_the_reference_come_first() -> None:
    design = full_factorial(grid(kernel="3 5 7", drop="0 1"), "5 1")
    assert design is not None and design.factors == ("kernel", "drop")
    assert design.levels == (("5", "3", "7"), ("1", "0")) and len(design.arms) == 6
    assert design.arms[0, 0] == "5 1" and design.arms[2, 1] == "7 0"
    assert design.text() == "kernel (5, 3, 7) x drop (1, 0)"


def test_arms_beside_the_grid_are_left_out() -> None:
    """A level with one arm, another setting changed alone, another module, and settings that an arm does not name."""
    arms = {
        "base": {"module": "laconv"},
        "k": {"module": "laconv", "kernel": "5"},
        "d": {"module": "laconv", "drop": "1"},
        "k d": {"module": "laconv", "kernel": "5", "drop": "1"},
        "k7": {"module": "laconv", "kernel": "7"},
        "g": {"module": "laconv", "groups": "1"},
        "film": {"module": "film"},
    }
    design = full_factorial(arms, "base")
    assert design is not None and set(design.arms.values()) == {"base", "k", "d", "k d"}
    assert design.levels == ((NOT_SET, "5"), (NOT_SET, "1"))
    assert settings_changed_alone(arms, "base") == ("module", "kernel", "drop", "groups")


def test_modules_are_a_factor_too() -> None:
    design = full_factorial(grid(module="film laconv", coordinates="shared none"), "film shared")
    assert design is not None and design.factors == ("module", "coordinates")


def test_three_factors_are_preferred_to_two_of_them() -> None:
    design = full_factorial(grid(a="0 1", b="0 1", c="0 1"), "0 0 0")
    assert design is not None and len(design.factors) == 3 and len(design.arms) == 8


def test_a_hole_leaves_the_largest_part_that_is_full() -> None:
    arms = grid(a="0 1 2", b="0 1 2")
    del arms["2 2"]
    design = full_factorial(arms, "0 0")
    assert design is not None and len(design.arms) == 6


def test_one_setting_at_a_time_is_no_factorial() -> None:
    arms = {"base": {"k": "3", "d": "0"}, "k": {"k": "5", "d": "0"}, "d": {"k": "3", "d": "1"}}
    assert full_factorial(arms, "base") is None
    assert settings_changed_alone(arms, "base") == ("k", "d")
    assert full_factorial({}, "base") is None and settings_changed_alone({}, "base") == ()


def test_many_settings_changed_one_at_a_time_are_no_factorial_beside_a_grid_either() -> None:
    """Every combination of nine levels of six settings would be half a million arms."""
    base = dict.fromkeys("abcdef", "0")
    alone = {f"{name}{level}": {**base, name: str(level)} for name in base for level in range(1, 9)}
    assert full_factorial({"base": base, **alone}, "base") is None
    both = full_factorial({"base": base, **alone, "both": {**base, "b": "3", "e": "7"}}, "base")
    assert both is not None and set(both.arms.values()) == {"base", "b3", "e7", "both"}
    assert both.factors == ("b", "e") and both.levels == (("0", "3"), ("0", "7"))


def test_of_arms_with_equal_settings_the_reference_is_in_the_design() -> None:
    arms = {**grid(a="0 1", b="0 1"), "twin": {"a": "0", "b": "0"}}
    design = full_factorial(arms, "0 0")
    assert design is not None and design.arms[0, 0] == "0 0"
