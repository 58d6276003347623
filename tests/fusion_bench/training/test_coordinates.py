"""The convolution that reads the position beside the map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.training.coordinates import LocatedConv


def with_appended(visual: Tensor) -> Tensor:
    """Return the map with its column and its row as two more channels, position by position."""
    height, width = visual.shape[2:]
    located = torch.zeros(len(visual), visual.shape[1] + 2, height, width, dtype=visual.dtype)
    located[:, :-2] = visual
    for row in range(height):
        for column in range(width):
            located[:, -2, row, column] = 2 * column / (width - 1) - 1 if width > 1 else 0
            located[:, -1, row, column] = 2 * row / (height - 1) - 1 if height > 1 else 0
    return located


@pytest.mark.parametrize("size", [(3, 4), (1, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_the_convolution_of_the_map_with_two_appended_channels(
    size: tuple[int, int], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = LocatedConv(5, 7).double()
    visual = torch.randn(2, 5, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    found, expected = conv(visual), F.conv2d(with_appended(visual), conv.weight, conv.bias)
    assert torch.allclose(found, expected, atol=1e-12)
    grad = torch.randn_like(expected)
    wanted = (visual, conv.weight, conv.bias)
    ours = torch.autograd.grad(found, wanted, grad)
    theirs = torch.autograd.grad(expected, wanted, grad)
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(ours, theirs, strict=True))


def test_a_channels_last_map_stays_channels_last() -> None:
    visual = torch.randn(2, 5, 3, 4).to(memory_format=torch.channels_last)
    found = LocatedConv(5, 7)(visual)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found.is_contiguous()
