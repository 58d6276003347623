"""The charts of the page: scales, ticks, the Pareto front, and where each mark and label lies."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from fusion_bench.reporting.html.svg import Scale, chart, element, text, widened
from fusion_bench.reporting.tables.arm_costs import pareto_front


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.433, 0.056), (0.9612, 0.9871), (3.0, 8e6)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = Scale(low, high, 0.0, 100.0).ticks()
    assert 2 <= len(ticks) <= 13
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    assert re.fullmatch(r"[125](\.0*)?e[-+]\d+", f"{steps[0]:.6e}")
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_a_logarithmic_scale_puts_equal_ratios_equally_far_apart() -> None:
    scale = Scale(10.0, 1000.0, 0.0, 200.0, logarithmic=True)
    assert [scale(10.0), scale(100.0), scale(1000.0)] == pytest.approx([0.0, 100.0, 200.0])
    assert scale.ticks() == [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]


def test_one_value_alone_has_a_range() -> None:
    low, high = widened([0.5])
    assert low < 0.5 < high
    assert Scale(low, high, 0.0, 10.0)(0.5) == pytest.approx(5.0)


@pytest.mark.parametrize("falling", [False, True])
def test_the_front_is_what_no_arm_beats(falling: bool) -> None:
    generator = np.random.default_rng(5)
    for _ in range(50):
        rows = [{"arm": str(n), "estimate": float(generator.integers(0, 6))} for n in range(8)]
        cost = {str(n): float(generator.integers(1, 6)) for n in range(8)}
        sign = -1 if falling else 1
        beaten = {
            one["arm"]
            for one, other in itertools.permutations(rows, 2)
            if cost[other["arm"]] <= cost[one["arm"]]
            and sign * other["estimate"] >= sign * one["estimate"]
            and (cost[other["arm"]], other["estimate"]) != (cost[one["arm"]], one["estimate"])
        }
        front = pareto_front(rows, cost, falling=falling)
        assert not {*front} & beaten
        values = {(cost[row["arm"]], row["estimate"]) for row in rows if row["arm"] not in beaten}
        assert {(cost[arm], rows[int(arm)]["estimate"]) for arm in front} == values


def test_texts_of_a_chart_are_escaped() -> None:
    drawn = chart(10, 10, [text("<b>&", 0, 0, data_arm='"><script>')], label="</svg>")
    assert "<b>" not in drawn and "<script>" not in drawn and drawn.count("</svg>") == 1
    assert element("g", class_="a", data_arm="x") == '<g class="a" data-arm="x"></g>'
