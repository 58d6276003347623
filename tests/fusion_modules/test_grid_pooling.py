"""Area pooling of a map to a grid and back."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fusion_modules.grid_pooling import grid_size, pool_to_grid, spread_from_grid


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((14, 14), 36, (6, 6)),
        ((7, 5), 36, (7, 5)),
        ((6, 6), 36, (6, 6)),
        ((20, 10), 36, (9, 4)),
        ((10, 20), 36, (4, 9)),
        ((1, 100), 36, (1, 36)),
        ((100, 1), 36, (36, 1)),
        ((4, 6), 4, (2, 2)),
        ((3, 5), 1, (1, 1)),
        ((1, 1), 36, (1, 1)),
    ],
)
def test_a_grid_has_at_most_the_limit(size: tuple[int, int], limit: int, expected: tuple[int, int]) -> None:
    assert grid_size(*size, limit) == expected


def test_every_grid_is_within_the_limit_and_small_maps_keep_their_size() -> None:
    for height in range(1, 20):
        for width in range(1, 20):
            rows, columns = grid_size(height, width, 36)
            assert rows * columns <= 36
            assert 1 <= rows <= height
            assert 1 <= columns <= width
            if height * width <= 36:
                assert (rows, columns) == (height, width)


def test_grid_positions_are_averages_if_the_grid_divides_the_map() -> None:
    visual = torch.randn(2, 3, 12, 6, dtype=torch.float64)
    pooled = pool_to_grid(visual, 18)  # 6 x 3
    torch.testing.assert_close(pooled, F.avg_pool2d(visual, 2), rtol=1e-12, atol=1e-12)
    spread = spread_from_grid(pooled, 12, 6)
    expected = pooled.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(spread, expected, rtol=1e-12, atol=1e-12)


def test_a_position_is_split_between_two_grid_positions_by_area() -> None:
    """Each position of a grid of two covers one and a half of the three positions of the map."""
    row = torch.tensor([[[[1.0, 10.0, 100.0]]]], dtype=torch.float64)
    pooled = pool_to_grid(row, 2)
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor([6.0, 105.0], dtype=torch.float64) / 1.5)
    spread = spread_from_grid(pooled, 1, 3)[0, 0, 0]
    torch.testing.assert_close(spread, torch.tensor([6.0, 55.5, 105.0], dtype=torch.float64) / 1.5)


@pytest.mark.parametrize("size", [(7, 11), (9, 5), (1, 40)])
def test_a_constant_map_is_kept_in_both_directions(size: tuple[int, int]) -> None:
    visual = torch.full((1, 2, *size), 3.0, dtype=torch.float64)
    pooled = pool_to_grid(visual, 12)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 3.0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spread_from_grid(pooled, *size), visual, rtol=1e-12, atol=1e-12)


def test_a_small_map_is_returned_unchanged() -> None:
    visual = torch.randn(1, 2, 4, 5)
    assert pool_to_grid(visual, 20) is visual
    assert spread_from_grid(visual, 4, 5) is visual
