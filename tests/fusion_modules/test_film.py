"""FiLM against its formula, a 3x3 convolution written as nine shifted products."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fusion_modules.film import FiLM


def pointwise(module: torch.nn.Module, x: Tensor) -> Tensor:
    weight, bias = module.weight[..., 0, 0], module.bias  # type: ignore[index]
    return torch.einsum("oi,bihw->bohw", weight, x) + bias[:, None, None]  # type: ignore[index]


def by_formula(module: FiLM, visual: Tensor, sentence: Tensor) -> Tensor:
    batch, _, height, width = visual.shape
    if module.coordinates:
        coordinates = torch.zeros(batch, 2, height, width, dtype=visual.dtype)
        for row in range(height):
            for column in range(width):
                coordinates[:, 0, row, column] = 2 * column / (width - 1) - 1
                coordinates[:, 1, row, column] = 2 * row / (height - 1) - 1
        visual = torch.cat((visual, coordinates), dim=1)
    r = pointwise(module.reduce, visual).clamp(min=0)
    bordered = torch.zeros(batch, r.shape[1], height + 2, width + 2, dtype=r.dtype)
    bordered[..., 1:-1, 1:-1] = r
    convolved = torch.zeros_like(r) + module.conv.bias[:, None, None]  # type: ignore[index]
    for dy in range(3):
        for dx in range(3):
            window = bordered[..., dy : dy + height, dx : dx + width]
            convolved += torch.einsum("oi,bihw->bohw", module.conv.weight[..., dy, dx], window)
    mean, variance = module.norm.running_mean, module.norm.running_var
    normed = (convolved - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()  # type: ignore[index]
    generated = sentence @ module.generator.weight.T + module.generator.bias
    gamma, beta = generated[:, : module.out_dim], generated[:, module.out_dim :]
    return r + ((1 + gamma[..., None, None]) * normed + beta[..., None, None]).clamp(min=0)


@pytest.mark.parametrize("settings", [{}, {"hidden": 12}, {"coordinates": False}])
def test_equals_the_formula(sentences: Any, random_module: Any, settings: dict[str, Any]) -> None:
    module = random_module("film", 8, 5, **settings)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 8, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            module(visual, language), by_formula(module, visual, language.sentence), rtol=1e-12, atol=1e-12
        )


def test_starts_with_the_authors_initialisation() -> None:
    """The initialisation is Kaiming-uniform with gain sqrt 2 (bound sqrt(6 / fan_in)); the norm has no parameters."""
    torch.manual_seed(0)
    module = FiLM(64, 48)
    for layer in (module.reduce, module.conv, module.generator):
        limit = (6 / layer.weight[0].numel()) ** 0.5
        assert 0.95 * limit < layer.weight.abs().max() <= limit
    assert not list(module.norm.parameters())


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, h, w = 16, 12, 5, 7
    expected = ((c + 2) * c + 9 * c * c) * h * w + d * 2 * c
    assert FiLM(c, d).multiply_adds(c, d, h, w, words=4) == expected
