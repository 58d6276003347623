"""Conditional batch norm against its formula, channel by channel, with running and with batch statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Array, Layers, relu
from fusion_modules.conditional_batch_norm import ConditionalBatchNorm, LanguageNorm


def modulation(w: Layers, name: str, sentence: Array) -> tuple[Array, Array]:
    deltas = [
        w[f"{name}.{part}.2.weight"] @ relu(w.linear(f"{name}.{part}.0", sentence))
        for part in ("delta_gamma", "delta_beta")
    ]
    return w[f"{name}.gamma"] + deltas[0], w[f"{name}.beta"] + deltas[1]


@pytest.mark.parametrize("settings", [{"hidden": 3}, {"hidden": 2, "mlp_dim": 5}])
def test_equals_a_bottleneck_with_shifted_scales_and_offsets(
    sentences: Any, random_module: Any, settings: dict[str, int]
) -> None:
    module = random_module("conditional_batch_norm", 4, 5, **settings)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 4, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = Layers(module)
    for b in range(2):

        def norm(name: str, image: Array, b: int = b) -> Array:
            gamma, beta = modulation(w, name, language.sentence[b].numpy())
            return gamma[:, None, None] * w.batch_norm(f"{name}.norm", image) + beta[:, None, None]

        reduced = relu(norm("reduce_norm", w.pointwise("reduce", visual[b].numpy())))
        convolved = relu(norm("conv_norm", w.conv("conv", reduced)))
        branch = norm("expand_norm", w.pointwise("expand", convolved))
        np.testing.assert_allclose(out[b], relu(visual[b].numpy() + branch), rtol=1e-10, atol=1e-10)


def test_training_normalises_every_channel_separately() -> None:
    """Mean and variance are those of one channel over batch and positions, not of the whole tensor."""
    torch.manual_seed(0)
    module = LanguageNorm(3, 5, 4).double().train()
    scales = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)[:, None, None]
    features = torch.randn(4, 3, 5, 2, dtype=torch.float64) * scales + scales
    sentence = torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        module.gamma.normal_()
        module.beta.normal_()
        out = module(features, sentence).numpy()
    w = Layers(module)
    moved = {
        part: relu(sentence.numpy() @ w[f"{part}.0.weight"].T + w[f"{part}.0.bias"]) @ w[f"{part}.2.weight"].T
        for part in ("delta_gamma", "delta_beta")
    }
    for c in range(3):
        channel = features[:, c].numpy()
        normed = (channel - channel.mean()) / np.sqrt(channel.var() + 1e-5)
        gamma, beta = w["gamma"][c] + moved["delta_gamma"][:, c], w["beta"][c] + moved["delta_beta"][:, c]
        expected = gamma[:, None, None] * normed + beta[:, None, None]
        np.testing.assert_allclose(out[:, c], expected, rtol=1e-10, atol=1e-10)


def test_modulates_around_one_and_zero() -> None:
    torch.manual_seed(0)
    module = LanguageNorm(64, 48, 32)
    assert torch.equal(module.gamma, torch.ones(64))
    assert torch.equal(module.beta, torch.zeros(64))
    with torch.no_grad():
        moved = module.delta_gamma(torch.randn(100, 48))
    assert moved.abs().max() < 0.2
    assert moved.std() > 0.005, "small but not zero, so that every layer has a gradient at the first step"


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, m, h, w = 16, 5, 6, 7, 4, 9
    expected = (2 * c * e + 9 * e * e) * h * w + 6 * d * m + 2 * m * (2 * e + c)
    module = ConditionalBatchNorm(c, d, hidden=e, mlp_dim=m)
    assert module.multiply_adds(c, d, h, w, words=4) == expected
