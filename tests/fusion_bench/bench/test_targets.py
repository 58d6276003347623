from __future__ import annotations

from typing import Literal

import pytest

from fusion_bench.bench.targets import Line


@pytest.mark.parametrize(
    ("better", "measured", "reached"),
    [
        ("lower", 1.0, True),
        ("lower", 2.0, True),
        ("lower", 2.1, False),
        ("higher", 2.1, True),
        ("higher", 2.0, True),
        ("higher", 1.9, False),
        ("lower", float("nan"), False),
        ("higher", float("nan"), False),
    ],
)
def test_a_target_is_reached_from_its_side(
    better: Literal["lower", "higher"], measured: float, reached: bool
) -> None:
    assert Line("a command", "CPU time", 2.0, better, measured, "s").reached is reached


@pytest.mark.parametrize(
    ("better", "first", "second", "kept"),
    [
        ("lower", 3.0, 1.0, 1.0),
        ("lower", 1.0, 3.0, 1.0),
        ("higher", 3.0, 1.0, 3.0),
        ("higher", 1.0, 3.0, 3.0),
        ("lower", float("nan"), 9.0, 9.0),
        ("higher", 0.1, float("nan"), 0.1),
    ],
)
def test_of_two_measurements_the_better_is_kept(
    better: Literal["lower", "higher"], first: float, second: float, kept: float
) -> None:
    one, other = (Line("a command", "CPU time", 2.0, better, value, "s") for value in (first, second))
    assert one.better_of(other).measured == kept
