"""Numbers of trials have ranges, on the scale that they were searched or varied on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from fusion_bench.contract import Choice, Float, Int, Space
from fusion_bench.study.trials.distributions import distributions_of, merged_spaces, parameters_of


@pytest.mark.parametrize(
    ("values", "space", "expected"),
    [
        ([1, 3, 5], None, IntDistribution(1, 5)),
        ([16, 64, 256], None, IntDistribution(16, 256, log=True)),
        ([64, 16], None, IntDistribution(16, 64)),
        ([3], None, IntDistribution(3, 3)),
        ([0, 1, 10, 100], None, IntDistribution(0, 100)),
        ([1e-4, 3e-4, 1e-3, 3e-3], None, FloatDistribution(1e-4, 3e-3, log=True)),
        ([0, 0.5, 1], None, FloatDistribution(0.0, 1.0)),
        ([None, 0.1, 0.2], None, FloatDistribution(0.1, 0.2)),
        ([0.002], Float(1e-4, 1e-2, log=True), FloatDistribution(1e-4, 1e-2, log=True)),
        ([4], Int(2, 8, step=2), IntDistribution(2, 8, step=2)),
        ([3, 4], Int(2, 8, step=2), IntDistribution(2, 8)),
        ([16], Int(8, 64, log=True), IntDistribution(8, 64, log=True)),
        ([20.0], Float(1.0, 10.0), FloatDistribution(1.0, 20.0)),
        ([3], Choice((3, 5, 7)), IntDistribution(3, 7)),
        (["adam"], Choice(("adamw", "adam")), CategoricalDistribution(["adam", "adamw"])),
        ([True, False], None, CategoricalDistribution([True, False])),
        ([None], None, CategoricalDistribution([None])),
        (["film", None], None, CategoricalDistribution(["film", None])),
        ([math.inf, 1.0], None, CategoricalDistribution([math.inf, 1.0])),
        ([[1, 2], [1]], None, CategoricalDistribution(["[1, 2]", "[1]"])),
    ],
)
def test_the_distribution_of_a_parameter(
    values: Sequence[Any], space: Space | None, expected: BaseDistribution
) -> None:
    spaces = {} if space is None else {"x": space}
    found = distributions_of([{"x": value} for value in values], spaces)
    assert found == {"x": expected}
    for value in values:
        for name, kept in parameters_of({"x": value}, found).items():
            assert found[name]._contains(found[name].to_internal_repr(kept))


def test_a_number_that_is_not_set_is_no_parameter() -> None:
    found = distributions_of([{"x": 1, "y": "a"}, {"x": None, "y": None}])
    assert parameters_of({"x": None, "y": None}, found) == {"y": None}


def test_the_spaces_of_several_arms_are_one_wide_space() -> None:
    merged = merged_spaces(
        [
            {"rate": Float(1e-3, 1e-2, log=True), "size": Int(3, 5), "kind": Choice(("a",))},
            {"rate": Float(1e-4, 1e-3, log=True), "size": Int(1, 4), "kind": Choice(("b",))},
            {"rate": Choice((1,))},
        ]
    )
    assert merged == {"rate": Float(1e-4, 1e-2, log=True), "size": Int(1, 5), "kind": Choice(("a",))}
