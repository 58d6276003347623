"""The text of numbers and names."""

from __future__ import annotations

import math

import pytest

from fusion_bench.reporting.tables import formatting


def test_shares_and_differences() -> None:
    assert formatting.percent(0.8123) == "81.2"
    assert formatting.points(-0.0123) == "\N{MINUS SIGN}1.2" and formatting.points(0.0123) == "+1.2"
    assert formatting.points(-0.0001) == "0.0", "zero has no sign"
    assert formatting.points_range(-0.01, 0.02) == "\N{MINUS SIGN}1.0 to +2.0"
    assert formatting.percent(math.nan) == formatting.points_range(math.nan, math.nan) == formatting.DASH


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (7, "7"),
        (999, "999"),
        (1180, "1.18 k"),
        (52_000, "52.0 k"),
        (999_900, "1.00 M"),
        (165e6, "165 M"),
        (None, formatting.DASH),
    ],
)
def test_counts_have_three_digits(number: float | None, written: str) -> None:
    assert formatting.count(number) == written


def test_small_p_values_are_bounded_and_not_zero() -> None:
    assert formatting.p_value(1e-9) == "<0.001" and formatting.p_value(0.04949) == "0.049"


def test_plurals_and_lists() -> None:
    assert formatting.plural(1, "seed") == "1 seed" and formatting.plural(2, "class") == "2 classes"
    assert formatting.join_words(["a"]) == "a" and formatting.join_words(["a", "b", "c"]) == "a, b and c"
