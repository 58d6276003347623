"""MoVie against its formula, and against modulation before the reduction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Layers, correlate, relu, sigmoid
from fusion_modules.modulated_conv import ModulatedConv


@pytest.mark.parametrize("attention", [True, False])
def test_equals_the_modulated_bottleneck(sentences: Any, random_module: Any, attention: bool) -> None:
    module = random_module("modulated_conv", 8, 5, hidden=3, attention=attention)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = Layers(module)
    for b in range(2):
        v = visual[b].numpy()
        gamma = w.linear("gamma", language.sentence[b].numpy())
        r = w.pointwise("reduce", v) + w.pointwise("modulated", v * gamma[:, None, None])
        s = w.conv("conv", relu(w.batch_norm("reduce_norm", r)))
        s = w.batch_norm("expand_norm", w.pointwise("expand", relu(w.batch_norm("conv_norm", s))))
        if attention:
            squeezed = relu(w.linear("attention.squeeze", s.mean(axis=(1, 2))))
            s = s * sigmoid(w.linear("attention.excite", squeezed))[:, None, None]
            s = s * sigmoid(correlate(w["attention.place.weight"], s.mean(axis=0, keepdims=True)))
        np.testing.assert_allclose(out[b], relu(v + s), rtol=1e-10, atol=1e-10)


def test_equals_the_reduction_of_a_modulated_map(sentences: Any, random_module: Any) -> None:
    """The compressed form with ``W = conv1x1 W'`` equals ``conv1x1(V + W' (V * gamma))`` for every question."""
    module = random_module("modulated_conv", 4, 5, hidden=3)
    sentence = sentences([3], words=3, dim=5).sentence
    visual = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    inner = torch.randn(4, 4, dtype=torch.float64)
    with torch.no_grad():
        reduce = module.reduce.weight[..., 0, 0]
        module.modulated.weight.copy_((reduce @ inner)[..., None, None])
        modulated = visual * module.gamma(sentence)[:, :, None, None]
        compressed = module.reduce(visual) + module.modulated(modulated)
        full = module.reduce(visual + torch.einsum("oi,bihw->bohw", inner, modulated))
    torch.testing.assert_close(compressed, full, rtol=1e-12, atol=1e-12)


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, h, w = 16, 5, 6, 4, 9
    expected = d * c + (3 * c * e + 9 * e * e) * h * w
    assert ModulatedConv(c, d, hidden=e, attention=False).multiply_adds(c, d, h, w, words=4) == expected
    expected += 2 * c * (c // 4) + 49 * h * w
    assert ModulatedConv(c, d, hidden=e).multiply_adds(c, d, h, w, words=4) == expected
