"""Position codes against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from fusion_modules.position import sine_position_code, with_coordinates


def test_sine_code_counts_rows_and_columns_from_one() -> None:
    code = sine_position_code(torch.zeros(1, 8, 3, 5, dtype=torch.float64))
    assert code.shape == (8, 3, 5)
    for row in range(3):
        for column in range(5):
            expected = [
                wave((index + 1) / 10000 ** (2 * i / 4))
                for index in (row, column)
                for i in range(2)
                for wave in (math.sin, math.cos)
            ]
            assert code[:, row, column].tolist() == pytest.approx(expected, abs=1e-12)


def test_sine_code_needs_a_multiple_of_four_channels() -> None:
    with pytest.raises(ValueError, match="multiple of 4 channels, not 6"):
        sine_position_code(torch.zeros(1, 6, 3, 5))


def test_coordinates_are_x_then_y_from_minus_one_to_one() -> None:
    located = with_coordinates(torch.zeros(2, 1, 3, 5))
    assert located.shape == (2, 3, 3, 5)
    assert located[1, 1, 2].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert located[1, 2, :, 4].tolist() == [-1, 0, 1]


def test_coordinates_keep_the_layout_of_the_map() -> None:
    visual = torch.randn(2, 5, 3, 4)
    last = with_coordinates(visual.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, with_coordinates(visual))
