"""Dynamic filters against one dot product per filter and position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Layers, relu
from fusion_modules.dynamic_filter import DynamicFilter


@pytest.mark.parametrize("filters", [1, 3])
def test_equals_the_responses_to_filters_from_the_sentence(
    sentences: Any, random_module: Any, filters: int
) -> None:
    module = random_module("dynamic_filter", 4, 5, filters=filters)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = Layers(module)
    for b in range(2):
        bank = np.tanh(w.linear("generator", language.sentence[b].numpy())).reshape(filters, 6)
        for y in range(3):
            for x in range(2):
                v = visual[b, :, y, x].numpy()
                direction = v / np.sqrt(v @ v + 1e-6)
                responses = [f @ np.append(direction, [2 * x - 1, y - 1]) for f in bank]
                expected = relu(w.linear("output", np.append(v, responses)))
                np.testing.assert_allclose(out[b, :, y, x], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_position_of_zeros_has_finite_gradients(sentences: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = DynamicFilter(8, 5).to(dtype)
    visual = torch.zeros(1, 8, 2, 3, dtype=dtype, requires_grad=True)
    module(visual, sentences([3], words=3, dim=5, dtype=dtype)).sum().backward()
    assert visual.grad is not None
    assert visual.grad.isfinite().all()


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, m, h, w = 8, 5, 3, 4, 7
    expected = d * m * (c + 2) + m * (c + 2) * h * w + (c + m) * c * h * w
    assert DynamicFilter(c, d, filters=m).multiply_adds(c, d, h, w, words=4) == expected
