"""The authors' heads against loops over positions, taps and channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from fusion_modules.laconvnet.heads import DetectionHead, SegmentationHead, decode_boxes

Array = npt.NDArray[np.float64]


def randomised(head: nn.Module) -> dict[str, Array]:
    """Randomise every weight and statistic, in float64 and evaluation mode, and return them by name."""
    torch.manual_seed(3)
    head.double().eval()
    with torch.no_grad():
        for value in head.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if value.dim() == 1 else value.normal_()
        for parameter in head.parameters():
            if parameter.dim() == 1:
                parameter.mul_(torch.randn_like(parameter).sign())
    return {name: value.numpy() for name, value in head.state_dict().items()}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)  # type: ignore[no-any-return]


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.1 * x)


def convolved(x: Array, weight: Array, dilation: int = 1) -> Array:
    """Convolve ``[C, H, W]`` to ``[K, H, W]``, tap by tap, with zero padding."""
    (_, height, width), size = x.shape, weight.shape[-1]
    out = np.zeros((len(weight), height, width))
    for y in range(height):
        for x_ in range(width):
            for dy in range(size):
                for dx in range(size):
                    row, column = y + dilation * (dy - size // 2), x_ + dilation * (dx - size // 2)
                    if 0 <= row < height and 0 <= column < width:
                        out[:, y, x_] += weight[:, :, dy, dx] @ x[:, row, column]
    return out


def normalised(x: Array, w: dict[str, Array], name: str) -> Array:
    parts = ("running_mean", "running_var", "weight", "bias")
    mean, variance, scale, shift = (w[f"{name}.{part}"][:, None, None] for part in parts)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def box_by_hand(coarse: Array, w: dict[str, Array]) -> Array:
    x = coarse
    for layer in ("stem", "branch.0", "branch.1"):
        x = silu(normalised(convolved(x, w[f"{layer}.conv.weight"]), w, f"{layer}.norm"))
    best, box = -1.0, np.zeros(5)
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            b = w["box.weight"][:, :, 0, 0] @ x[:, row, column] + w["box.bias"]
            o = w["objectness.weight"][0, :, 0, 0] @ x[:, row, column] + w["objectness.bias"][0]
            if sigmoid(o) > best:
                best = sigmoid(o)
                centre_x, centre_y = (b[0] + column) * 32, (b[1] + row) * 32
                half_width, half_height = math.exp(b[2]) * 16, math.exp(b[3]) * 16
                corners = (centre_x - half_width, centre_y - half_height)
                box = np.array([*corners, centre_x + half_width, centre_y + half_height, best])
    return box


def test_the_box_is_that_of_the_position_with_the_highest_objectness() -> None:
    head = DetectionHead(in_dim=5, dim=4)
    w = randomised(head)
    coarse = torch.randn(6, 5, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        found = head(coarse).numpy()
    expected = np.stack([box_by_hand(sample, w) for sample in coarse.numpy()])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(np.unique(found[:, 4])) == 6


def test_boxes_are_decoded_from_the_corner_of_a_position() -> None:
    """A zero prediction at column 2, row 1 is a box of 32 x 32 around the pixel (64, 32), not (80, 48)."""
    boxes = decode_boxes(torch.zeros(1, 4, 2, 3))
    assert boxes[0, :, 1, 2].tolist() == [48, 16, 80, 48]
    assert boxes[0, :, 0, 0].tolist() == [-16, -16, 16, 16]


def test_width_and_height_are_exponentials() -> None:
    raw = torch.tensor([0.5, 0.25, math.log(3), math.log(5)]).view(1, 4, 1, 1)
    assert decode_boxes(raw).flatten().tolist() == pytest.approx([16 - 48, 8 - 80, 16 + 48, 8 + 80])


def upsampled(coarse: Array) -> Array:
    """Upsample by 8 with aligned corners: ``[H, W]`` -> ``[8H, 8W]``."""

    def weights(size: int) -> Array:
        out = np.zeros((8 * size, size))
        for target in range(8 * size):
            source = target * (size - 1) / (8 * size - 1)
            low = min(int(source), size - 2)
            out[target, low : low + 2] = 1 - (source - low), source - low
        return out

    return weights(coarse.shape[0]) @ coarse @ weights(coarse.shape[1]).T


def mask_logits_by_hand(fine: Array, w: dict[str, Array]) -> Array:
    views = [
        leaky(normalised(convolved(fine, w[f"views.{i}.conv.weight"], dilation), w, f"views.{i}.norm"))
        for i, dilation in enumerate((1, 6, 12, 18))
    ]
    mean = fine.mean(axis=(1, 2))[:, None, None]
    pooled = leaky(normalised(convolved(mean, w["views.4.conv.weight"]), w, "views.4.norm"))
    views.append(np.broadcast_to(pooled, fine.shape))
    together = np.concatenate(views)
    projected = np.tensordot(w["project.weight"][0, :, 0, 0], together, axes=1) + w["project.bias"][0]
    return upsampled(projected)


def test_the_mask_is_predicted_from_five_views() -> None:
    """The map has 20 rows, so that the window with dilation 18 has several taps inside it."""
    head = SegmentationHead(dim=3)
    w = randomised(head)
    fine = torch.randn(2, 3, 20, 14, dtype=torch.float64)
    with torch.no_grad():
        logits, mask = head.logits(fine).numpy(), head(fine)
    expected = np.stack([mask_logits_by_hand(sample, w) for sample in fine.numpy()])
    np.testing.assert_allclose(logits, expected, rtol=1e-11, atol=1e-11)
    assert mask.dtype == torch.bool
    assert mask.shape == (2, 160, 112)
    assert np.array_equal(mask.numpy(), sigmoid(expected) > 0.5)
    assert 0.05 < mask.double().mean() < 0.95


@pytest.mark.parametrize(("head", "expected"), [(DetectionHead(), 1_313_541), (SegmentationHead(), 477_057)])
def test_the_heads_are_as_large_as_the_authors(head: nn.Module, expected: int) -> None:
    assert sum(parameter.numel() for parameter in head.parameters()) == expected


def test_the_mask_follows_the_sides_of_the_map() -> None:
    fine: Tensor = torch.randn(1, 4, 2, 5)
    assert SegmentationHead(dim=4).eval()(fine).shape == (1, 16, 40)
