"""Launch parameters: a shape of the table gets its own, every other shape the first candidate of its kernel."""

from __future__ import annotations

from typing import get_args

import pytest

from fusion_modules.laconv.ops import launches
from fusion_modules.laconv.ops.launches import (
    CANDIDATES,
    FUSED_CANDIDATES,
    KernelName,
    LaunchParameters,
    LaunchShape,
    candidates_for,
    chosen_launch,
)

SHAPE = LaunchShape("aggregate", 2704, 16, 7, 1, 1, 4)


def test_a_shape_of_the_table_gets_its_own_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    own = LaunchParameters(64, 8, 1)
    monkeypatch.setattr(launches, "LAUNCHES", {SHAPE: own})
    assert chosen_launch(SHAPE) == own
    assert chosen_launch(LaunchShape("aggregate", 2705, 16, 7, 1, 1, 4)) == CANDIDATES[0]
    assert chosen_launch(LaunchShape("aggregate", 2704, 16, 7, 1, 1, 2)) == CANDIDATES[0]


@pytest.mark.parametrize("kernel", get_args(KernelName))
def test_every_kernel_has_candidates(kernel: KernelName) -> None:
    expected = FUSED_CANDIDATES if "fused" in kernel else CANDIDATES
    assert candidates_for(LaunchShape(kernel, 4, 1, 3, 1, 1, 4)) == expected
    for launch in expected:
        assert launch.positions & (launch.positions - 1) == 0  # the size of a block


def test_the_rows_of_the_table_are_among_the_candidates() -> None:
    for shape, launch in launches.LAUNCHES.items():
        assert launch in candidates_for(shape)
