"""The solver of widths, against a scan of all widths."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fusion_bench.contract import Width
from fusion_bench.efficiency.width import solve_width

STEPS = Width("hidden", step=4, minimum=6)


# The solver


def test_the_nearest_multiple_of_the_step_is_found() -> None:
    for target in range(1, 3000, 7):
        found = solve_width(lambda width: 3 * width + 10, target, STEPS)
        assert found == min(range(8, 4000, 4), key=lambda width: (abs(3 * width + 10 - target), width))


def test_few_widths_are_tried() -> None:
    tried = []

    def square(width: int) -> int:
        tried.append(width)
        return width**2

    assert solve_width(square, 10**9, Width("hidden")) == 31623
    assert len(tried) == len(set(tried)) < 40


def test_a_target_out_of_reach_gives_the_nearest_end() -> None:
    assert solve_width(lambda width: width, 1, STEPS) == 8
    assert solve_width(lambda width: width if width <= 100 else None, 1000, STEPS) == 100
    assert solve_width(lambda width: None, 1000, STEPS) is None


def test_widths_that_the_module_refuses_are_skipped() -> None:
    def powers(width: int) -> int | None:
        return width if width & (width - 1) == 0 else None

    assert solve_width(powers, 100, Width("hidden")) == 128
    assert solve_width(powers, 90, Width("hidden")) == 64

    def multiples(width: int) -> int | None:
        return 5 * width if width % 12 == 0 else None

    assert [solve_width(multiples, 5 * wanted, STEPS) for wanted in (1, 50, 54, 55, 700)] == [
        12,
        48,
        48,
        60,
        696,
    ]


def test_where_the_cost_does_not_rise_evenly_both_neighbours_are_checked() -> None:
    costs = {width: 10 * width - (15 if width == 12 else 0) for width in range(1, 40)}
    assert solve_width(costs.get, 106, Width("hidden")) == 12


def test_a_width_without_effect_ends() -> None:
    assert solve_width(lambda width: 5, 1000, STEPS) == 8


ALL = range(1, 400)


def restored(width: int) -> int:
    """The cost of a block of two layers and of one more that restores the slot's 64 channels where that is needed."""
    return 9 * width**2 + 80 * width + (0 if width == 64 else 64 * width + 64)


@pytest.mark.parametrize(
    "cost",
    [
        lambda width: 7 * width + 1000,
        lambda width: 3 * width**2 + 11 * width + 5,
        lambda width: width**3,
        lambda width: 10**6 * (width // 7) + width,  # long steps
        lambda width: round(1000 * width**0.5),
        lambda width: 40 * min(width, 150) + max(0, width - 150) ** 2,  # a bend
        lambda width: 5 * width if width % 12 == 0 else None,
    ],
)
def test_the_width_found_is_that_of_a_scan(cost: Callable[[int], int | None]) -> None:
    costs = {width: found for width in ALL if (found := cost(width)) is not None}
    largest = max(costs.values())
    for target in range(0, largest, max(1, largest // 211)):
        scanned = min(costs, key=lambda width: (abs(costs[width] - target), width))
        assert solve_width(cost, target, Width("hidden")) == scanned


def test_where_a_layer_drops_out_the_break_is_tried() -> None:
    assert restored(63) > restored(64) < restored(65), "the cost falls at the slot's width"
    for target in (restored(64), restored(64) - 500, restored(63), restored(65), restored(100)):
        scanned = min(ALL, key=lambda width: (abs(restored(width) - target), width))
        assert solve_width(restored, target, Width("hidden"), breaks=[64]) == scanned
    assert solve_width(restored, restored(64), Width("hidden", step=5), breaks=[64]) == 60


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_a_polynomial_needs_few_trials(exponent: int) -> None:
    tried = []

    def cost(width: int) -> int:
        tried.append(width)
        power: int = width**exponent
        return 3 * power + 7 * width

    for target in range(10, 10**6, 9973):
        tried.clear()
        found = solve_width(cost, target, Width("hidden", step=4))
        assert found is not None and len(tried) <= 16 and max(tried) <= 8 * found
