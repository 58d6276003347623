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
