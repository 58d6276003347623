"""Convergence of arms at the end of the budget."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusion_bench.statistics.convergence import convergence


def curve(arm: str, values: list[float], seed: int = 0, step: int = 100) -> pd.DataFrame:
    seen = step * np.arange(1, len(values) + 1)
    return pd.DataFrame({"arm": arm, "seed": seed, "samples_seen": seen, "value": values})


def test_an_arm_that_still_rises_by_more_than_a_point_has_not_converged() -> None:
    rising = curve("rising", list(np.linspace(0.1, 0.6, 10)))
    flat = curve("flat", [0.3, 0.5, 0.6, 0.62, 0.63, 0.635, 0.64, 0.64, 0.645, 0.649])
    table = convergence(pd.concat([rising, flat])).set_index("arm")
    assert table.loc["rising", "rise"] == pytest.approx(0.6 - rising["value"].iloc[7])
    assert table["converged"].to_dict() == {"rising": False, "flat": True}


def test_two_epochs_interpolate_inside_the_last() -> None:
    table = convergence(curve("short", [0.50, 0.60]))
    assert table.loc[0, "rise"] == pytest.approx(0.4 * 0.10)


def test_the_rise_is_that_of_the_mean_over_seeds() -> None:
    curves = pd.concat(
        [curve("a", [0.5, 0.5, 0.5, 0.5, 0.55]), curve("a", [0.5, 0.5, 0.5, 0.55, 0.52], seed=1)]
    )
    assert convergence(curves).loc[0, "rise"] == pytest.approx((0.05 - 0.03) / 2)
    assert convergence(curves).loc[0, "converged"]


def test_a_single_evaluation_shows_nothing() -> None:
    table = convergence(curve("once", [0.9]))
    assert np.isnan(table.loc[0, "rise"]) and not table.loc[0, "converged"]


def test_rows_may_come_in_any_order_and_a_falling_loss_rises() -> None:
    losses = curve("a", [1.0, 0.8, 0.6, 0.4, 0.2]).iloc[::-1]
    table = convergence(losses, higher_is_better=False)
    assert table.loc[0, "rise"] == pytest.approx(0.2) and not table.loc[0, "converged"]


def test_no_curves_give_no_rows() -> None:
    assert convergence(curve("a", [0.1]).iloc[:0]).empty
