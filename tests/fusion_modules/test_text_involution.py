"""Text involution against loops over positions, channels and taps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Array, Layers, relu
from fusion_modules.text_involution import TextInvolution


def involve(image: Array, kernels: Array, group_dim: int) -> Array:
    """Return the involution of ``[C, H, W]`` with kernels ``[G, k, k, H, W]``; groups are contiguous."""
    channels, height, width = image.shape
    size = kernels.shape[1]
    out = np.zeros_like(image)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                for i in range(size):
                    for j in range(size):
                        row, column = y + i - size // 2, x + j - size // 2
                        if 0 <= row < height and 0 <= column < width:
                            out[c, y, x] += kernels[c // group_dim, i, j, y, x] * image[c, row, column]
    return out


@pytest.mark.parametrize(("kernel_size", "group_dim"), [(3, 2), (5, 8), (3, 4)])
def test_equals_a_bottleneck_with_a_kernel_for_every_position(
    sentences: Any, random_module: Any, kernel_size: int, group_dim: int
) -> None:
    settings = {"hidden": 8, "kernel_size": kernel_size, "group_dim": group_dim, "reduction": 2}
    module = random_module("text_involution", 6, 5, **settings)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = Layers(module)
    for b in range(2):
        reduced = relu(w.batch_norm("reduce_norm", w.pointwise("reduce", visual[b].numpy())))
        squeezed = w.batch_norm("squeeze_norm", w.pointwise("squeeze", reduced))
        modulation = w.linear("modulate", language.sentence[b].numpy())
        gamma, beta = modulation[:4, None, None], modulation[4:, None, None]
        kernels = w.pointwise("span", relu((1 + gamma) * squeezed + beta))
        kernels = kernels.reshape(8 // group_dim, kernel_size, kernel_size, 3, 4)
        involved = relu(w.batch_norm("involution_norm", involve(reduced, kernels, group_dim)))
        branch = w.batch_norm("expand_norm", w.pointwise("expand", involved))
        np.testing.assert_allclose(out[b], relu(visual[b].numpy() + branch), rtol=1e-10, atol=1e-10)


def test_its_involution_has_the_published_size() -> None:
    """An involution of 256 channels and k = 7 has 67,472 parameters, with the affine part of its norm (here FiLM)."""
    module = TextInvolution(1024, 5)
    parts = (module.squeeze, module.span)
    affine = 2 * module.squeeze_norm.num_features
    assert sum(parameter.numel() for part in parts for parameter in part.parameters()) + affine == 67_472


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, k, h, w = 32, 5, 48, 5, 4, 7
    expected = (2 * c * e + e * e // 4 + e // 4 * (e // 16) * k * k + e * k * k) * h * w + d * 2 * (e // 4)
    module = TextInvolution(c, d, hidden=e, kernel_size=k)
    assert module.multiply_adds(c, d, h, w, words=4) == expected


def test_widths_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(ValueError, match="24 hidden channels are not a multiple of group_dim 16"):
        TextInvolution(16, 5, hidden=24)
    with pytest.raises(ValueError, match="kernel_size must be odd and at most 11, not 4"):
        TextInvolution(16, 5, kernel_size=4)
