from __future__ import annotations

import math

import pytest

from fusion_bench.bench.growth.curve import Curve, GrowthPoint


def test_a_power_law_has_its_exponent() -> None:
    points = tuple(GrowthPoint(size, 0.5 * size**1.5, 3.0 * size) for size in (2, 5, 11, 40))
    curve = Curve("a step", "words", points)
    assert curve.exponent("seconds") == pytest.approx(1.5)
    assert curve.last_exponent("seconds") == pytest.approx(1.5)
    assert curve.exponent("mebibytes") == pytest.approx(1.0)


def test_a_constant_cost_counts_less_at_the_end() -> None:
    curve = Curve(
        "a step", "words", tuple(GrowthPoint(size, 10.0 + size, 1.0) for size in (1, 10, 100, 1000))
    )
    local = math.log(1010 / 110) / math.log(10)
    assert curve.last_exponent("seconds") == pytest.approx(local)
    assert curve.exponent("seconds") < local


@pytest.mark.parametrize("costs", [(0.0, 1.0), (math.nan, 1.0), (1.0,)])
def test_costs_without_an_exponent(costs: tuple[float, ...]) -> None:
    curve = Curve("a step", "words", tuple(GrowthPoint(2 + n, cost, cost) for n, cost in enumerate(costs)))
    assert math.isnan(curve.exponent("seconds"))
